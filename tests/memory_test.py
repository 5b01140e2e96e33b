"""The memory calculator: against XLA's own analysis of the compiled calls, and by hand."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from memory_run import EVALUATION, G_STEP, SETTINGS, config

from seqgan_jax import blocks
from seqgan_jax.benchmark import memory, memory_plan, model_memory, transient
from seqgan_jax.checked import ConfigError
from seqgan_jax.hparams import HParams, MeshHParams
from seqgan_jax.search import rollout

ROOT = pathlib.Path(__file__).resolve().parents[1]
TINY = config("density", V=800, H=8, embed=4, T=6, B=16, N=9, d_hidden=4, d_batch=16, train=512)
# Whose search is what needs most.
LONG = config("density", V=800, H=32, embed=4, T=12, B=16, N=9, d_hidden=4, d_batch=16)


def on(hparams, data, model):
    return dataclasses.replace(hparams, mesh=MeshHParams(data, model))


def held(hparams):
    """Of parameters and moments."""
    parts = memory.footprint(hparams).held
    return sum(size for name, size in parts.items() if name != "training and test sequences")


@pytest.fixture(scope="module")
def analyses():
    command = [sys.executable, str(ROOT / "tests" / "memory_run.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_prediction_is_within_20_percent_of_xla_s_analysis(analyses, name):
    (hparams, call), xla = SETTINGS[name], analyses[name]
    needed = memory.footprint(hparams)
    # What the call gives back and no argument becomes counts as held for the while.
    temporary = xla["temp"] + xla["output"] - xla["alias"]
    assert needed.calls[call].bytes == pytest.approx(temporary, rel=0.2)
    if call != EVALUATION:  # which is not given the whole state
        total = needed.resident + needed.calls[call].bytes
        assert total == pytest.approx(xla["argument"] + temporary, rel=0.2)


@pytest.mark.parametrize("name", [name for name in SETTINGS if SETTINGS[name][1] != EVALUATION])
def test_the_state_is_counted_to_the_byte(analyses, name):
    (hparams, call), xla = SETTINGS[name], analyses[name]
    # A g-step does not look at the data; a key, a step and a baseline are not worth a row.
    number = 0 if call == G_STEP else hparams.sizes.num_train // max(hparams.mesh.data, 1)
    data = 5 * number * hparams.sizes.length
    assert 0 <= xla["argument"] - data - held(hparams) <= 16


def test_a_state_by_hand():
    needed = memory.footprint(TINY).held
    # Embedding, gates, output layer; two moments and a count an optimiser.
    generator = 800 * 4 + 4 * 8 * (4 + 8 + 1) + (8 + 1) * 800
    density = 800 * 16 + 4 * 4 * (16 + 4 + 1) + (4 + 1) * 800
    assert needed["generator"] == needed["rollout policy"] == 4 * generator
    assert needed["moments of MLE"] == needed["moments of the g-steps"] == 4 * (2 * generator + 1)
    assert needed["discriminator"] == 4 * density
    assert needed["moments of the discriminator"] == 4 * (2 * density + 1)
    assert needed["training and test sequences"] == (512 + 2) * 6 * 5


def test_early_stopping_keeps_a_generator_and_its_moments():
    schedule = dataclasses.replace(TINY.schedule, g_patience=3)
    parts = memory.footprint(dataclasses.replace(TINY, schedule=schedule)).held
    both = parts["generator"] + parts["moments of MLE"]
    assert parts["best generator and its moments"] == both + 12


def test_what_devices_share_falls_by_their_number_and_nothing_else_does():
    one, rows, vocabulary = (memory.footprint(on(TINY, *mesh)) for mesh in ((1, 1), (8, 1), (1, 8)))
    gates = 4 * 4 * 8 * (4 + 8 + 1)
    assert rows.held["generator"] == one.held["generator"]
    assert vocabulary.held["generator"] - gates == (one.held["generator"] - gates) / 8
    sequences = "training and test sequences"
    assert rows.held[sequences] == (512 / 8 + 1) * 6 * 5
    assert vocabulary.held[sequences] == one.held[sequences]
    meshes = (model_memory.Mesh(*mesh) for mesh in ((1, 1), (8, 1), (1, 8)))
    before, less, same = (transient.generator_steps(TINY, mesh) for mesh in meshes)
    for whole, of_rows, of_tokens in zip(before, less, same, strict=True):
        if "rollouts" in whole.parts:
            copies = "copies of the output layers"
            assert of_rows.parts["rollouts"] == whole.parts["rollouts"] / 8
            assert of_tokens.parts["rollouts"] == whole.parts["rollouts"]
            assert of_rows.parts[copies] == whole.parts[copies]
            assert of_tokens.parts[copies] == whole.parts[copies] / 8


def test_the_slots_and_blocks_are_those_of_the_search():
    for length in range(1, 8):
        for rollouts in range(1, 6):
            expected = len(rollout.schedule(length, rollouts).first) if length > 1 else 0
            assert rollout.num_slots(length, rollouts) == expected
    for number in (1, 5, 512, 513, 1280):
        seen = []
        blocks.map_rows(lambda rows, seen=seen: seen.append(len(rows)) or rows, jnp.zeros(number),
                        512)  # fmt: skip
        assert set(seen) == {model_memory.block_rows(number, 512)}


def test_the_largest_chunk_fits_and_no_larger_one_does():
    peaks = {chunk: memory.footprint(memory.with_chunk(LONG, chunk)).peak for chunk in range(1, 10)}
    # As blocks are of one size, a chunk may need less than a smaller one.
    assert sorted(peaks.values()) != list(peaks.values())
    found = set()
    for limit in (*peaks.values(), *(peak - 1 for peak in peaks.values())):
        chunk = memory.largest_chunk(LONG, limit)
        fitting = [one for one, peak in peaks.items() if peak <= limit]
        assert chunk == max(fitting, default=None)
        found.add(chunk)
    assert len(found) > 5
    assert None in found


def test_one_token_sequences_need_no_search():
    short = dataclasses.replace(TINY, data=dataclasses.replace(TINY.data, length=1))
    assert memory.largest_chunk(short, 2**30) == 9
    assert memory.footprint(short).calls[G_STEP].bytes < memory.footprint(TINY).calls[G_STEP].bytes


def test_a_report_says_what_fits():
    table, verdict = memory_plan.report(LONG, 1.0)
    assert table.row_count > 10
    assert "rollout_chunk 2 fits; the largest that does is 9, all N at a time" in verdict
    peaks = [memory.footprint(memory.with_chunk(LONG, chunk)).peak for chunk in (2, 9)]
    assert peaks[0] < peaks[1]
    wide = memory.with_chunk(LONG, 9)
    _, verdict = memory_plan.report(wide, (peaks[1] - 1) / 2**30)
    assert "rollout_chunk 9 does not fit; the largest that does is" in verdict


def test_a_report_says_what_would_fit_where_nothing_does():
    limit = memory.footprint(memory.with_chunk(TINY, 1)).peak // 2
    way = next(memory_plan.ways_out(TINY, limit))
    assert way.startswith("--config.mesh.data=1 --config.mesh.model=")
    model = int(way.rpartition("=")[2])
    few = memory.with_chunk(TINY, 1)
    assert memory.footprint(on(few, 1, model)).peak <= limit
    assert memory.footprint(on(few, 1, model // 2)).peak > limit
    _, verdict = memory_plan.report(TINY, limit / 2**30)
    assert "does not fit even with rollout_chunk 1" in verdict
    assert way in verdict
    _, verdict = memory_plan.report(TINY, 1e-6)
    assert "change several settings, or give a smaller model" in verdict


def test_a_machine_has_memory():
    size, whose = memory_plan.device_memory()
    assert 2**28 < size < 2**50
    assert whose.startswith("this machine's")


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 B"), (1000, "0.977 KiB"), (2**20, "1 MiB"), (3.5 * 2**30, "3.5 GiB"),
     (2**52, "4,096 TiB")],
)  # fmt: skip
def test_sizes_are_readable(size, words):
    assert memory_plan.readable(size) == words


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "wgan"}, "config.method=wgan: --plan does not count it; give seqgan"),
        ({"num_seeds": 2}, "config.num_seeds=2: .* give 1"),
        ({"precision": "bfloat16"}, "config.precision=bfloat16: .* give float32"),
        ({"mesh": MeshHParams(1, 7)}, "config.mesh.model=7: does not divide the vocabulary of 800"),
        ({"mesh": MeshHParams(3, 1)}, "schedule.batch_size=16: 3 devices cannot share it equally"),
        (
            {"discriminator": dataclasses.replace(HParams().discriminator, kind="bigru"),
             "training": HParams().training},
            "config.discriminator.kind=bigru: .* give density or text_cnn",
        ),
    ],
)  # fmt: skip
def test_what_is_not_counted_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        memory.footprint(dataclasses.replace(TINY, **changes))


@pytest.mark.parametrize("gib", [0.0, -1.0, float("nan")])
def test_a_device_without_memory_is_refused(gib):
    with pytest.raises(ConfigError, match=r"--plan_memory=.*: must be above 0"):
        memory_plan.report(TINY, gib)


def test_the_program_plans_for_devices_that_are_not_there():
    command = [
        *(sys.executable, str(ROOT / "bin" / "benchmark.py"), "--plan", "--plan_memory=1"),
        *("--config=configs/oracle.py", "--config.data.vocab_size=256000"),
        *("--config.model.hidden_dim=2048", "--config.mesh.data=16", "--config.mesh.model=16"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert jax.device_count() < 256
    assert "one of 16 x 16 devices" in done.stdout
    # The state alone is more: 6 copies of a generator of 202 MB, and the discriminator's 3.
    assert "does not fit even with rollout_chunk 1" in done.stdout
