"""Methods side by side: means with their intervals, tests against SeqGAN, and what each spent.

A figure alone favours whoever sharpens most, so that beside it stands what maximum likelihood has,
drawn at whatever temperature gives it the same NLL_test.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seqgan_jax.reporting import budgets
from seqgan_jax.reporting.columns import BY_KEY
from seqgan_jax.reporting.curves import epochs_of
from seqgan_jax.reporting.grid import Grid
from seqgan_jax.reporting.groups import Group, Part
from seqgan_jax.reporting.reading import Line, Point, Run
from seqgan_jax.reporting.statistics import interval, welch
from seqgan_jax.reporting.sweep_output import crossing
from seqgan_jax.reporting.table import MLE, evaluated, group_label, start_name
from seqgan_jax.training.plan import ADVERSARIAL, G_PRETRAIN, UNITS

REFERENCE = "seqgan"  # the method that the others are tested against
_ABSENT = "-"
_ON_ORACLE = ("nll_oracle", "nll_test")  # what is tested
_ON_REAL = ("bleu_4", "self_bleu_4")
_BESIDE = ("entropy", "distinct")
_TOLERANCE = 1e-3  # nats per token
_Key = tuple[int, str]  # a seed, and all else that pre-training depends on
_TITLES = {"distinct": "distinct"}  # the others are in COLUMNS


class _Entry(NamedTuple):
    """Runs of one method, or their common start."""

    label: str
    values: dict[str, list[float]]  # by metric, one a run
    seeds: list[int]
    pretraining: list[_Key]
    is_reference: bool


def make(part: Part) -> list[Grid]:
    """The comparison of a part's methods, and their budgets; nothing where there is but one.

    Figures are those of each run's last evaluated line of metrics.jsonl.
    """
    if len({group.runs[0].hparams.method for group in part.groups}) < 2:
        return []
    ends = [entry for group in part.groups if (entry := _end(group)) is not None]
    if len(ends) < 2:
        return []
    spent = budgets.make(part)
    return [_comparison(part, _starts(part), ends), *([spent] if spent.rows else [])]


def _last(run: Run) -> Line | None:
    lines = evaluated(run.lines, ADVERSARIAL) or evaluated(run.lines, G_PRETRAIN)
    return lines[-1] if lines else None


def _keys(part: Part) -> tuple[tuple[str, str], list[str]]:
    """The two metrics that are tested, and all that are shown."""
    lines = [line for group in part.groups for run in group.runs if (line := _last(run))]
    tested = _ON_ORACLE if any("nll_oracle" in line for line in lines) else _ON_REAL
    return tested, [*tested, *(("nll_test",) if tested is _ON_REAL else ()), *_BESIDE]


def _entry(label: str, runs: Sequence[Run], lines: Sequence[Line], *, reference: bool) -> _Entry:
    names = {name for line in lines for name in line if name != "phase"}
    values = {name: [line[name] for line in lines if name in line] for name in names}
    seeds = [run.hparams.seed for run in runs]
    return _Entry(label, values, seeds, [_pretraining(run) for run in runs], reference)


def _end(group: Group) -> _Entry | None:
    lines = [line for run in group.runs if (line := _last(run)) is not None]
    if len(lines) < len(group.runs):
        return None
    return _entry(
        group_label(group), group.runs, lines, reference=group.runs[0].hparams.method == REFERENCE
    )


def _starts(part: Part) -> list[_Entry]:
    """Where the rounds began, one entry for all methods that began at the same place."""
    found: list[tuple[set[tuple[int, float]], _Entry]] = []
    # Those of most seeds first, so that those of fewer are seen to be among them.
    for group in sorted(part.groups, key=lambda group: -len(group.runs)):
        begins = [evaluated(run.lines, G_PRETRAIN) for run in group.runs]
        went_on = all(evaluated(run.lines, ADVERSARIAL) for run in group.runs)
        if not went_on or not all(begins):
            continue
        lines = [each[-1] for each in begins]
        place = {
            (run.hparams.seed, round(line["nll_test"], 3))
            for run, line in zip(group.runs, lines, strict=True)
        }
        if any(place <= other for other, _ in found):
            continue
        name = start_name(group.runs[0].hparams.method)
        words = "stopped early" if _is_early(group) else f"{UNITS[G_PRETRAIN]} {lines[0]['epoch']}"
        found.append((place, _entry(f"start: {name}, {words}", group.runs, lines, reference=False)))
    return [entry for _, entry in found]


def _is_early(group: Group) -> bool:
    """Whether pre-training ended before its last epoch."""
    return any(
        evaluated(run.lines, ADVERSARIAL)
        and epochs_of(run) < run.hparams.schedule.g_pretrain_epochs
        for run in group.runs
    )


def _pretraining(run: Run) -> _Key:
    hparams = run.hparams
    schedule, training = hparams.schedule, hparams.training
    settings = (
        hparams.model, schedule.batch_size, schedule.g_pretrain_epochs, schedule.g_patience,
        training.mle_learning_rate, training.mle_dropout_rate, training.mle_weight_decay,
        training.g_clip_norm,
    )  # fmt: skip
    return hparams.seed, repr(settings)


def _swept(part: Part) -> dict[_Key, list[Point]]:
    """Of each seed the curve of maximum likelihood over temperatures, the sharpest first."""
    found: dict[_Key, list[Point]] = {}
    for group in part.groups:
        for run in group.runs:
            sweep = run.evaluation.sweep if run.evaluation is not None else None
            if sweep is not None and MLE in sweep.curves:
                # Of two places of one NLL_test, that of lower NLL_oracle is to be met first.
                curve = sorted(sweep.curves[MLE], key=lambda point: point.temperature)
                found.setdefault(_pretraining(run), curve)
    return found


def _comparison(part: Part, starts: list[_Entry], ends: list[_Entry]) -> Grid:
    tested, keys = _keys(part)
    keys = [key for key in keys if any(key in entry.values for entry in ends)]
    reference = [entry for entry in ends if entry.is_reference]
    swept = _swept(part) if tested is _ON_ORACLE else {}
    head = ["", "runs", *(_title(key) for key in keys)]
    if swept:
        head += ["swept MLE", "below swept MLE ↑"]
    if len(reference) == 1:
        head += [f"p, {_title(key).split(' ')[0]}" for key in tested]
    rows = []
    for entry in [*starts, *ends]:
        row = [entry.label, str(len(entry.seeds))]
        row += [_mean(entry.values.get(key, [])) for key in keys]
        if swept:  # of which a start is a part
            row += _against(entry, swept) if entry in ends else ["", ""]
        if len(reference) == 1:
            row += [_p(entry, reference[0], key) for key in tested]
        rows.append(row)
    if tested is _ON_REAL:
        real = [ends[0].values.get(f"{key}_real", [])[:1] for key in keys]
        words = [f"{each[0]:.3f}" if each else "" for each in real]
        rows.insert(0, ["real, training", "", *words, *[""] * (len(head) - 2 - len(keys))])
    blank = [""] * (len(head) - 3)
    for title, key in (("real data (floor)", "nll_oracle_floor"),
                       ("uniform tokens (ceiling)", "nll_oracle_ceiling")):  # fmt: skip
        if tested is _ON_ORACLE and ends[0].values.get(key):
            place = 0 if key.endswith("floor") else len(rows)
            rows.insert(place, [title, "", f"{ends[0].values[key][0]:.3f}", *blank])
    return Grid("Methods", head, rows, _notes(part, tested, len(reference) == 1, bool(swept)))


def _title(key: str) -> str:
    return _TITLES.get(key) or BY_KEY[key].head


def _mean(values: Sequence[float]) -> str:
    if not values:
        return _ABSENT
    half = interval(values)
    return f"{np.mean(values):.3f}" + ("" if half is None else f" ± {half:.3f}")


def _p(entry: _Entry, reference: _Entry, key: str) -> str:
    if entry is reference:
        return _ABSENT
    p = welch(entry.values.get(key, []), reference.values.get(key, []))
    return _ABSENT if p is None else f"{p:.2g}"


def _against(entry: _Entry, swept: dict[_Key, list[Point]]) -> list[str]:
    """NLL_oracle of maximum likelihood where its NLL_test is the run's, and the difference."""
    theirs, gains, reasons = [], [], []
    for key, own, at in zip(
        entry.pretraining, entry.values["nll_oracle"], entry.values["nll_test"], strict=True
    ):
        if key not in swept:
            reasons.append("not swept")
            continue
        curve = swept[key]
        lowest = min(curve, key=lambda point: point.metrics["nll_test"]).metrics
        # The lowest lies between two temperatures tried, and a start's is of other sequences.
        if lowest["nll_test"] - _TOLERANCE < at < lowest["nll_test"]:
            found: float | None = lowest["nll_oracle"]
        else:
            found = crossing(curve, ("nll_oracle", "nll_test"), at)
        if found is None:
            reasons.append("never so low" if at < lowest["nll_test"] else "outside the sweep")
            continue
        theirs.append(found)
        gains.append(found - own)
    if not reasons:
        return [_mean(theirs), _mean(gains)]
    # A mean of those seeds alone that have stayed near would flatter.
    some = f" ({len(reasons)} of {len(entry.seeds)})" if theirs else ""
    return [reasons[0] + some, _ABSENT]


