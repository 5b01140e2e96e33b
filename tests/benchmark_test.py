"""The benchmark runs and its ratio is no fiction."""

import jax

from seqgan_jax.training import benchmark


def test_draws_beat_categorical_by_far():
    """A sanity bound, not the benchmark: tests run side by side, so the bound is a loose 4."""
    ours, theirs = benchmark.draw_rates(5000, 256)
    assert ours / theirs > 4


def test_table_has_a_row_a_batch_size():
    table = benchmark.token_draws(50, [2, 3])
    assert [column.header for column in table.columns] == [
        "B", "draw_token", "jax.random.categorical", "ratio"
    ]  # fmt: skip
    assert list(table.columns[0].cells) == ["2", "3"]


def test_seconds_is_a_median_without_the_first_call(monkeypatch):
    clock = iter([0, 1, 0, 2, 0, 9, 0, 3, 0, 4, 0, 5, 0, 8])
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(clock))
    calls = []
    assert benchmark.seconds(lambda: calls.append(1) or jax.numpy.zeros(())) == 4
    assert len(calls) == 8
