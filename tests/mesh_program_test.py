"""What devices say to one another, and what each holds, read from the programs compiled for them.

On a mesh of (data, model) devices; the vocabulary's size is 8 times a prime that divides no other
size here, so that an array with an axis of the vocabulary, or of a device's part of it, is one
whose size the prime divides, however it is reshaped.
"""

import json
import pathlib
import subprocess
import sys
from collections import Counter
from typing import NamedTuple

import pytest
from mesh_programs import BATCH, EMBED, HIDDEN, LENGTH, PRIME, SEARCHES, SMALL

from seqgan_jax.benchmark import hlo

TESTS = pathlib.Path(__file__).parent
VOCAB = 8 * PRIME


class Device(NamedTuple):
    """One device's program, and the bytes that it takes."""

    program: hlo.Program
    temporary: int
    arguments: int
    reused: int  # of the arguments, what the results lie in


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    command = [sys.executable, str(TESTS / "mesh_programs.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=TESTS, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def devices(folder):
    memory = json.loads((folder / "memory.json").read_text())
    return {
        name: Device(hlo.read((folder / f"{name}.txt").read_text()), *held)
        for name, held in memory.items()
    }


def name_of(*key):
    return "-".join(map(str, key))


def along_vocabulary(collective):
    """Its operands and results that have an axis of the vocabulary, or of a part."""
    return [array for array in collective.shapes + collective.operands if array.size % PRIME == 0]


def gradients(vocab_size):
    """Shapes of the generator's parameters, of whose vocabulary a device holds so many tokens."""
    cell = [(EMBED, 4 * HIDDEN), (HIDDEN, 4 * HIDDEN), (4 * HIDDEN,)]
    return cell, [(vocab_size, EMBED), (HIDDEN, vocab_size), (vocab_size,)]


def moved(program):
    """What is all-reduced, each array with the devices that take part."""
    return Counter(
        (array.dims, each.group_size)
        for each in program.collectives
        if each.kind == "all-reduce"
        for array in each.shapes
    )


def test_the_prime_divides_no_other_size():
    widths = (4 * HIDDEN, EMBED, HIDDEN, HIDDEN + 1, BATCH, LENGTH, BATCH * LENGTH)
    assert not [size for size in widths if size % PRIME == 0]


def test_every_loop_is_counted(devices):
    assert not any(device.program.unknown_loops for device in devices.values())


@pytest.mark.parametrize(("kind", "data", "batch_size"), SEARCHES)
def test_the_search_needs_no_word_from_another_device(devices, kind, data, batch_size):
    assert devices[name_of("search", kind, data, batch_size)].program.collectives == ()


def test_over_rows_a_g_step_adds_up_each_gradient_once(devices):
    program = devices[name_of("g-step", "cnn", 8, 1)].program
    expected = Counter((dims, 8) for group in gradients(VOCAB) for dims in group)
    sums = moved(program)
    # All else are a few scalars: the rewards' mean and deviation, the loss.
    assert {each: sums[each] for each in sums if each[0] != ()} == dict(expected)
    assert {each.kind for each in program.collectives} == {"all-reduce"}
    assert all(each.runs == 1 and not each.in_loop for each in program.collectives)


@pytest.mark.parametrize("kind", ["cnn", "density"])
def test_over_both_a_g_step_adds_up_each_part_of_a_gradient_once(devices, kind):
    program = devices[name_of("g-step", kind, 4, 2)].program
    cell, parts = gradients(VOCAB // 2)
    sums = moved(program)
    assert [sums[dims, 4] for dims in cell + parts] == [1] * 6
    added = [each for each in program.collectives if each.group_size == 4]
    assert all(each.runs == 1 and not each.in_loop for each in added)
    along = [each for each in program.collectives if along_vocabulary(each)]
    assert {each.kind for each in along} == {"all-reduce"}
    assert {each.group_size for each in along} == {4}  # those that hold the same part
    assert Counter(array.dims for each in along for array in along_vocabulary(each)) == Counter(
        parts * 2  # as an operand and as a result
    )


def test_over_the_vocabulary_a_g_step_moves_nothing_along_it(devices):
    program = devices[name_of("g-step", "cnn", 1, 8)].program
    assert [each for each in program.collectives if along_vocabulary(each)] == []
    # Nor are gradients of what all have added up: all take them alike.
    cell, _ = gradients(VOCAB)
    assert not [each for dims in cell for each in moved(program) if each[0] == dims]


@pytest.mark.parametrize("mesh", [(4, 2), (1, 8)])
def test_the_likeliest_tokens_are_found_without_moving_the_logits(devices, folder, mesh):
    program = devices[name_of("likeliest", *mesh)].program
    assert [each for each in program.collectives if along_vocabulary(each)] == []
    tokens = json.loads((folder / "tokens.json").read_text())
    assert tokens[name_of(*mesh)] == tokens["1-1"]


def test_memory_of_the_search_falls_with_the_devices_that_share_its_rows(devices):
    held = {data: devices[name_of("search", "cnn", data, BATCH)].temporary for data in (1, 2, 8)}
    # Beside its rows every device has a copy of the output layer, with its bias as one more row.
    copied = 4 * (HIDDEN + 1) * VOCAB
    for data in (2, 8):
        assert held[data] - copied == pytest.approx((held[1] - copied) / data, rel=0.01)


def test_a_device_holds_and_computes_what_one_alone_would_for_its_rows(devices):
    shared, alone = devices[name_of("search", "cnn", 8, BATCH)], devices[name_of("search", *SMALL)]
    # But for what is laid at multiples of 64 bytes; a row takes a hundred times as much.
    assert shared.temporary == pytest.approx(alone.temporary, rel=0.001)
    assert shared.program.flop == alone.program.flop
    assert shared.program.bytes_accessed == pytest.approx(alone.program.bytes_accessed, rel=0.01)


def test_a_device_holds_its_part_of_the_vocabulary_alone(devices):
    """Of parameters and moments along the vocabulary an eighth; of all else, all."""
    whole, part = (devices[name_of("g-step", "cnn", *mesh)].arguments for mesh in ((8, 1), (1, 8)))
    # Generator, rollout policy and the moments of two Adams: six times embedding, output layer and
    # bias. The discriminator's embedding, with moments, three times.
    numbers = VOCAB * (6 * (EMBED + HIDDEN + 1) + 3 * EMBED)
    assert whole - part == pytest.approx(4 * numbers * 7 / 8, rel=0.002)


@pytest.mark.parametrize("mesh", [(8, 1), (1, 8)])
def test_no_state_is_held_twice(devices, mesh):
    """The new state lies where the old one did; only real sequences are held beside it."""
    device = devices[name_of("g-step", "cnn", *mesh)]
    sequences = 64 * LENGTH * (4 + 1) // mesh[0]  # ids and mask
    assert 0 <= device.arguments - device.reused <= sequences
