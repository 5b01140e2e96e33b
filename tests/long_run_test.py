"""A short form of long_run.py: hundreds of rounds hold, and compile, no more than dozens."""

import dataclasses
import gc
import tracemalloc
import weakref

import jax
import rich.console
from long_run import MOST_GROWTH, Reader, growth, process_now
from tiny_run import TINY

from seqgan_jax.training import rendering, summary
from seqgan_jax.training.loop import Trainer

WARM, ROUNDS = 40, 160
# Without checkpoints while it is watched: of each tensorstore keeps some 40 KB (0.1.86).
LONG = dataclasses.replace(
    TINY,
    schedule=dataclasses.replace(TINY.schedule, rounds=ROUNDS + 1),
    evaluation=dataclasses.replace(TINY.evaluation, eval_every=1, checkpoint_seconds=1e6),
)


def held_by_python():
    """Bytes, but for the widths that rich keeps of the last 4,096 words that it has written."""
    others = [tracemalloc.Filter(False, pattern) for pattern in ("*/rich/*", tracemalloc.__file__)]
    found = tracemalloc.take_snapshot().filter_traces(others).statistics("filename")
    return sum(entry.size for entry in found)


def watched(trainer, reader, monkeypatch):
    """Runs it; what is held after the rounds WARM and ROUNDS, and what is compiled by then."""
    seen, compiled = {}, []
    end_unit = trainer._end_unit

    def end_and_look(call, *rest):
        end_unit(call, *rest)
        reader.read()  # as soon as it is written, the line is there, and whole
        assert [line["step"] for line in reader.lines] == [int(trainer._state.step)]
        reader.lines.clear()
        if call.unit == WARM // 2:  # earlier it would slow compilation down
            tracemalloc.start()
        if call.phase == "adversarial" and call.unit in (WARM, ROUNDS):
            gc.collect()
            seen[call.unit] = {
                "python": held_by_python(),
                "arrays": len(jax.live_arrays()),
                "resident": process_now("self")[0],
                "compiled": len(compiled),
            }

    monkeypatch.setattr(trainer, "_end_unit", end_and_look)

    def note(event, seconds, **_):
        if event.startswith("/jax/core/compile/"):
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        trainer.run()
    finally:
        tracemalloc.stop()
        jax.monitoring.unregister_event_duration_listener(note)
    return seen[WARM], seen[ROUNDS]


def test_hundreds_of_rounds(tmp_path, compilation_cache, monkeypatch):
    trainer = Trainer(LONG, str(tmp_path), rich.console.Console(quiet=True))
    # Often: what a drawing keeps would show.
    monkeypatch.setattr("seqgan_jax.training.units._CURVE_SECONDS", 1.0)
    early, late = watched(trainer, Reader(tmp_path / "metrics.jsonl"), monkeypatch)
    assert early["compiled"] == late["compiled"] > 0
    assert early["arrays"] == late["arrays"]
    # A line's metrics alone are some 3,000 bytes, and a figure's parts a million.
    assert late["python"] - early["python"] < 1000 * (ROUNDS - WARM)
    assert growth(early["resident"], late["resident"]) < MOST_GROWTH


def test_a_drawing_keeps_nothing(tmp_path, monkeypatch):
    """Not even until Python looks for circles: among JAX's objects it seldom does."""
    drawn, png = [], rendering.png

    def noted(figure):
        drawn.append(weakref.ref(figure))
        return png(figure)

    monkeypatch.setattr(rendering, "png", noted)
    line = {"phase": "g_pretrain", "epoch": 1, "nll_test": 1.0}
    gc.disable()
    try:
        summary.plot_learning_curve(str(tmp_path), [line, line | {"epoch": 2}])
    finally:
        gc.enable()
    assert drawn[0]() is None
