"""What all pictures share: a look for each group, legible in grey."""

from __future__ import annotations

from typing import Any, NamedTuple

import matplotlib.axes
import matplotlib.figure

# Okabe and Ito's colours, told apart by line and marker too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (3, 1.2, 1, 1.2)), (0, (1.5, 1)))
_MARKERS = "os^vDPX"

REAL_COLOUR = "0.25"
_LEAST_SHARE = 0.35  # of an axis that curves should span
WIDTH = 7.5  # inches: a page's


class Picture(NamedTuple):
    """One PNG file and what stands beneath it."""

    name: str  # of the file
    png: bytes
    title: str
    caption: str
    alternative: str  # in words, for those who do not see it


def look(index: int) -> dict[str, Any]:
    """Colour, line and marker of the group with this number."""
    turn = index // len(_COLOURS)
    return {
        "color": _COLOURS[index % len(_COLOURS)],
        # Beyond the colours markers and lines go on in another turn, so that no two are the same.
        "marker": _MARKERS[(index + turn) % len(_MARKERS)],
        "linestyle": _LINES[(index + 2 * turn) % len(_LINES)],
    }


def new_figure(height: float) -> matplotlib.figure.Figure:
    """A figure as wide as a page, its parts kept apart."""
    return matplotlib.figure.Figure(figsize=(WIDTH, height), layout="constrained")


def far_off(low: float, high: float, value: float) -> bool:
    """Whether one value would press curves from `low` to `high` into a corner of their axis."""
    return high - low < _LEAST_SHARE * (max(high, value) - min(low, value))


def finish(axes: matplotlib.axes.Axes) -> None:
    """Thin grid and frame, small figures."""
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def legend(figure: matplotlib.figure.Figure, axes: matplotlib.axes.Axes, columns: int = 3) -> None:
    """One legend beneath all axes, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", fontsize=8, ncols=columns, frameon=False,
        handlelength=3.0,
    )  # fmt: skip
