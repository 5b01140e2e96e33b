"""A table of words, before it is set in Markdown, HTML or for the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seqgan_jax.reporting.statistics import interval

ABSENT = "-"


class Grid(NamedTuple):
    """A table of words; the first column names the rows."""

    title: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str]


def mean_cell(values: Sequence[float], *, sign: bool = False) -> str:
    """A mean ± half of its 95 % interval; with its sign where it is a difference."""
    if not values:
        return ABSENT
    half = interval(values)
    mean = f"{np.mean(values):{'+' if sign else ''}.3f}"
    return mean + ("" if half is None else f" ± {half:.3f}")
