"""First samples of each group as people read them, real ones beside them."""

from __future__ import annotations

from typing import NamedTuple

from seqgan_jax.data.dataset import Codec
from seqgan_jax.reporting.groups import Group, Part
from seqgan_jax.reporting.reading import Run
from seqgan_jax.reporting.style import Picture

_SHOWN = 8  # sequences of each


class Exhibit(NamedTuple):
    """Sequences of one origin."""

    title: str
    samples: list[str]  # each perhaps of several lines
    roll: Picture | None  # melodies drawn


def make(part: Part, suffix: str = "") -> list[Exhibit]:
    """Real, held-out sequences where the folders keep them, then the first of each samples.txt."""
    return _real(part.groups[0].runs[0]) + [
        exhibit
        for number, group in enumerate(part.groups, 1)
        for exhibit in _drawn(group, f"piano_roll{suffix}-{number}.png")
    ]


def _real(run: Run) -> list[Exhibit]:
    if run.test is None or run.codec is None:
        return []
    number = len(run.test.tokens)
    # From all over: windows of one melody, or lines of one author, stand side by side.
    chosen = (
        [number * index // _SHOWN for index in range(_SHOWN)] if number > _SHOWN else range(number)
    )
    samples = [
        run.codec.layout(run.test.tokens[row][run.test.mask[row]].tolist()) for row in chosen
    ]
    return [Exhibit(f"real, held out: {len(samples)} of {number:,}, evenly spaced", samples, None)]


def _drawn(group: Group, file: str) -> list[Exhibit]:
    """Of the group's first run that is done."""
    for run in group.runs:
        if not run.samples:
            continue
        samples = [_laid_out(line, run.codec) for line in run.samples[:_SHOWN]]
        title = f"{group.name}: the first {len(samples)} samples of {run.name}, not chosen"
        return [Exhibit(title, samples, _roll(run, file))]
    return []


def _laid_out(line: str, codec: Codec | None) -> str:
    return line if codec is None else codec.layout(codec.encode(line))


def _roll(run: Run, file: str) -> Picture | None:
    if run.piano_rolls is None:
        return None
    caption = f"{run.name}: its first samples as piano rolls."
    words = f"Piano rolls of the first samples of {run.name}: pitch against time."
    return Picture(file, run.piano_rolls, "Piano rolls", caption, words)
