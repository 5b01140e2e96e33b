"""A round at sizes beyond this machine, on paper: from programs compiled for a mesh, never run.

They are compiled for eight virtual CPU devices, from shapes alone. What they tell is counted per
device (`hlo.Program`), and set against the published rates of an accelerator: a simulation. An
accelerator's compiler fuses more and so moves fewer bytes; FLOP and collectives are the program's.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax

from seqgan_jax.benchmark import hlo, programs
from seqgan_jax.benchmark.scaling import resized
from seqgan_jax.checked import ConfigError
from seqgan_jax.data_hparams import DataSizes
from seqgan_jax.hparams import HParams, MeshHParams

_DEVICES = 8
_MESHES = ((8, 1), (4, 2), (1, 8))
_SETTINGS: tuple[dict[str, int], ...] = (
    {"T": 20, "B": 64, "V": 5_000, "H": 32},
    {"T": 128, "B": 64, "V": 5_000, "H": 32},
    {"T": 1024, "B": 64, "V": 5_000, "H": 32},
    {"T": 20, "B": 1024, "V": 5_000, "H": 32},
    {"T": 20, "B": 64, "V": 32_000, "H": 32},
    {"T": 20, "B": 64, "V": 256_000, "H": 32},
    {"T": 20, "B": 64, "V": 5_000, "H": 2_048},
    {"T": 128, "B": 256, "V": 32_000, "H": 512},
    {"T": 1024, "B": 64, "V": 256_000, "H": 2_048},
    {"T": 1024, "B": 1024, "V": 256_000, "H": 2_048},
)


class Accelerator(NamedTuple):
    """What one device is taken to do in a second, and to hold."""

    flop_per_second: float
    bytes_per_second: float  # of its memory
    link_bytes_per_second: float  # sent to other devices
    memory_bytes: float


# As published, not measured. The rate of products is that of float32 arrays at JAX's default
# precision: bfloat16 passes on a TPU, TF32 without sparsity on the H100; its NVLink is one way's.
PUBLISHED = {
    "v5e": Accelerator(197e12, 819e9, 200e9, 16e9),
    "h100": Accelerator(494.5e12, 3.35e12, 450e9, 80e9),
}


def accelerator(text: str) -> Accelerator:
    """One in `PUBLISHED`, or another by its four figures.

    Raises:
      ConfigError: the text is neither.
    """
    if text in PUBLISHED:
        return PUBLISHED[text]
    try:
        rates = Accelerator(*map(float, text.split(",")))
    except (TypeError, ValueError):
        rates = Accelerator(0.0, 0.0, 0.0, 0.0)
    if not all(0.0 < rate < float("inf") for rate in rates):
        raise ConfigError(
            f"--scale={text}: must be {' or '.join(PUBLISHED)}, or four positive numbers, such as "
            "197e12,819e9,200e9,16e9: FLOP/s, memory B/s, interconnect B/s and memory B of a device"
        )
    return rates


class Cost(NamedTuple):
    """What a device does in one or more calls, and the most that it holds at a time."""

    program: hlo.Program
    held_bytes: int  # the state and data that a call is given, and what it needs besides

    def __add__(self, other: object) -> Cost:
        """Both, one after the other."""
        if not isinstance(other, Cost):
            return NotImplemented
        return Cost(self.program + other.program, max(self.held_bytes, other.held_bytes))

    def times(self, number: int) -> Cost:
        """The same so many times."""
        return Cost(self.program.looped(number), self.held_bytes)

    def link_bytes(self, devices: int) -> float:
        """What a device sends, by algorithms in a ring, which send no more than is needed."""
        return sum(each.runs * _sent(each, devices) for each in self.program.collectives)

    def seconds(self, rates: Accelerator, devices: int) -> dict[str, float]:
        """What each resource would take if it were the only limit."""
        return {
            "compute": self.program.flop / rates.flop_per_second,
            "memory": self.program.bytes_accessed / rates.bytes_per_second,
            "interconnect": self.link_bytes(devices) / rates.link_bytes_per_second,
        }


def _sent(each: hlo.Collective, devices: int) -> float:
    """Bytes that a device sends in one run of a collective."""
    size = each.group_size or devices
    share = (size - 1) / size
    if each.kind == "all-reduce":  # scattered, then gathered
        return 2.0 * share * each.bytes
    if each.kind == "reduce-scatter":
        return share * sum(array.bytes for array in each.operands)
    return float(each.bytes) if each.kind.startswith("collective") else share * each.bytes


def _cost(hparams: HParams, name: str, sizes: DataSizes | None = None) -> Cost:
    compiled = programs.compile_call(hparams, name, sizes)
    held = compiled.memory_analysis()
    return Cost(hlo.read(compiled.as_text()), held.argument_size_in_bytes + held.temp_size_in_bytes)


class Costs(NamedTuple):
    """Of one device: a step of maximum likelihood, and a round's two halves."""

    mle_step: Cost
    g_steps: Cost  # all of the round
    d_steps: Cost


