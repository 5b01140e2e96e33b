"""The benchmark runs, counts what it should, and its ratios are no fiction."""

import dataclasses
import json
import pathlib
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import plain_reference
import pytest

from seqgan_jax.benchmark import phases, report, scaling, side_by_side, startup, timing, work
from seqgan_jax.benchmark.limits import Limits, Work, least_seconds, measure_limits
from seqgan_jax.checked import ConfigError
from seqgan_jax.data_hparams import OracleDataHParams
from seqgan_jax.hparams import (
    FILTERS_20,
    DiscriminatorHParams,
    HParams,
    ModelHParams,
    ScheduleHParams,
    TrainingHParams,
)

ROOT = pathlib.Path(__file__).resolve().parents[1]
LIMITS = Limits(1e9, 1e8, 1e9)
SMALL = HParams(
    data=OracleDataHParams(vocab_size=30, length=6, num_train=64, num_test=64),
    model=ModelHParams(embed_dim=4, hidden_dim=4),
    discriminator=DiscriminatorHParams(embed_dim=4, filters=((1, 3), (3, 2))),
    training=TrainingHParams(num_rollouts=4),
    schedule=ScheduleHParams(batch_size=8, d_samples=16, d_batch_size=8),
    evaluation=dataclasses.replace(HParams().evaluation, eval_samples=64),
)
DENSITY = dataclasses.replace(
    SMALL,
    discriminator=dataclasses.replace(SMALL.discriminator, kind="density", hidden_dim=2),
    training=dataclasses.replace(
        SMALL.training, reward="likelihood_ratio", baseline="prefix", d_l2=0.0
    ),
)


def test_seconds_is_a_median_without_the_first_call(monkeypatch):
    clock = iter([0, 1, 0, 2, 0, 9, 0, 3, 0, 4])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    calls = []
    assert timing.median_seconds(lambda: calls.append(1) or jnp.zeros(()), 5) == 3
    assert len(calls) == 6


def test_a_call_takes_as_many_steps_as_its_time_is_divided_by():
    """However many sequences there would be to learn from."""
    data = dataclasses.replace(SMALL.data, num_train=1000)
    for name in ("mle_step", "d_step"):
        phase = phases.build(dataclasses.replace(SMALL, data=data))[name]
        state, _ = jax.jit(phase.function)(*phase.arguments())
        assert int(state.step) == phase.repeats


def test_each_run_goes_on_from_the_last():
    seen = []

    def count(carry, step):
        jax.debug.callback(lambda x: seen.append(int(x)), carry)
        return carry + step, carry

    took = timing.measure(count, jnp.asarray(3), jnp.asarray(2), 2)
    jax.effects_barrier()
    assert seen == [3, 5, 7]
    assert took.seconds > 0
    assert took.compile_seconds > 0


def test_memory_counts_what_a_call_holds():
    def function(carry, inputs):
        return carry, inputs * 2.0

    _, _, held = timing.compile_call(function, (jnp.zeros(()), jnp.zeros(1_000_000)))
    assert held == pytest.approx(8e6, rel=0.01)


def test_limits_are_rates_of_this_machine():
    limits = measure_limits()
    assert all(1e6 < rate < 1e16 for rate in limits)


def test_the_larger_of_two_limits_binds():
    assert least_seconds(Work(2e9, 1e8), LIMITS) == 2.0
    assert least_seconds(Work(1e9, 3e8), LIMITS) == 3.0


def test_work_by_hand():
    # 8 sequences of 6 tokens: cell 2 (4 + 4) 16, output 2 * 4 * 30; three passes.
    assert work.generator_gradient(SMALL) == Work(3 * 48 * (256 + 240), 48 * 30)
    # Windows 2 * 4 (6 * 1 * 3 + 4 * 3 * 2), highway 4 * 5^2, output 2 * 5.
    assert work.judged(SMALL) == Work(8 * 42 + 100 + 10)
    # A token under P: cell 2 (4 + 2) 8, output 2 * 2 * 30; under G as above.
    own, other = Work(6 * (96 + 120), 6 * 30), Work(6 * (256 + 240), 6 * 30)
    assert work.judged(DENSITY) == own + other
    assert work.discriminator_gradient(DENSITY) == Work(
        8 * (3 * own.flop + other.flop), 8 * (own.exponentials + other.exponentials)
    )
    assert work.draws(SMALL) == 8 * 4 * 15
    assert work.completions(SMALL) == 8 * (4 * 5 + 1)
    assert work.discriminator_steps(SMALL) == 3 * 4


def test_the_paper_s_sizes_are_those_of_the_issue():
    paper = HParams(discriminator=DiscriminatorHParams(filters=FILTERS_20))
    assert work.completions(paper) == 19_520
    assert work.judged(paper).flop == pytest.approx(27e6, rel=0.01)
    assert work.discriminator_gradient(paper).flop == pytest.approx(5.2e9, rel=0.01)


def test_every_phase_gets_its_figures(monkeypatch):
    monkeypatch.setattr(phases, "_SEQUENCES", 16)
    chosen = [name for name in report.PHASES if name != "startup"]
    rows = list(report.measure(SMALL, chosen, LIMITS, plain_reference, [], 1))
    assert [row["phase"] for row in rows] == chosen
    for row in rows:
        assert 0 < row["seconds"] < 60
        assert row["plain_seconds"] > 0
        assert row["limit_seconds"] > 0
        assert row["memory_bytes"] > 0
    g_step, a_round = rows[-2], rows[-1]
    # A round of the schedule: one g-step, five d-steps of three epochs of four batches.
    assert a_round["flop"] == pytest.approx(
        g_step["flop"] + 5 * work.discriminator_epochs(SMALL).flop
    )
    assert a_round["items"] == 5 * 12 * 8
    table = report.table(LIMITS, rows, {"mle_step": 2 * rows[0]["seconds"]})
    assert table.row_count == len(rows)
    assert list(table.columns[-1].cells)[:2] == ["2.00", "-"]


