"""Runs the phases and says how each stands: to the limit, to the plain reference, to last time."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import rich.table

from seqgan_jax.atomic import write_json
from seqgan_jax.benchmark import phases, startup, timing
from seqgan_jax.benchmark.limits import Limits, least_seconds, measure_limits
from seqgan_jax.benchmark.plain import PlainParts
from seqgan_jax.checked import ConfigError, nearest
from seqgan_jax.hparams import HParams

Figures = dict[str, Any]

PHASES = (
    *("mle_step", "sampling", "nll", "d_step", "d_scoring", "action_values", "g_step"),
    *("round", "startup"),
)


def choose(names: Sequence[str]) -> list[str]:
    """The phases asked for, all where none is named.

    Raises:
      ConfigError: there is no such phase.
    """
    for name in names:
        if name not in PHASES:
            raise ConfigError(f"--phases={name}: {nearest(name, PHASES)}")
    return [name for name in PHASES if name in names or not names]


def lines(
    hparams: HParams,
    names: Sequence[str],
    path: str | None,
    plain: Any,
    train_command: Sequence[str],
    runs: int,
) -> Iterator[str | rich.table.Table]:
    """A line a phase as it is measured, then a table of all.

    Args:
      hparams: sizes.
      names: of the phases; all where there are none.
      path: file that the run is saved in, and that the last run on this device is read from; or
        None.
      plain: as of `measure`, and so the rest.
      train_command: likewise.
      runs: likewise.

    Raises:
      ConfigError: there is no such phase, or the file cannot be read or written.
    """
    chosen, saved = choose(names), read_runs(path) if path else []
    limits, figures = measure_limits(), []
    for row in measure(hparams, chosen, limits, plain, train_command, runs):
        figures.append(row)
        yield line(row)
        if path:  # at once, so that what is measured is never lost
            save_run(path, saved, limits, figures)
    yield table(limits, figures, last_seconds(saved, device()))


def measure(
    hparams: HParams,
    chosen: Sequence[str],
    limits: Limits,
    plain: Any,
    train_command: Sequence[str],
    runs: int,
) -> Iterator[Figures]:
    """Figures of one phase after another.

    Args:
      hparams: sizes.
      chosen: names in `PHASES`.
      limits: of this machine.
      plain: the module tests/plain_reference.py.
      train_command: bin/train.py with the same config.
      runs: the median is of so many.

    Yields:
      A dictionary a phase, ready for JSON.
    """
    built = phases.build(hparams)
    parts = PlainParts(hparams, plain)

    @functools.cache
    def figures(name: str) -> Figures:
        return _figures(name, built[name], limits, parts, runs)

    for name in chosen:
        if name == "startup":
            steps = hparams.sizes.num_train // hparams.schedule.batch_size
            tokens = steps * hparams.schedule.batch_size * hparams.sizes.length
            yield startup.measure(train_command, steps, tokens, runs)
        elif name == "round":
            yield _round(hparams, figures("g_step"), figures("d_epochs"))
        else:
            yield figures(name)


def _figures(
    name: str, phase: phases.Phase, limits: Limits, parts: PlainParts, runs: int
) -> Figures:
    carry, inputs = phase.arguments()
    took = timing.measure(phase.function, carry, inputs, runs)
    del carry, inputs
    plain_seconds = parts.seconds(phase.plain)
    return {
        "phase": name,
        "title": phase.title,
        "seconds": took.seconds / phase.repeats,
        "items": phase.items,
        "unit": phase.unit,
        "flop": phase.work.flop,
        "compile_seconds": took.compile_seconds,
        "memory_bytes": took.memory_bytes,
        "limit_seconds": least_seconds(phase.work, limits),
        **({} if plain_seconds is None else {"plain_seconds": plain_seconds}),
    }


def _round(hparams: HParams, g_step: Figures, d_step: Figures) -> Figures:
    """One adversarial round: its g-steps and its d-steps, each the median of its runs."""
    schedule = hparams.schedule
    result: Figures = {
        name: schedule.g_steps * g_step[name] + schedule.d_steps * d_step[name]
        for name in ("seconds", "items", "flop", "limit_seconds", "plain_seconds")
        if name in g_step and name in d_step
    }
    return {
        "phase": "round",
        "title": f"round: g {schedule.g_steps}, d {schedule.d_steps}, k {schedule.d_epochs}",
        **result,
        "items": schedule.d_steps * d_step["items"],
        "unit": d_step["unit"],
        "compile_seconds": g_step["compile_seconds"] + d_step["compile_seconds"],
        "memory_bytes": max(g_step["memory_bytes"], d_step["memory_bytes"]),
    }


def read_runs(path: str) -> list[dict[str, Any]]:
    """Runs saved so far, oldest first; none where there is no such file.

    Raises:
      ConfigError: the file is not one that this program wrote.
    """
    if not os.path.exists(path):
        return []
    try:
        with open(path, encoding="utf-8") as file:
            runs = json.load(file)
        for run in runs:
            run["device"], [figures["phase"] for figures in run["phases"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"--json={path}: not a list of runs that this program saved ({error!r}); "
            "give another file"
        ) from error
    return list(runs)


def last_seconds(runs: Sequence[dict[str, Any]], device: str) -> dict[str, float]:
    """Seconds of each phase in the newest run on the same kind of device that has it."""
    found: dict[str, float] = {}
    for run in runs:
        if run["device"] == device:
            found |= {figures["phase"]: figures["seconds"] for figures in run["phases"]}
    return found


def save_run(path: str, runs: list[dict[str, Any]], limits: Limits, figures: list[Figures]) -> None:
    """Adds a run to the file, whole or not at all.

    Raises:
      ConfigError: the file cannot be written.
    """
    run = {
        "device": device(),
        "jax": jax.__version__,
        "limits": limits._asdict(),
        "phases": figures,
    }
    try:
        write_json(path, [*runs, run])
    except OSError as error:
        raise ConfigError(f"--json={path}: cannot be written ({error.strerror})") from error


def device() -> str:
    """What the phases run on."""
    first = jax.devices()[0]
    return f"{first.platform} {first.device_kind} x{jax.device_count()}, {os.cpu_count()} cores"


def table(limits: Limits, figures: Sequence[Figures], last: dict[str, float]) -> rich.table.Table:
    """A row a phase."""
    result = rich.table.Table(
        title=f"{device()}, jax {jax.__version__}; limits: "
        f"{limits.flop_per_second / 1e9:.0f} GFLOP/s, "
        f"{limits.exponentials_per_second / 1e9:.1f} G exponentials/s, "
        f"{limits.bytes_per_second / 1e9:.1f} GB/s"
    )
    result.add_column("phase")
    for title in (
        *("seconds", "items/s", "GFLOP/s", "MB", "compile s"),
        *("x limit", "plain s", "plain / ours", "last / ours"),
    ):
        result.add_column(title, justify="right")
    for row in figures:
        result.add_row(*_cells(row, last.get(row["phase"])))
    return result


def line(row: Figures) -> str:
    """One phase in a few words, for those who wait."""
    words = f"{row['title']}: {row['seconds']:.4g} s"
    if "limit_seconds" in row:
        words += f", {row['seconds'] / row['limit_seconds']:.2f} x the limit"
    return words


def _cells(row: Figures, last: float | None) -> list[str]:
    def shown(text: str, name: str, value: Callable[[], float]) -> str:
        return format(value(), text) if name in row else "-"

    seconds = row["seconds"]
    return [
        row["title"],
        f"{seconds:.4g}",
        f"{row['items'] / seconds:,.0f} {row['unit']}" if "items" in row else "-",
        shown(".0f", "flop", lambda: row["flop"] / seconds / 1e9),
        shown(",.0f", "memory_bytes", lambda: row["memory_bytes"] / 1e6),
        shown(".1f", "compile_seconds", lambda: row["compile_seconds"]),
        shown(".2f", "limit_seconds", lambda: seconds / row["limit_seconds"]),
        shown(".4g", "plain_seconds", lambda: row["plain_seconds"]),
        shown(".1f", "plain_seconds", lambda: row["plain_seconds"] / seconds),
        "-" if last is None else f"{last / seconds:.2f}",
    ]