def _notes(part: Part, tested: tuple[str, str], is_tested: bool, is_swept: bool) -> list[str]:
    number = part.groups[0].runs[0].hparams.evaluation.eval_samples
    notes = [
        f"Of each run's last evaluated line of metrics.jsonl, at most {number:,} samples; mean ± "
        "half of its 95 % interval over runs (seeds), by Student's t."
    ]
    if tested is _ON_REAL:
        notes.append(
            "Read BLEU and self-BLEU beside each other, and both against real training data, which "
            "a perfect generator would resemble: neither is better for being lower or higher alone."
        )
    if is_tested:
        notes.append(
            "p: Welch's t-test against SeqGAN, two-sided, not corrected for the number of tests. "
            "Runs of one seed share their data and their start, of which the test knows nothing."
        )
    if is_swept:
        notes.append(
            "Swept MLE: the NLL_oracle of the same seed's generator of maximum likelihood, drawn "
            "at the temperature that gives it the run's NLL_test (interpolated). A method is worth "
            "its training where it lies below that; a negative difference says that sharpening "
            "alone does better. Outside the sweep, never so low: at none of the temperatures tried "
            "has it so high, or so low, an NLL_test."
        )
    if any(map(_is_early, part.groups)):
        notes.append(
            "Stopped early: at the lowest NLL_test of the held-out sequences that NLL_test is "
            "reported of. That start is maximum likelihood at its best; what is called continued "
            "goes on from it for as many updates as the others make."
        )
    if any(not run.finished for group in part.groups for run in group.runs):
        notes.append("Some runs are not finished: their rows are of where they are.")
    return notes
