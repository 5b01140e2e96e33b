"""What doubling a size costs: draws, time and memory of a g-step, and compile time against T."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import rich.table

from seqgan_jax.benchmark import phases, timing, work
from seqgan_jax.hparams import HParams

_LENGTHS = (20, 40, 80, 160)


class Row(NamedTuple):
    """One g-step at one size."""

    name: str
    draws: int
    timing: timing.Timing


def resized(hparams: HParams, **sizes: int) -> HParams:
    """The settings with some of T, N, V, B and H changed."""
    sections: dict[str, dict[str, Any]] = {}
    place = {
        "T": ("data", "length"), "V": ("data", "vocab_size"), "N": ("training", "num_rollouts"),
        "B": ("schedule", "batch_size"), "H": ("model", "hidden_dim"),
    }  # fmt: skip
    for name, value in sizes.items():
        section, field = place[name]
        sections.setdefault(section, {})[field] = value
    changed = {
        section: dataclasses.replace(getattr(hparams, section), **fields)
        for section, fields in sections.items()
    }
    return dataclasses.replace(hparams, **changed)


def sizes_of(hparams: HParams) -> dict[str, int]:
    """T, N, V, B and H of a config."""
    return {
        "T": hparams.sizes.length,
        "N": hparams.training.num_rollouts,
        "V": hparams.sizes.vocab_size,
        "B": hparams.schedule.batch_size,
        "H": hparams.model.hidden_dim,
    }


def measure(hparams: HParams, runs: int) -> Iterator[Row]:
    """A g-step at the config's sizes, then with each size doubled."""
    variants: list[tuple[str, dict[str, int]]] = [("as configured", {})]
    variants += [(f"{name} {size} -> {2 * size}", {name: 2 * size})
                 for name, size in sizes_of(hparams).items()]  # fmt: skip
    for name, sizes in variants:
        changed = resized(hparams, **sizes)
        phase = phases.build(changed)["g_step"]
        yield Row(
            name, work.draws(changed), timing.measure(phase.function, *phase.arguments(), runs)
        )


def compile_seconds(hparams: HParams, length: int) -> float:
    """Seconds that a g-step over sequences of this length takes to compile."""
    phase = phases.build(resized(hparams, T=length))["g_step"]
    return timing.compile_call(phase.function, phase.arguments())[1]


def table(hparams: HParams, runs: int) -> rich.table.Table:
    """A row a doubling, as ratios to the config's own sizes; then compile seconds against T."""
    sizes = ", ".join(f"{name} {size}" for name, size in sizes_of(hparams).items())
    result = rich.table.Table(title=f"one g-step, {sizes}; ratios to the first row")
    result.add_column("size doubled")
    for title in ("tokens drawn", "ratio", "seconds", "ratio", "MB", "ratio", "compile s"):
        result.add_column(title, justify="right")
    rows: list[Row] = []
    for row in measure(hparams, runs):
        rows.append(row)
        now, first = row.timing, rows[0].timing
        result.add_row(
            row.name,
            f"{row.draws:,}", f"{row.draws / rows[0].draws:.2f}",
            f"{now.seconds:.3f}", f"{now.seconds / first.seconds:.2f}",
            f"{now.memory_bytes / 1e6:,.0f}", f"{now.memory_bytes / first.memory_bytes:.2f}",
            f"{now.compile_seconds:.1f}",
        )  # fmt: skip
    for length in _LENGTHS:
        took = compile_seconds(hparams, length)
        result.add_row(f"compile only, T {length}", *["-"] * 6, f"{took:.1f}")
    return result
