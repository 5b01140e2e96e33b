"""A report as one HTML file that asks for no other."""

from __future__ import annotations

import base64
import html

from seqgan_jax.reporting import table
from seqgan_jax.reporting.content import TITLE, Section
from seqgan_jax.reporting.gallery import Exhibit
from seqgan_jax.reporting.grid import Grid
from seqgan_jax.reporting.style import Picture

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #111; background: #fff;
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.25; }
h2 { margin-top: 2.5rem; border-top: 2px solid #111; padding-top: 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.82rem; font-variant-numeric: tabular-nums;
  margin: 1rem 0; }
caption { text-align: left; font-weight: 600; padding: 0.3rem 0; }
th, td { padding: 0.25rem 0.7rem 0.25rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid #ccc; }
thead th { border-bottom: 1px solid #111; vertical-align: bottom; }
th:first-child { text-align: left; }
.head td, .head th { text-align: left; vertical-align: top; }
.head td:not(:nth-child(2)) { white-space: normal; }
dl { font-size: 0.88rem; } dt { font-weight: 600; } dd { margin: 0 0 0.3rem 1.2rem; }
figure { margin: 1.5rem 0; break-inside: avoid; }
img { max-width: 100%; height: auto; }
figcaption, .notes { font-size: 0.88rem; color: #333; }
.samples { padding-left: 1.8rem; font-size: 0.92rem; }
.samples li { white-space: pre-wrap; overflow-wrap: anywhere; margin-bottom: 0.4rem; }
@media print { body { font-size: 10pt; margin: 0; max-width: none; } table { font-size: 7.5pt; }
  .wide { overflow: visible; } h2, h3 { break-after: avoid; } }
"""

# What the page may load: the pictures inside it, and nothing from anywhere else.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def render(sections: list[Section]) -> str:
    """The whole of report.html."""
    body = "\n".join(map(_section, sections))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{TITLE}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{TITLE}</h1>\n{body}\n</body>\n</html>\n"
    )


def _section(section: Section) -> str:
    legend = "\n".join(
        f"<dt>{_escaped(head)}</dt><dd>{_escaped(meaning)}</dd>" for head, meaning in section.legend
    )
    return "\n".join([
        f"<h2>Data: {_escaped(section.title)}</h2>",
        _head(section.head),
        *map(_grid, section.grids),
        "<h3>All models</h3>",
        f'<div class="wide">\n{table.as_html(section.table)}\n</div>',
        _list("notes", section.notes),
        *(f"<p>{_escaped(words)}</p>" for words in section.together),
        f"<details open><summary>What the columns mean</summary>\n<dl>\n{legend}\n</dl></details>",
        *(f"<h3>{_escaped(each.title)}</h3>\n{_figure(each)}" for each in section.pictures),
        "<h3>Samples</h3>",
        *map(_exhibit, section.exhibits),
    ])  # fmt: skip


def _head(groups: list[dict[str, str]]) -> str:
    labels = [label for label in groups[0] if label != "name"]
    head = "".join(f'<th scope="col">{label}</th>' for label in labels)
    rows = "".join(
        f'<tr><th scope="row">{_escaped(group["name"])}</th>'
        + "".join(f"<td>{_escaped(group[label])}</td>" for label in labels)
        + "</tr>\n"
        for group in groups
    )
    return (
        f'<div class="wide"><table class="head">\n<thead><tr><th></th>{head}</tr></thead>\n'
        f"<tbody>\n{rows}</tbody></table></div>"
    )


def _grid(grid: Grid) -> str:
    head = "".join(f'<th scope="col">{_escaped(each)}</th>' for each in grid.head)
    rows = "".join(
        f'<tr><th scope="row">{_escaped(row[0])}</th>'
        + "".join(f"<td>{_escaped(each)}</td>" for each in row[1:])
        + "</tr>\n"
        for row in grid.rows
    )
    return (
        f'<h3>{_escaped(grid.title)}</h3>\n<div class="wide"><table>\n<thead><tr>{head}</tr>'
        f"</thead>\n<tbody>\n{rows}</tbody></table></div>\n{_list('notes', grid.notes)}"
    )


def _list(kind: str, items: list[str]) -> str:
    listed = "".join(f"<li>{_escaped(item)}</li>\n" for item in items)
    return f'<ul class="{kind}">\n{listed}</ul>'


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode()
    return (
        f'<figure><img alt="{_escaped(picture.alternative)}" src="data:image/png;base64,{data}">\n'
        f"<figcaption>{_escaped(picture.caption)}</figcaption></figure>"
    )


def _exhibit(exhibit: Exhibit) -> str:
    listed = "".join(f'<li dir="auto">{_escaped(sample)}</li>\n' for sample in exhibit.samples)
    roll = "" if exhibit.roll is None else f"\n{_figure(exhibit.roll)}"
    return f'<h4>{_escaped(exhibit.title)}</h4>\n<ol class="samples">\n{listed}</ol>{roll}'


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)
