"""What training was worth: each method against its start, and against its start drawn sharper.

A figure alone favours whoever sharpens most. So beside each run stands what maximum likelihood has
at whatever temperature gives it the run's NLL_test.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.interpolate

from seqgan_jax.reporting.entries import Entry, start_of
from seqgan_jax.reporting.grid import ABSENT, Grid, mean_cell
from seqgan_jax.reporting.groups import Part
from seqgan_jax.reporting.reading import Line, Metrics, Point, Run
from seqgan_jax.reporting.sweep_output import crossing, reverse_kl
from seqgan_jax.reporting.table import MLE, evaluated, start_name
from seqgan_jax.training.plan import ADVERSARIAL

_TOLERANCE = 1e-3  # nats per token
_FINE = 1000  # temperatures between those tried, to interpolate at
_Key = tuple[int, str]  # a seed, and all else that pre-training depends on
_Curves = dict[_Key, list[Metrics]]


class _Gap(NamedTuple):
    """A run against maximum likelihood of its NLL_test; nats per token."""

    nll: float  # NLL_oracle of maximum likelihood
    gain: float  # how far the run's lies below
    kl_gain: float  # likewise, of KL(G || oracle)


def make(part: Part, starts: Sequence[Entry], ends: Sequence[Entry]) -> Grid | None:
    """A row a method, at its last round and, where another was worth more than none, at its best;
    before them those starts that are not maximum likelihood's.

    None where no curve of maximum likelihood over temperatures is there.
    """
    curves = _swept(part)
    if not curves:
        return None
    rows = []
    for entry in starts:
        if start_name(entry.runs[0].hparams.method) != MLE:
            begins = [line for run in entry.runs if (line := start_of(run)) is not None]
            rows.append([entry.label, "0", *_cells(entry.runs, begins, curves)])
    for entry in ends:
        rounds = _rounds(entry.runs)
        if not rounds:
            continue
        for number in dict.fromkeys((max(rounds), _best(entry.runs, rounds, curves))):
            rows.append([entry.label, str(number), *_cells(entry.runs, rounds[number], curves)])
    head = ["", "round", "NLL_oracle, from start ↓", "NLL_test, from start ↓", "swept MLE",
            "below swept MLE ↑", "KL below swept MLE ↑"]  # fmt: skip
    notes = [
        "From start: the difference from the same run's generator before the rounds, its mean ± "
        "half of its 95 % interval over runs. Swept MLE: the NLL_oracle of the same seed's "
        "generator of maximum likelihood, drawn at the temperature that gives it the run's "
        "NLL_test, the lower one of two (interpolated). A method is worth its training where it "
        "lies below that; a negative difference says that sharpening alone does better.",
        "KL: KL(G || oracle) in place of NLL_oracle, at the same temperature. NLL_oracle and "
        "NLL_test together can still be fooled, by a generator that mostly says a few likely "
        "things and is broad in the rest; its KL tells.",
        "A second row is of the round at which the method lies lowest below swept MLE, where it "
        "does at any; chosen by these very figures, it flatters.",
        "Outside the sweep, never so low: at none of the temperatures tried has it so high, or so "
        "low, an NLL_test.",
    ]
    return Grid("Against maximum likelihood at another temperature", head, rows, notes)


def _rounds(runs: Sequence[Run]) -> dict[int, list[Line]]:
    """The lines of the rounds at which all runs were evaluated."""
    of_each = [{line["round"]: line for line in evaluated(run.lines, ADVERSARIAL)} for run in runs]
    common = set.intersection(*(set(lines) for lines in of_each))
    return {number: [lines[number] for lines in of_each] for number in sorted(common)}


def _best(runs: Sequence[Run], rounds: dict[int, list[Line]], curves: _Curves) -> int:
    """The round of the largest mean gain; the last where there is none above 0."""

    def gain(number: int) -> float:
        found = _compared(runs, rounds[number], curves)
        return -np.inf if isinstance(found, str) else float(np.mean([gap.gain for gap in found]))

    best = max(reversed(rounds), key=gain)
    return best if gain(best) > 0.0 else max(rounds)


def _cells(runs: Sequence[Run], lines: Sequence[Line], curves: _Curves) -> list[str]:
    moved = [_moved(runs, lines, key) for key in ("nll_oracle", "nll_test")]
    found = _compared(runs, lines, curves)
    if isinstance(found, str):
        return [*moved, found, ABSENT, ABSENT]
    return [*moved, *(mean_cell([gap[i] for gap in found], sign=i > 0) for i in range(3))]


def _moved(runs: Sequence[Run], lines: Sequence[Line], key: str) -> str:
    pairs = [(start_of(run), line) for run, line in zip(runs, lines, strict=True)]
    found = [line[key] - start[key] for start, line in pairs if start is not None]
    return mean_cell(found, sign=True) if len(found) == len(runs) else ABSENT


def _compared(runs: Sequence[Run], lines: Sequence[Line], curves: _Curves) -> list[_Gap] | str:
    """One a run, or why there are none: a mean of those that have stayed near would flatter."""
    found = [_gap(run, line, curves) for run, line in zip(runs, lines, strict=True)]
    gaps = [each for each in found if not isinstance(each, str)]
    reasons = [each for each in found if isinstance(each, str)]
    if not reasons:
        return gaps
    return reasons[0] + (f" ({len(reasons)} of {len(runs)})" if gaps else "")


def _gap(run: Run, line: Line, curves: _Curves) -> _Gap | str:
    curve = curves.get(_pretraining(run))
    if curve is None:
        return "not swept"
    at, lowest = line["nll_test"], min(curve, key=lambda metrics: metrics["nll_test"])
    # The lowest lies between two temperatures tried, and a start's is of other sequences.
    if lowest["nll_test"] - _TOLERANCE < at < lowest["nll_test"]:
        return _gap_to(lowest["nll_oracle"], lowest["reverse_kl"], line)
    points = [Point(0.0, metrics) for metrics in curve]
    nll, kl = (crossing(points, (key, "nll_test"), at) for key in ("nll_oracle", "reverse_kl"))
    if nll is None or kl is None:
        return "never so low" if at < lowest["nll_test"] else "outside the sweep"
    return _gap_to(nll, kl, line)


def _gap_to(nll: float, kl: float, line: Line) -> _Gap:
    return _Gap(nll, nll - line["nll_oracle"], kl - reverse_kl(line))


def _pretraining(run: Run) -> _Key:
    hparams = run.hparams
    schedule, training = hparams.schedule, hparams.training
    settings = (
        hparams.model, schedule.batch_size, schedule.g_pretrain_epochs, schedule.g_patience,
        training.mle_learning_rate, training.mle_dropout_rate, training.mle_weight_decay,
        training.g_clip_norm,
    )  # fmt: skip
    return hparams.seed, repr(settings)


def _swept(part: Part) -> _Curves:
    """Of each seed the curve of maximum likelihood over temperatures, the sharpest first."""
    found: _Curves = {}
    for group in part.groups:
        if start_name(group.runs[0].hparams.method) != MLE:
            continue
        for run in group.runs:
            sweep = run.evaluation.sweep if run.evaluation is not None else None
            if sweep is not None and MLE in sweep.curves and "nll_oracle" in sweep.real:
                found.setdefault(_pretraining(run), _smooth(sweep.curves[MLE]))
    return found


def _smooth(points: Sequence[Point]) -> list[Metrics]:
    """A curve over temperatures, the sharpest first, each metric smooth in the log of these.

    NLL_oracle is convex in NLL_test: chords between few points would lie above it, and flatter
    what is compared with them. Of two places of one NLL_test, the sharper is met first.
    """
    points = sorted(points, key=lambda point: point.temperature)
    metrics = [{**point.metrics, "reverse_kl": reverse_kl(point.metrics)} for point in points]
    if len(points) < 2:
        return metrics
    at = np.log([point.temperature for point in points])
    between = np.union1d(at, np.linspace(at[0], at[-1], _FINE))
    smooth = {
        key: scipy.interpolate.PchipInterpolator(at, [each[key] for each in metrics])(between)
        for key in ("nll_test", "nll_oracle", "reverse_kl")
    }
    return [{key: float(smooth[key][i]) for key in smooth} for i in range(len(between))]
