"""Rounds on paper: what compiled programs cost agrees with what is counted by hand."""

import dataclasses
import sys

import pytest

from seqgan_jax.benchmark import programs, scale, work
from seqgan_jax.benchmark.hlo import Collective, Program, read
from seqgan_jax.benchmark.hlo_text import Array
from seqgan_jax.benchmark.scale import Accelerator, Cost
from seqgan_jax.checked import ConfigError
from seqgan_jax.hparams import DiscriminatorHParams, HParams

ONE = (1, 1)
SIZES = {"T": 20, "B": 64, "V": 5_000, "H": 32}
PAPER = HParams(discriminator=DiscriminatorHParams(filters=((1, 100), (3, 200))))


def collective(kind, taken, given, runs=1, group_size=4):
    arrays = tuple((Array("f32", (size,)),) for size in (given, taken))
    return Collective(kind, *arrays, 4 * given, runs, False, group_size)


def test_flop_of_a_round_are_those_by_hand():
    hparams = scale.scaled(PAPER, SIZES, ONE)
    found = scale.measure(hparams)
    d_steps = work.discriminator_epochs(hparams).times(hparams.schedule.d_steps)
    # A likelihood takes the column of its target, and every product its bias, too.
    assert found.mle_step.program.flop == pytest.approx(
        work.generator_gradient(hparams).flop, rel=0.03
    )
    assert found.g_steps.program.flop == pytest.approx(work.generator_step(hparams).flop, rel=0.03)
    assert found.d_steps.program.flop == pytest.approx(d_steps.flop, rel=0.03)
    assert all(each.program.unknown_loops == 0 for each in found)
    assert all(each.program.collectives == () for each in found)
    # Generator, rollout policy and its optimisers' moments at the least.
    assert found.g_steps.held_bytes > 4 * 6 * 5_000 * (32 + 32)


def test_flop_of_a_g_step_grow_with_the_square_of_the_length():
    longer = scale.scaled(PAPER, SIZES | {"T": 80}, ONE)
    found = read(programs.compile_call(longer, "generator_steps").as_text()).flop
    assert found == pytest.approx(work.generator_step(longer).flop, rel=0.03)
    # The search's draws and verdicts, nearly all of it, are 80 x 79 to 20 x 19.
    before = work.generator_step(scale.scaled(PAPER, SIZES, ONE)).flop
    assert found / before == pytest.approx(80 * 79 / (20 * 19), rel=0.05)


def test_what_a_device_sends_in_a_ring():
    def sent(*collectives):
        return Cost(Program(collectives), 0).link_bytes(8)

    assert sent(collective("all-reduce", 100, 100)) == 2 * 3 / 4 * 400
    assert sent(collective("all-reduce", 100, 100, group_size=None)) == 2 * 7 / 8 * 400
    assert sent(collective("all-gather", 25, 100, runs=5)) == 5 * 3 / 4 * 400
    assert sent(collective("reduce-scatter", 100, 25)) == 3 / 4 * 400
    assert sent(collective("all-to-all", 100, 100)) == 3 / 4 * 400
    assert sent(collective("collective-permute", 100, 100, group_size=None)) == 400
    assert sent() == 0


def test_the_slowest_resource_binds():
    moved = (collective("all-gather", 25, 100, group_size=None),)
    half = Cost(Program(moved, flop=4e3, bytes_accessed=2e3), 700)
    cost = half.times(3) + Cost(Program(flop=8e3), 900)
    rates = Accelerator(1e3, 1e3, 10.0, 800.0)
    assert cost.held_bytes == 900
    assert cost.seconds(rates, 8) == {
        "compute": 20.0, "memory": 6.0, "interconnect": 3 * 7 / 8 * 400 / 10
    }  # fmt: skip
    cells = scale._row(SIZES, (8, 1), cost, half.times(3), rates).split(" | ")
    assert cells[:5] == ["| 20", "64", "5,000", "32", "(8, 1)"]
    # 900 bytes are more than the device has; all collectives are in the half.
    assert cells[7:11] == ["3.33", "3", "1.05e-06", "9e-07 !"]
    assert cells[11:] == ["20", "6", "105", "interconnect", "100% |"]


def test_accelerators_are_named_or_given_by_their_figures():
    assert scale.accelerator("v5e").memory_bytes == 16e9
    assert scale.accelerator("1e14,1e12,2e11,8e10") == Accelerator(1e14, 1e12, 2e11, 8e10)
    for text in ("v6", "1,2,3", "1,2,3,0", "1,2,3,4,5", "1,2,3,nan", "1,2,3,inf"):
        with pytest.raises(ConfigError, match=rf"--scale={text}: must be v5e or h100"):
            scale.accelerator(text)


def test_the_command_runs_again_with_the_devices_to_compile_for():
    shown = "import jax; print(jax.device_count(), jax.default_backend())"
    assert list(scale.lines(PAPER, "v5e", [sys.executable, "-c", shown])) == ["8 cpu"]
    with pytest.raises(ConfigError, match="ended with 3"):
        list(scale.lines(PAPER, "v5e", [sys.executable, "-c", "raise SystemExit(3)"]))


def test_settings_that_do_not_fit_are_refused_before_anything_is_compiled():
    schedule = dataclasses.replace(PAPER.schedule, d_samples=500)
    with pytest.raises(ConfigError, match="d_batch_size=1024"):
        list(scale.lines(dataclasses.replace(PAPER, schedule=schedule), "v5e", []))
