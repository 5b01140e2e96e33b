"""A sweep as table, picture and JSON."""

from __future__ import annotations

import itertools
import os
import re
from typing import Any, NamedTuple

import matplotlib.axes
import matplotlib.figure
import rich.table

from seqgan_jax.atomic import write_atomically, write_json
from seqgan_jax.checked import ConfigError
from seqgan_jax.reporting import style
from seqgan_jax.reporting.columns import BY_KEY, LOWER
from seqgan_jax.reporting.reading import Metrics, Point
from seqgan_jax.reporting.table import REAL
from seqgan_jax.training import rendering

PICTURE = "quality_diversity.png"  # of one run, in its folder
_ALL_PICTURE, _ALL_VALUES = "sweep.png", "sweep.json"  # of all runs together
CONTROL = "mixture"  # the name of the control in table and picture
_NAMED_ENDS = 6  # curves at most whose ends are told by their temperatures


class Swept(NamedTuple):
    """Curves of generators on one set of data."""

    axes: tuple[str, str]  # the metrics of diversity and of quality
    real: Metrics  # of an oracle's held-out data, or of real training data
    curves: dict[str, list[Point]]


def reverse_kl(metrics: Metrics) -> float:
    """KL(G || oracle) per token: NLL_oracle less the generator's own entropy."""
    return metrics["nll_oracle"] - metrics["entropy"]


def crossing(points: list[Point], axes: tuple[str, str], quality: float) -> float | None:
    """Diversity where a curve crosses a quality, interpolated; None where it does not."""
    x, y = axes
    for one, other in itertools.pairwise(point.metrics for point in points):
        low, high = sorted((one[y], other[y]))
        if low <= quality <= high and low < high:
            share = (quality - one[y]) / (other[y] - one[y])
            return one[x] + share * (other[x] - one[x])
    return None


def table(swept: Swept, quality: float | None) -> rich.table.Table:
    """Every point; below each curve, its diversity at the quality asked for, if one is."""
    x, y = swept.axes
    on_oracle = "nll_oracle" in swept.real
    points = [point.metrics for curve in swept.curves.values() for point in curve]
    keys = [y, x, *(k for k in BY_KEY if k not in (x, y) and any(k in each for each in points))]
    words = "; a mixture's temperature is its sharp share" if on_oracle else ""
    result = rich.table.Table(title=f"likelihoods in nats per token{words}")
    result.add_column("generator")
    heads = ["temperature", *(BY_KEY[key].head for key in keys)]
    for head in heads + (["KL(oracle||G) ↓", "KL(G||oracle) ↓"] if on_oracle else []):
        result.add_column(head, justify="right")

    def row(name: str, temperature: str, metrics: Metrics) -> None:
        forms = ((metrics.get(key), BY_KEY[key].digits) for key in keys)
        cells = ["-" if value is None else f"{value:,.{digits}f}" for value, digits in forms]
        if on_oracle and "entropy" in metrics:
            distances = metrics["nll_test"] - swept.real["nll_oracle"], reverse_kl(metrics)
            cells += [f"{value:.3f}" for value in distances]
        result.add_row(name, temperature, *cells)

    row(_real_name(swept), "-", swept.real)
    for name, curve in swept.curves.items():
        result.add_section()
        for point in curve:
            row(name, f"{point.temperature:g}", point.metrics)
        if quality is not None:
            found = crossing(curve, swept.axes, quality)
            words = "not crossed" if found is None else f"{found:.3f}"
            result.add_row(name, "interpolated", f"{quality:.3f}", words)
    return result


def as_json(swept: Swept) -> dict[str, Any]:
    """As evaluation.json and sweep.json hold it."""

    def values(metrics: Metrics) -> Metrics:
        kl = {"reverse_kl": reverse_kl(metrics)} if "nll_oracle" in metrics else {}
        return metrics | kl

    curves = [
        {
            "name": name,
            "points": [
                {"temperature": point.temperature, "metrics": values(point.metrics)}
                for point in curve
            ],
        }
        for name, curve in swept.curves.items()
    ]
    x, y = swept.axes
    return {"variable": "temperature", "x": x, "y": y, "real": swept.real, "curves": curves}


