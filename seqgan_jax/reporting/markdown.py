"""A report as Markdown, with links to its pictures."""

from __future__ import annotations

import re

from seqgan_jax.reporting import table
from seqgan_jax.reporting.content import TITLE, Section
from seqgan_jax.reporting.gallery import Exhibit
from seqgan_jax.reporting.grid import Grid
from seqgan_jax.reporting.style import Picture


def render(sections: list[Section]) -> str:
    """The whole of report.md."""
    blocks = [f"# {TITLE}"]
    for section in sections:
        blocks += _section(section)
    return "\n\n".join(blocks) + "\n"


def _section(section: Section) -> list[str]:
    groups = []
    for described in section.head:
        words = [
            f"{label}: {_escaped(text)}" for label, text in described.items() if label != "name"
        ]
        groups.append(f"- **{_escaped(described['name'])}**: {'; '.join(words)}")
    together = [
        f"**{words.partition(':')[0]}:**{words.partition(':')[2]}" for words in section.together
    ]
    return [
        f"## Data: {_escaped(section.title)}",
        "\n".join(groups),
        *(block for grid in section.grids for block in _grid(grid)),
        "### All models",
        "\n".join(table.markdown(section.table)),
        "\n".join(f"- {_escaped(note)}" for note in section.notes),
        *together,
        "\n".join(f"- **{head}**: {meaning}" for head, meaning in section.legend),
        *(block for picture in section.pictures for block in _picture(picture)),
        "### Samples",
        *(block for exhibit in section.exhibits for block in _exhibit(exhibit)),
    ]


def _grid(grid: Grid) -> list[str]:
    lines = [grid.head, ["---", *["---:"] * (len(grid.head) - 1)], *grid.rows]
    return [
        f"### {grid.title}",
        "\n".join(f"| {' | '.join(map(_in_cell, line))} |" for line in lines),
        "\n".join(f"- {_escaped(note)}" for note in grid.notes),
    ]


def _in_cell(text: str) -> str:
    return text.replace("|", "\\|")


def _picture(picture: Picture) -> list[str]:
    return [
        f"### {picture.title}",
        f"![{_escaped(picture.alternative)}]({picture.name})",
        _escaped(picture.caption),
    ]


def _exhibit(exhibit: Exhibit) -> list[str]:
    text = ("\n\n" if any("\n" in each for each in exhibit.samples) else "\n").join(exhibit.samples)
    # A fence longer than any that a sample could hold.
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`{2,}", text)), default=2))
    roll = [] if exhibit.roll is None else _picture(exhibit.roll)[1:]
    return [f"**{_escaped(exhibit.title)}**", f"{fence}text\n{text}\n{fence}", *roll]


def _escaped(text: str) -> str:
    """Text in which Markdown sees no marks of its own."""
    return re.sub(r"([\\`*\[\]<>|])|(?<!\w)_|_(?!\w)", lambda found: f"\\{found[0]}", text)
