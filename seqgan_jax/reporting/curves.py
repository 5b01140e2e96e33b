"""Learning curves: mean and spread over the runs of each group."""

from __future__ import annotations

import matplotlib.axes
import matplotlib.ticker
import numpy as np

from seqgan_jax.reporting import style
from seqgan_jax.reporting.columns import BY_KEY
from seqgan_jax.reporting.groups import Group, Part, Spread, spread
from seqgan_jax.reporting.reading import Run
from seqgan_jax.reporting.style import Picture
from seqgan_jax.reporting.table import evaluated
from seqgan_jax.training import rendering
from seqgan_jax.training.plan import ADVERSARIAL, G_PRETRAIN

_LIKELIHOODS = (("nll_oracle",), ("nll_test",), ("entropy",))
_BLEUS = tuple((f"bleu_{n}", f"self_bleu_{n}") for n in (2, 3, 4, 5))
# The oracle's own samples: their NLL under it is its entropy, too, and no model of them has less.
_FLOOR = "nll_oracle_floor"


def pictures(part: Part, suffix: str = "") -> list[Picture]:
    """Likelihoods, and BLEU beside self-BLEU, as far as the runs have measured them."""
    several = any(len(group.runs) > 1 for group in part.groups)
    band = " Bands: one standard deviation over runs to either side of their mean." * several
    unfinished = any(not run.finished for run in _runs(part))
    late = " Thin lines: single runs, where others of their group have not yet been." * (
        unfinished and several
    )
    on_oracle = any("nll_oracle" in line for run in _runs(part) for line in run.lines)
    ends = " The vertical line: the end of maximum likelihood." + band + late
    return [
        *_picture(
            part, _LIKELIHOODS, f"likelihoods{suffix}.png", "Learning curves: likelihoods",
            ("NLL_oracle is quality, NLL_test is diversity. " if on_oracle else "")
            + "Read all panels together: an entropy that falls away from NLL_test is collapse."
            + ends,
        ),
        *_picture(
            part, _BLEUS, f"bleu{suffix}.png", "Learning curves: BLEU beside self-BLEU",
            "BLEU is quality; self-BLEU far above real data is lack of variety. Dotted: of real "
            "training data, which a perfect generator would resemble." + ends,
        ),
    ]  # fmt: skip


def epochs_of(run: Run) -> int:
    """Epochs of maximum likelihood: those planned, or, once it has ended early, those made."""
    if any(line["phase"] != G_PRETRAIN for line in run.lines) or run.finished:
        return max((line["epoch"] for line in run.lines if line["phase"] == G_PRETRAIN), default=0)
    return run.hparams.schedule.g_pretrain_epochs


def course(run: Run, key: str) -> dict[int, float]:
    """A metric over training, at epochs before the end of maximum likelihood (-1, 0), then rounds.

    Returns:
      Place -> value, in order.
    """
    epochs = epochs_of(run)
    pretrain = {line["epoch"] - epochs: line for line in evaluated(run.lines, G_PRETRAIN)}
    rounds = {line["round"]: line for line in evaluated(run.lines, ADVERSARIAL)}
    return {place: line[key] for place, line in (pretrain | rounds).items() if key in line}


def together(group: Group, key: str) -> dict[int, Spread]:
    """Place -> mean and spread, where all runs of the group have been: no mean of other runs."""
    courses = [course(run, key) for run in group.runs]
    return {
        place: spread(each[place] for each in courses)
        for place in courses[0]
        if all(place in each for each in courses)
    }


def real_level(part: Part, key: str) -> float | None:
    """What real data have; of likelihoods the oracle's own, where there is one."""
    for group in part.groups:
        for line in reversed(group.runs[0].lines):
            for name in (
                f"{key}_real",
                f"{key}_heldout",
                *([_FLOOR] if (key,) in _LIKELIHOODS else []),
            ):
                if name in line:
                    return float(line[name])
    return None


def _picture(
    part: Part, panels: tuple[tuple[str, ...], ...], file: str, title: str, caption: str
) -> list[Picture]:
    shown = [row for row in panels if any(course(run, key) for run in _runs(part) for key in row)]
    if not shown:
        return []
    rows, columns = len(shown), len(shown[0])
    figure = style.new_figure(1.0 + (2.1 if columns == 1 else 1.75) * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey="row", squeeze=False)
    for axes, key in zip(grid.flat, (key for row in shown for key in row), strict=True):
        _draw(axes, part, key)
        axes.set_title(BY_KEY[key].head, fontsize=9, loc="left")
    for axes in grid[:, 0]:
        axes.set_ylabel("nats per token" if columns == 1 else "score, 0 to 1", fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel(_x_label(part, "\n" if columns > 1 else " "), fontsize=8)
    style.legend(figure, grid.flat[0])
    names = ", ".join(BY_KEY[key].title for row in shown for key in row)
    groups = ", ".join(group.name for group in part.groups)
    return [
        Picture(file, rendering.png(figure), title, caption, f"{names} over training: {groups}.")
    ]


def _draw(axes: matplotlib.axes.Axes, part: Part, key: str) -> None:
    for index, group in enumerate(part.groups):
        found = together(group, key)
        x = np.array([place + _epochs(part) for place in found])
        mean = np.array([each.mean for each in found.values()])
        deviation = np.array([each.deviation or 0.0 for each in found.values()])
        look = style.look(index)
        every = max(1, len(x) // 12)  # markers apart, so that lines stay lines
        axes.plot(x, mean, label=group.name, linewidth=1.4, markersize=3, markevery=every, **look)
        if deviation.any():
            axes.fill_between(
                x, mean - deviation, mean + deviation, color=look["color"], alpha=0.2, linewidth=0
            )
        for run in group.runs:
            rest = {
                place + _epochs(part): value
                for place, value in course(run, key).items()
                if not found or place >= max(found)
            }
            if len(rest) > (1 if found else 0):
                axes.plot(list(rest), list(rest.values()), color=look["color"], linewidth=0.7)
    level = real_level(part, key)
    if level is not None:
        words = "real data"
        axes.axhline(level, color=style.REAL_COLOUR, linewidth=1.2, dashes=(1, 1.5), label=words)
    axes.axvline(
        _epochs(part), color="0.55", linewidth=1.0, dashes=(6, 2), label="end of maximum likelihood"
    )
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(8, integer=True))
    style.finish(axes)


def _runs(part: Part) -> list[Run]:
    return [run for group in part.groups for run in group.runs]


def _epochs(part: Part) -> int:
    """Epochs of maximum likelihood where all runs have the same number; else 0, to start from."""
    found = {epochs_of(run) for run in _runs(part)}
    return found.pop() if len(found) == 1 else 0


def _x_label(part: Part, between: str) -> str:
    if _epochs(part):
        return f"epochs of maximum likelihood,{between}then adversarial rounds"
    return f"epochs until the end of maximum likelihood (0),{between}then adversarial rounds"