def test_start_up_is_measured_to_the_first_step():
    command = [sys.executable, str(ROOT / "bin" / "train.py"), "--config=configs/oracle.py:smoke"]
    row = startup.measure(command, steps=8, tokens=8 * 64 * 8, runs=1)
    assert 0 < row["seconds"] < row["cold_seconds"]
    assert ("memory_bytes" in row) == sys.platform.startswith("linux")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="read from /proc")
def test_memory_of_a_child_is_its_own():
    """Not that of the process which started it, as the kernel's rusage has it."""
    ours = bytearray(400_000_000)
    ours[::4096] = b"\1" * len(ours[::4096])
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        time.sleep(1.0)  # past its exec
        assert 1e6 < startup._most_resident(child.pid) < 1e8
        child.communicate(b"\n")
    assert startup._most_resident(child.pid) is None


def test_a_failed_start_says_why():
    command = [sys.executable, str(ROOT / "bin" / "train.py"), "--config=nowhere.py"]
    with pytest.raises(RuntimeError, match=r"nowhere\.py"):
        startup.measure(command, steps=1, tokens=1, runs=1)


@pytest.mark.parametrize(
    ("hparams", "plain"),
    [
        (DENSITY, ["mle_step", "nll"]),
        (
            dataclasses.replace(SMALL, model=dataclasses.replace(SMALL.model, cell="gru")),
            ["d_step", "d_scoring"],
        ),
    ],
    ids=["density", "gru"],
)
def test_other_models_are_measured_where_the_plain_reference_has_none(monkeypatch, hparams, plain):
    monkeypatch.setattr(phases, "_SEQUENCES", 16)
    chosen = ["mle_step", "nll", "d_step", "d_scoring", "action_values", "round"]
    rows = list(report.measure(hparams, chosen, LIMITS, plain_reference, [], 1))
    assert [row["phase"] for row in rows] == chosen
    assert [row["phase"] for row in rows if "plain_seconds" in row] == plain
    assert all(row["seconds"] > 0 and row["limit_seconds"] > 0 for row in rows)
    table = report.table(LIMITS, rows, {})
    assert [cell != "-" for cell in table.columns[8].cells] == [name in plain for name in chosen]


def test_phases_are_chosen_by_name():
    assert report.choose([]) == list(report.PHASES)
    assert report.choose(["nll", "mle_step"]) == ["mle_step", "nll"]
    with pytest.raises(ConfigError, match="mle_stp: did you mean mle_step"):
        report.choose(["mle_stp"])


def test_runs_are_saved_and_the_newest_on_this_device_is_compared(tmp_path):
    path = str(tmp_path / "runs.json")
    assert report.read_runs(path) == []
    for seconds in (3.0, 2.0):
        figures = [{"phase": "nll", "seconds": seconds}]
        report.save_run(path, report.read_runs(path), LIMITS, figures)
    runs = report.read_runs(path)
    runs.append({"device": "another", "phases": [{"phase": "nll", "seconds": 1.0}]})
    assert report.last_seconds(runs, report.device()) == {"nll": 2.0}


@pytest.mark.parametrize("content", ["{", "[1]", '{"device": 1}', '[{"device": "cpu"}]'])
def test_a_file_of_another_kind_is_refused_and_kept(tmp_path, content):
    path = tmp_path / "runs.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"--json=.*runs\.json"):
        report.read_runs(str(path))
    assert path.read_text() == content


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    path = str(tmp_path / "no" / "runs.json")
    with pytest.raises(ConfigError, match="cannot be written"):
        report.save_run(path, [], LIMITS, [])


def test_saved_runs_tell_machine_and_version(tmp_path):
    path = tmp_path / "runs.json"
    report.save_run(str(path), [], LIMITS, [])
    (run,) = json.loads(path.read_text())
    assert run["jax"] == jax.__version__
    assert run["limits"]["flop_per_second"] == 1e9


def test_scaling_doubles_each_size(monkeypatch):
    """Of a call that compiles in no time: growth_test.py has g-steps of every size."""
    build, sizes = phases.build, []

    def cheap(hparams):
        sizes.append(scaling.sizes_of(hparams))
        return {"g_step": build(hparams)["nll"]}

    monkeypatch.setattr(scaling.phases, "build", cheap)
    monkeypatch.setattr(scaling, "_LENGTHS", (6, 12))
    rows = list(scaling.table(SMALL, 1).columns[0].cells)
    assert rows == [
        "as configured", "T 6 -> 12", "N 4 -> 8", "V 30 -> 60", "B 8 -> 16", "H 4 -> 8",
        "compile only, T 6", "compile only, T 12",
    ]  # fmt: skip
    first = scaling.sizes_of(SMALL)
    doubled = [first | {name: 2 * first[name]} for name in ("T", "N", "V", "B", "H")]
    assert sizes == [first, *doubled, first, first | {"T": 12}]


def test_resized_changes_what_it_names():
    changed = scaling.resized(SMALL, T=12, N=8)
    assert scaling.sizes_of(changed) == scaling.sizes_of(SMALL) | {"T": 12, "N": 8}


def test_seeds_in_one_computation_are_timed_both_ways():
    made = side_by_side.table(SMALL, 2, 1)
    assert "2 seeds" in made.title
    names, *figures = (list(column.cells) for column in made.columns)
    assert names == ["20 MLE steps", "g-step"]
    assert all(float(cell) > 0 for cells in figures for cell in cells)
