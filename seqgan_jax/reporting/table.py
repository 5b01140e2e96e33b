"""All models of a part by metric: rows of means and spreads, and the table in each of its forms."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import rich.table

from seqgan_jax.reporting.columns import COLUMNS, Column
from seqgan_jax.reporting.groups import Group, Part, Spread, spread
from seqgan_jax.reporting.reading import Line, Metrics, Row, Run
from seqgan_jax.training.plan import ADVERSARIAL, G_PRETRAIN, UNITS

REAL = {"test": "real, held out", "train": "real, training"}
MLE = "MLE"
METHODS = {  # as people write them; of maximum likelihood, what the rounds make of it
    "mle": "MLE, continued",
    "scheduled_sampling": "scheduled sampling",
    "pg_bleu": "PG-BLEU",
    "seqgan": "SeqGAN",
    "reinforce": "REINFORCE",
    "gumbel_softmax": "Gumbel-softmax",
    "wgan": "WGAN",
    "wgan_gp": "WGAN-GP",
    "maligan": "MaliGAN",
    "rankgan": "RankGAN",
    "constant_reward": "constant reward",
    "random_reward": "random reward",
}
# Methods whose pre-training is not maximum likelihood.
_STARTS = {"scheduled_sampling": "scheduled sampling, pre-trained"}

_ABSENT = "-"
_HEAD = "model"


class TableRow(NamedTuple):
    """One model, or real data."""

    label: str
    runs: int | None  # None of real data
    cells: dict[str, Spread]
    samples: int | None = None  # that each run's figures are of; None: unknown


class Table(NamedTuple):
    """Rows, the columns that have values in them, and where these come from."""

    rows: list[TableRow]
    columns: list[Column]
    sources: list[str]


def make(part: Part) -> Table:
    """Real data, then of each group maximum likelihood and what follows it.

    Figures of unlike numbers of samples are never averaged, and where rows differ in it their
    labels say so.
    """
    rows = _real_rows(part)
    for group in part.groups:
        by_row: dict[tuple[str, str], list[Row]] = {}
        for run in group.runs:
            for row in _rows(run, group):
                if row.source not in REAL:
                    by_row.setdefault((row.source, row.name), []).append(row)
        prefix = f"{group.name}: " if len(part.groups) > 1 else ""
        for (_, name), found in by_row.items():
            number, metrics = _of_most_samples(found)
            rows.append(TableRow(prefix + name, len(metrics), _cells(metrics), number))
    if len({row.samples for row in rows}) > 1:
        rows = [_with_samples(row) for row in rows]
    columns = [column for column in COLUMNS if any(column.key in row.cells for row in rows)]
    return Table(rows, columns, _sources(part))


def _of_most_samples(rows: Sequence[Row]) -> tuple[int | None, list[Metrics]]:
    """The metrics that are of the most samples, and how many these are."""
    most = max((row.num_samples or 0 for row in rows), default=0)
    return most or None, [row.metrics for row in rows if (row.num_samples or 0) == most]


def _with_samples(row: TableRow) -> TableRow:
    words = f" ({row.samples:,} samples)" if row.samples else ""
    return row._replace(label=row.label + words)


def method_name(run: Run) -> str:
    """The method as people write it."""
    return METHODS.get(run.hparams.method, run.hparams.method)


def group_label(group: Group) -> str:
    """The method; before it the runs' name, where that says more."""
    method, name = group.runs[0].hparams.method, method_name(group.runs[0])
    if group.name == method:
        return name
    return group.name if name == method else f"{group.name}: {name}"


def start_name(method: str) -> str:
    """What a method's generator is called before the rounds; a user's own may do it in its way."""
    return _STARTS.get(method, MLE) if method in METHODS else f"{method}, pre-trained"


def evaluated(lines: Iterable[Line], phase: str) -> list[Line]:
    """The lines of a phase at which the generator was evaluated."""
    return [line for line in lines if line["phase"] == phase and "nll_test" in line]


def is_evaluated(group: Group) -> bool:
    """Whether evaluation.json tells of all its runs: the two sources are never averaged."""
    return all(run.evaluation is not None and run.evaluation.rows for run in group.runs)


def _rows(run: Run, group: Group) -> list[Row]:
    """From evaluation.json, or the last evaluated line of each phase."""
    if run.evaluation is not None and is_evaluated(group):
        return run.evaluation.rows
    start = start_name(run.hparams.method)
    names = {G_PRETRAIN: (start, "pretrained"), ADVERSARIAL: (method_name(run), "generator")}
    last = {phase: found[-1] for phase in names if (found := evaluated(run.lines, phase))}
    rows = [Row(*names[phase], _renamed(line)) for phase, line in last.items()]
    if last:
        limits = list(last.values())[-1]
        for source, suffix in (("test", "_heldout"), ("train", "_real")):
            real = {k.removesuffix(suffix): v for k, v in limits.items() if k.endswith(suffix)}
            if source == "test" and "nll_oracle_floor" in limits:
                real["nll_oracle"] = limits["nll_oracle_floor"]
            if real:
                rows.append(Row(REAL[source], source, _renamed(real)))
    return rows


