"""Where methods go from their start, beside maximum likelihood drawn at other temperatures."""

from __future__ import annotations

from typing import NamedTuple

import matplotlib.axes
import numpy as np

from seqgan_jax.reporting import style
from seqgan_jax.reporting.comparisons import sweep_points
from seqgan_jax.reporting.curves import together
from seqgan_jax.reporting.groups import Group, Part
from seqgan_jax.reporting.style import Picture
from seqgan_jax.reporting.table import MLE, group_label, start_name
from seqgan_jax.training import rendering

_NEAR = 0.4  # nats per token of NLL_test: what the lower panels show of each side of the starts
_KEYS = ("nll_test", "nll_oracle", "entropy")


class _Course(NamedTuple):
    """Means over runs at the start and at each evaluated round, or at each temperature."""

    label: str
    nll_test: np.ndarray
    nll_oracle: np.ndarray
    reverse_kl: np.ndarray
    temperatures: list[float]  # none of a method


def picture(part: Part, suffix: str = "") -> list[Picture]:
    """One, of several methods on one oracle; none of one method, or of real data."""
    if len({group.runs[0].hparams.method for group in part.groups}) < 2:
        return []
    courses = [(index, found) for index, group in enumerate(part.groups) if (found := _of(group))]
    if len(courses) < 2:
        return []
    swept = next((found for group in part.groups if (found := _swept(group))), None)
    figure = style.new_figure(6.4)
    grid = figure.subplots(2, 2)
    for row, near in enumerate((False, True)):
        for axes, name in zip(grid[row], ("nll_oracle", "reverse_kl"), strict=True):
            for index, course in courses:
                _draw(axes, course, name, index)
            if swept is not None:
                _draw_swept(axes, swept, name)
            _limit(axes, [course for _, course in courses], name, near)
            axes.set_ylabel("NLL_oracle" if name == "nll_oracle" else "KL(G || oracle)", fontsize=8)
            style.finish(axes)
    for axes in grid[1]:
        axes.set_xlabel("NLL_test", fontsize=8)
    style.legend(figure, grid[0, 0])
    beside = " Dashed: its start by maximum likelihood, drawn at the temperatures named." * (
        swept is not None
    )
    return [
        Picture(
            f"methods{suffix}.png", rendering.png(figure), "Methods from their start",
            "Each method's course from its start (the hollow end) to its last round (the large "
            "end), in nats per token; below: the same near the start. Lower is better in both "
            "directions of every panel." + beside + " Left, a method is worth its training where "
            "it gets below the dashed curve; right, the same of KL(G || oracle), which a generator "
            "that mostly repeats itself does not fool. Means over runs.",
            "NLL_oracle and KL(G || oracle) against NLL_test through the rounds of each method.",
        )
    ]  # fmt: skip


def _of(group: Group) -> _Course | None:
    found = [together(group, key) for key in _KEYS]
    places = [place for place in found[0] if place >= 0 and all(place in each for each in found)]
    if len(places) < 2 or places[0] != 0:  # without pre-training there is no start to draw from
        return None
    test, oracle, entropy = (np.array([each[place].mean for place in places]) for each in found)
    return _Course(group_label(group), test, oracle, oracle - entropy, [])


def _swept(group: Group) -> _Course | None:
    if start_name(group.runs[0].hparams.method) != MLE:
        return None
    pairs = sweep_points(group, MLE, ("nll_test", "nll_oracle"))
    beside = sweep_points(group, MLE, ("nll_test", "entropy"))
    temperatures = [temperature for temperature in pairs if temperature in beside]
    if not temperatures:
        return None
    test, oracle = (np.array([pairs[t][i].mean for t in temperatures]) for i in (0, 1))
    entropy = np.array([beside[t][1].mean for t in temperatures])
    return _Course("MLE at other temperatures", test, oracle, oracle - entropy, temperatures)


def _draw(axes: matplotlib.axes.Axes, course: _Course, name: str, index: int) -> None:
    look = style.look(index)
    x, y = course.nll_test, getattr(course, name)
    axes.plot(x, y, label=course.label, linewidth=1.2, markersize=3, **look)
    axes.plot(x[-1], y[-1], markersize=8, **look)
    axes.plot(x[0], y[0], markersize=6, **look | {"markerfacecolor": "white"})


def _draw_swept(axes: matplotlib.axes.Axes, swept: _Course, name: str) -> None:
    x, y = swept.nll_test, getattr(swept, name)
    axes.plot(x, y, "--", color="0.3", linewidth=1.4, marker="|", markersize=5, label=swept.label)
    for place, temperature in zip(zip(x, y, strict=True), swept.temperatures, strict=True):
        axes.annotate(
            f"{temperature:g}", place, xytext=(0, 5), textcoords="offset points",
            fontsize=6, color="0.3", ha="center", annotation_clip=True,
        )  # fmt: skip


def _limit(axes: matplotlib.axes.Axes, courses: list[_Course], name: str, near: bool) -> None:
    """Shows where the methods are, however far the temperatures go."""
    x = np.concatenate([course.nll_test for course in courses])
    y = np.concatenate([getattr(course, name) for course in courses])
    if near:
        starts = [course.nll_test[0] for course in courses]
        shown = (x >= min(starts) - _NEAR) & (x <= max(starts) + _NEAR)
        x, y = x[shown], y[shown]
    for values, limit in ((x, axes.set_xlim), (y, axes.set_ylim)):
        margin = 0.06 * float(np.ptp(values)) or 0.1
        limit(float(values.min()) - margin, float(values.max()) + margin)