def write(swept: Swept, folder: str) -> None:
    """Writes sweep.json, every point of every curve, and sweep.png.

    Raises:
      ConfigError: the folder cannot be made or written.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        write_json(os.path.join(folder, _ALL_VALUES), as_json(swept))
        _save(swept, os.path.join(folder, _ALL_PICTURE))
    except OSError as error:
        raise ConfigError(f"--out={folder}: cannot be written ({error.strerror})") from error


def draw(swept: Swept, folder: str) -> None:
    """Draws quality_diversity.png into a run's folder.

    Raises:
      ConfigError: it cannot be written.
    """
    path = os.path.join(folder, PICTURE)
    try:
        _save(swept, path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error


def _save(swept: Swept, path: str) -> None:
    write_atomically(path, rendering.png(figure(swept)))


def figure(swept: Swept) -> matplotlib.figure.Figure:
    """Quality against diversity; where real data lie far off, the curves once more from nearby."""
    x, y = (BY_KEY[key] for key in swept.axes)
    lower_is_better = y.better == LOWER
    unit = ", nats per token" if lower_is_better else ""
    far = _is_far(swept)
    result = style.new_figure(4.6)
    panels = result.subplots(1, 1 + far, squeeze=False)[0]
    for index, axes in enumerate(panels):
        _draw_curves(axes, swept, told=axes is panels[-1])
        if index == 0:
            _draw_real(axes, swept)
        axes.margins(0.1)
        axes.set_title(("with real data", "from nearby")[index] if far else "", fontsize=9)
        axes.set_xlabel(f"{x.title}{unit} (lower: more diverse)", fontsize=9)
        style.finish(axes)
    way = "lower" if lower_is_better else "higher"
    panels[0].set_ylabel(f"{y.title}{unit} ({way}: better)", fontsize=9)
    corner = "down" if lower_is_better else "up"
    result.suptitle(
        f"{corner} and to the left is better; large: temperature 1, small figures: temperatures",
        fontsize=10,
    )
    style.legend(result, panels[0])
    return result


def _is_far(swept: Swept) -> bool:
    """Whether real data would press the curves into a corner."""
    for key in swept.axes:
        values = [p.metrics[key] for curve in swept.curves.values() for p in curve]
        if style.far_off(min(values), max(values), swept.real[key]):
            return True
    return False


def _draw_curves(axes: matplotlib.axes.Axes, swept: Swept, told: bool) -> None:
    """Runs named alike but for a number share a look; `told` by the temperatures of their ends."""
    x, y = swept.axes
    groups = list(dict.fromkeys(map(_group, swept.curves)))
    labelled = set()
    for name, curve in swept.curves.items():
        group = _group(name)
        look = style.look(groups.index(group))
        places = [(point.metrics[x], point.metrics[y]) for point in curve]
        label = group if group not in labelled else None
        labelled.add(group)
        axes.plot(*zip(*places, strict=True), linewidth=1, markersize=4, label=label, **look)
        # Beside the line: above it to the left where it rises, to the right where it falls.
        rises = (places[-1][1] - places[0][1]) * (places[-1][0] - places[0][0]) > 0.0
        for point, place in zip(curve, places, strict=True):
            if point.temperature == 1.0:
                axes.plot(*place, markersize=9, **look)
            is_end = point in (curve[0], curve[-1]) and name != CONTROL
            if told and is_end and len(swept.curves) <= _NAMED_ENDS:
                axes.annotate(
                    f"{point.temperature:g}", place, (-5 if rises else 5, 4),
                    textcoords="offset points", ha="right" if rises else "left",
                    fontsize=7, color=look["color"],
                )  # fmt: skip


def _draw_real(axes: matplotlib.axes.Axes, swept: Swept) -> None:
    x, y = swept.axes
    on_oracle = "nll_oracle" in swept.real
    axes.plot(
        swept.real[x], swept.real[y], "*", color=style.REAL_COLOUR, markersize=13,
        linestyle="none", label="the oracle itself" if on_oracle else _real_name(swept),
    )  # fmt: skip


def _group(name: str) -> str:
    """A curve's name without its run's last number."""
    return re.sub(r"[-_]\d+(?= |$)", "", name)


def _real_name(swept: Swept) -> str:
    return REAL["test" if "nll_oracle" in swept.real else "train"]