def _renamed(line: Line) -> Metrics:
    """A line's metrics by the names of evaluation.json."""
    metrics = {column.key: line[column.key] for column in COLUMNS if column.key in line}
    if "copied" in line:
        metrics["copied_ngrams"] = line["copied"]
    if "distinct" in line:
        metrics["duplicates"] = 1.0 - line["distinct"]
    return metrics


def real_metrics(part: Part, source: str = "test") -> dict[str, Spread]:
    """Real data's: of the evaluations those with the most samples, else of metrics.jsonl."""
    cells = _cells(_of_most_samples(_of_source(part, source))[1])
    # The same data in every run: no spread but where some of them were drawn.
    return {
        key: Spread(each.mean, each.deviation if each.deviation else None, each.number)
        for key, each in cells.items()
    }


def _of_source(part: Part, source: str) -> list[Row]:
    rows = (row for group in part.groups for run in group.runs for row in _rows(run, group))
    return [row for row in rows if row.source == source]


def _real_rows(part: Part) -> list[TableRow]:
    found = {source: real_metrics(part, source) for source in REAL}
    return [
        TableRow(REAL[source], None, cells, _of_most_samples(_of_source(part, source))[0])
        for source, cells in found.items()
        if cells
    ]


def _cells(metrics: Sequence[Metrics]) -> dict[str, Spread]:
    found = {
        column.key: [each[column.key] for each in metrics if column.key in each]
        for column in COLUMNS
    }
    return {key: spread(values) for key, values in found.items() if values}


def _sources(part: Part) -> list[str]:
    """Where each group's figures come from, and on how many samples they are."""
    sources = []
    for group in part.groups:
        evaluations = [run.evaluation for run in group.runs if run.evaluation is not None]
        if is_evaluated(group):
            numbers = sorted({row.num_samples or 0 for each in evaluations for row in each.rows})
            listed = " or ".join(f"{number:,}" for number in numbers)
            fewer = "; rows of fewer than the most are left out" if len(numbers) > 1 else ""
            sources.append(f"{group.name}: evaluation.json, {listed} samples{fewer}.")
            continue
        number = group.runs[0].hparams.evaluation.eval_samples
        missing = f"; {len(evaluations)} of its {len(group.runs)} runs have an evaluation.json"
        last = sorted({_place(run) for run in group.runs})
        sources.append(
            f"{group.name}: metrics.jsonl as last evaluated ({', '.join(last)}), at most "
            f"{number:,} samples{missing if evaluations else ''}."
        )
    return sources


def _place(run: Run) -> str:
    found = evaluated(run.lines, G_PRETRAIN) + evaluated(run.lines, ADVERSARIAL)
    if not found:
        return "never yet"
    unit = UNITS[found[-1]["phase"]]
    return f"{unit} {found[-1][unit]}"


def cell(row: TableRow, column: Column) -> str:
    """Mean ± standard deviation; with its own n where some runs lack the metric."""
    value = row.cells.get(column.key)
    if value is None:
        return _ABSENT
    form = f",.{column.digits}f"
    text = f"{value.mean:{form}}"
    if value.deviation is not None:
        text += f" ± {value.deviation:{form}}"
    return f"{text} (n = {value.number})" if row.runs not in (None, value.number) else text


def _count(row: TableRow) -> str:
    return "" if row.runs is None else str(row.runs)


def blocks(table: Table) -> dict[str, list[Column]]:
    """The columns by what they measure, few enough for a page's width."""
    found: dict[str, list[Column]] = {}
    for column in table.columns:
        found.setdefault(column.block, []).append(column)
    return found


def markdown(table: Table) -> list[str]:
    """Lines of one Markdown table of all columns."""
    lines = [
        [_HEAD, "runs", *(column.head for column in table.columns)],
        ["---", "---:", *["---:"] * len(table.columns)],
    ]
    for row in table.rows:
        cells = [cell(row, column) for column in table.columns]
        lines.append([row.label.replace("|", "\\|"), _count(row), *cells])
    return [f"| {' | '.join(line)} |" for line in lines]


def as_html(table: Table) -> str:
    """A table a block, the same rows in each."""
    found = []
    for name, columns in blocks(table).items():
        rows = [row for row in table.rows if any(column.key in row.cells for column in columns)]
        head = "".join(f'<th scope="col">{html.escape(column.head)}</th>' for column in columns)
        body = "".join(
            f'<tr><th scope="row">{html.escape(row.label)}</th><td>{_count(row)}</td>'
            + "".join(f"<td>{cell(row, column)}</td>" for column in columns)
            + "</tr>\n"
            for row in rows
        )
        found.append(
            f"<table><caption>{name}</caption>\n<thead><tr><th>{_HEAD}</th><th>runs</th>{head}</tr>"
            f"</thead>\n<tbody>\n{body}</tbody></table>"
        )
    return "\n".join(found)


def on_terminal(table: Table) -> rich.table.Table:
    """The same on its side, a model a column: that is narrower."""
    result = rich.table.Table()
    result.add_column("")
    for row in table.rows:
        count = f"\n{row.runs} runs" if row.runs is not None and row.runs > 1 else ""
        result.add_column(row.label.replace(", ", ",\n") + count, justify="right")
    for columns in blocks(table).values():
        for column in columns:
            result.add_row(column.head, *(cell(row, column) for row in table.rows))
        result.add_section()
    return result
