"""What a report says, before it is set in Markdown or HTML."""

from __future__ import annotations

from typing import NamedTuple

from seqgan_jax.reporting import (
    columns,
    comparisons,
    courses,
    curves,
    gallery,
    groups,
    method_table,
    table,
)
from seqgan_jax.reporting.gallery import Exhibit
from seqgan_jax.reporting.grid import Grid
from seqgan_jax.reporting.groups import Group, Part, Spread, spread
from seqgan_jax.reporting.reading import Run
from seqgan_jax.reporting.style import Picture
from seqgan_jax.reporting.table import Table
from seqgan_jax.training.plan import UNITS, phase_lengths

TITLE = "Report of runs"
_REWARDED = {"seqgan", "reinforce"}  # the methods that `training.reward` is for


class Section(NamedTuple):
    """All on one set of data."""

    title: str
    head: list[dict[str, str]]  # what each group is, label -> words
    notes: list[str]
    table: Table
    legend: list[tuple[str, str]]  # column, meaning
    together: list[str]
    grids: list[Grid]  # methods side by side
    pictures: list[Picture]
    exhibits: list[Exhibit]


def sections(parts: list[Part]) -> list[Section]:
    """One section a set of data; their pictures have names of their own."""
    return [
        _section(part, "" if len(parts) == 1 else f"-{number}")
        for number, part in enumerate(parts, 1)
    ]


def _section(part: Part, suffix: str) -> Section:
    made = table.make(part)
    return Section(
        title=groups.title(part),
        head=[_described(group) for group in part.groups],
        notes=[*part.notes, *made.sources, *_spreads(part)],
        table=made,
        legend=columns.legend(made.columns),
        together=columns.read_together([column.key for column in made.columns]),
        grids=method_table.make(part),
        pictures=[
            *curves.pictures(part, suffix),
            *courses.picture(part, suffix),
            *comparisons.quality_diversity(part, suffix),
            *comparisons.lengths(part, suffix),
        ],
        exhibits=gallery.make(part, suffix),
    )


def _spreads(part: Part) -> list[str]:
    if all(len(group.runs) == 1 for group in part.groups):
        return []
    return [
        "Where there are several runs (seeds): mean ± standard deviation of one run (n - 1 in the "
        "denominator), not the error of the mean."
    ]


def _described(group: Group) -> dict[str, str]:
    """What the group is, label -> words; nothing in it tells the machine."""
    run = group.runs[0]
    model, schedule = run.hparams.model, phase_lengths(run.hparams.schedule)
    generator = f"{model.cell.upper()}, embedding {model.embed_dim}, hidden {model.hidden_dim}"
    if run.parameters is not None:
        generator += f"; {run.parameters:,} parameters"
    reward = run.hparams.training.reward if run.hparams.method in _REWARDED else ""
    reached = {line["phase"] for line in run.lines}
    if run.finished:  # without what the method has no use for, or what ended early
        schedule = {phase: length for phase, length in schedule.items() if phase in reached}
        if "g_pretrain" in schedule:
            schedule["g_pretrain"] = curves.epochs_of(run)
    seconds = spread(each.seconds for each in group.runs)
    unfinished = [
        f"{each.name} unfinished: {_reached(each, schedule)}"
        for each in group.runs
        if not each.finished
    ]
    return {
        "name": group.name,
        "runs": ", ".join(each.name for each in group.runs),
        "method": table.method_name(run) + (f", reward {reward}" if reward else ""),
        "seeds": ", ".join(str(each.hparams.seed) for each in group.runs),
        "generator": generator,
        "schedule": ", ".join(_units(length, phase) for phase, length in schedule.items()),
        "trained": "; ".join([_seconds(seconds), *unfinished]),
    }


def _units(length: int, phase: str) -> str:
    return f"{length:,} {UNITS[phase].replace('_', '-')}{'' if length == 1 else 's'}"


def _reached(run: Run, schedule: dict[str, int]) -> str:
    if not run.lines:
        return "nothing yet"
    last = run.lines[-1]
    unit = UNITS[last["phase"]]
    return f"{unit.replace('_', '-')} {last[unit]} of {schedule[last['phase']]}"


def _seconds(seconds: Spread) -> str:
    spoken = "" if seconds.deviation is None else f" ± {seconds.deviation:,.0f}"
    return f"{seconds.mean:,.0f}{spoken} s"
