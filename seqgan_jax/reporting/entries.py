"""The rows of a comparison of methods: where their runs began, and where they have come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from seqgan_jax.hparams import METHODS
from seqgan_jax.reporting.groups import Group, Part
from seqgan_jax.reporting.reading import Line, Run
from seqgan_jax.reporting.sweep_output import reverse_kl
from seqgan_jax.reporting.table import evaluated, group_label, start_name
from seqgan_jax.training.plan import ADVERSARIAL, G_PRETRAIN, UNITS

REFERENCE = "seqgan"  # the method that the others are tested against


class Entry(NamedTuple):
    """Runs of one method, or their common start."""

    label: str
    runs: list[Run]
    values: dict[str, list[float]]  # by metric, one a run
    is_reference: bool


def ends(part: Part) -> list[Entry]:
    """Each group at its runs' last evaluated lines; none of a group in which one has no such."""
    found = []
    for group in part.groups:
        lines = [line for run in group.runs if (line := _last(run)) is not None]
        if len(lines) == len(group.runs):
            is_reference = group.runs[0].hparams.method == REFERENCE
            found.append(_entry(group_label(group), group.runs, lines, is_reference=is_reference))
    return found


def start_of(run: Run) -> Line | None:
    """The line that its rounds begin at; None where it has no rounds, or no start."""
    begins = evaluated(run.lines, G_PRETRAIN)
    return begins[-1] if begins and evaluated(run.lines, ADVERSARIAL) else None


def starts(part: Part) -> list[Entry]:
    """Where the rounds began, one entry for all methods that began at the same place."""
    found: list[tuple[set[tuple[int, float]], Entry]] = []

    def order(group: Group) -> tuple[int, bool]:
        # Those of most seeds first, so that those of fewer are seen to be among them; and our own
        # before a user's, whose start may be theirs.
        return -len(group.runs), group.runs[0].hparams.method not in METHODS

    for group in sorted(part.groups, key=order):
        lines = [line for run in group.runs if (line := start_of(run)) is not None]
        if len(lines) < len(group.runs):
            continue
        place = {
            (run.hparams.seed, round(line["nll_test"], 3))
            for run, line in zip(group.runs, lines, strict=True)
        }
        if any(place <= other for other, _ in found):
            continue
        name = start_name(group.runs[0].hparams.method)
        words = "best epoch" if is_best(group) else f"{UNITS[G_PRETRAIN]} {lines[0]['epoch']}"
        entry = _entry(f"start: {name}, {words}", group.runs, lines, is_reference=False)
        found.append((place, entry))
    return [entry for _, entry in found]


def is_best(group: Group) -> bool:
    """Whether the rounds begin at the best epoch of pre-training, and not at its last."""
    return group.runs[0].hparams.schedule.g_patience > 0


def _last(run: Run) -> Line | None:
    lines = evaluated(run.lines, ADVERSARIAL) or evaluated(run.lines, G_PRETRAIN)
    return lines[-1] if lines else None


def _entry(label: str, runs: Sequence[Run], lines: Sequence[Line], *, is_reference: bool) -> Entry:
    names = {name for line in lines for name in line if name != "phase"}
    values = {name: [line[name] for line in lines if name in line] for name in names}
    values["reverse_kl"] = [reverse_kl(line) for line in lines if "nll_oracle" in line]
    return Entry(label, list(runs), values, is_reference)
