"""A table of words, before it is set in Markdown, HTML or for the screen."""

from __future__ import annotations

from typing import NamedTuple


class Grid(NamedTuple):
    """A table of words; the first column names the rows."""

    title: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str]