def measure(hparams: HParams) -> Costs:
    """Compiles what a round is made of and reads what it costs.

    Raises:
      ConfigError: the mesh in the settings does not fit the devices or the other settings.
    """
    schedule = hparams.schedule
    batch = hparams.sizes._replace(num_train=schedule.batch_size)  # an epoch is a step
    d_steps = _cost(hparams, "discriminator_epochs") if schedule.d_steps else Cost(hlo.Program(), 0)
    return Costs(
        _cost(hparams, "pretrain_generator_epoch", batch),
        _cost(hparams, "generator_steps"),
        d_steps.times(schedule.d_steps),
    )


def scaled(hparams: HParams, sizes: dict[str, int], mesh: tuple[int, int]) -> HParams:
    """The settings with T, B, V and H changed, embeddings of H, and batches of B for both players.

    Raises:
      ConfigError: the sizes contradict the other settings.
    """
    # The mesh first: what is refused of one device may fit several.
    changed = resized(dataclasses.replace(hparams, mesh=MeshHParams(*mesh)), **sizes)
    return dataclasses.replace(
        changed,
        model=dataclasses.replace(changed.model, embed_dim=sizes["H"]),
        schedule=dataclasses.replace(changed.schedule, d_batch_size=sizes["B"]),
    )


def lines(hparams: HParams, text: str, command: Sequence[str]) -> Iterator[str]:
    """Two tables in Markdown: a round, and a step of maximum likelihood, at every size and mesh.

    Args:
      hparams: all settings but the sizes.
      text: the accelerator, see `accelerator`.
      command: what asked for the tables. Where JAX does not have the CPU devices to compile for,
        which it makes once, as it starts, the command runs again with them.

    Raises:
      ConfigError: no such accelerator, or the sizes contradict the settings.
    """
    rates = accelerator(text)
    settings = [(sizes, mesh, scaled(hparams, sizes, mesh))
                for sizes in _SETTINGS for mesh in _MESHES]  # fmt: skip
    if jax.default_backend() != "cpu" or jax.device_count() < _DEVICES:
        yield from _again(command)
        return
    schedule = hparams.schedule
    yield from _heading(
        f"A round, N {hparams.training.num_rollouts}, g {schedule.g_steps}, "
        f"d {schedule.d_steps}, k {schedule.d_epochs}; per device:",
        "G-step's share",
    )
    steps = []
    for sizes, mesh, each in settings:
        costs = measure(each)
        steps.append(_row(sizes, mesh, costs.mle_step, None, rates))
        yield _row(sizes, mesh, costs.g_steps + costs.d_steps, costs.g_steps, rates)
    yield from _heading("A step of maximum likelihood, per device:")
    yield from steps


def _again(command: Sequence[str]) -> Iterator[str]:
    """The lines of a command that is run with virtual devices."""
    flag = f"--xla_force_host_platform_device_count={_DEVICES}"
    given = os.environ.get("XLA_FLAGS", "")
    if given.endswith(flag):
        raise ConfigError(f"--scale: no {_DEVICES} CPU devices, in spite of XLA_FLAGS={given!r}")
    environment = {
        **os.environ,
        "XLA_FLAGS": f"{given} {flag}".strip(),
        "JAX_PLATFORMS": "cpu",
        # Of the passes that come after what is read here: it takes half the time without them.
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        if child.stdout is not None:
            yield from (line.rstrip("\n") for line in child.stdout)
    if child.returncode:
        raise ConfigError(
            f"--scale: the command for {_DEVICES} CPU devices ended with {child.returncode}"
        )


_COLUMNS = (
    *("T", "B", "V", "H", "mesh", "TFLOP", "GB accessed", "FLOP/B", "collectives", "GB sent"),
    *("GB held", "compute s", "memory s", "interconnect s", "bottleneck"),
)


def _heading(title: str, *more: str) -> list[str]:
    columns = [*_COLUMNS, *more]
    return ["", title, "", f"| {' | '.join(columns)} |", "|" + "---:|" * len(columns)]


def _row(
    sizes: dict[str, int], mesh: tuple[int, int], cost: Cost, part: Cost | None, rates: Accelerator
) -> str:
    """A cost in figures; last, if there is a part, its share in the resource that binds."""
    devices = mesh[0] * mesh[1]
    program, seconds = cost.program, cost.seconds(rates, devices)
    bottleneck = max(seconds, key=lambda name: seconds[name])
    cells = [
        *(f"{sizes[name]:,}" for name in ("T", "B", "V", "H")),
        f"({mesh[0]}, {mesh[1]})",
        _short(program.flop / 1e12),
        _short(program.bytes_accessed / 1e9),
        _short(program.flop / program.bytes_accessed),
        f"{sum(each.runs for each in program.collectives):,}",
        _short(cost.link_bytes(devices) / 1e9),
        _short(cost.held_bytes / 1e9) + ("" if cost.held_bytes <= rates.memory_bytes else " !"),
        *map(_short, seconds.values()),
        bottleneck,
    ]
    if part is not None:
        cells.append(f"{part.seconds(rates, devices)[bottleneck] / seconds[bottleneck]:.0%}")
    return f"| {' | '.join(cells)} |"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
