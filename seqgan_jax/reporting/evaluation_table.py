"""The rows of evaluation.json side by side on screen: a line a metric."""

from __future__ import annotations

from typing import Any

import rich.table

from seqgan_jax.reporting.columns import COLUMNS, DIRECTIONS


def table(content: dict[str, Any]) -> rich.table.Table:
    """A column a row of evaluation.json, those with other numbers of samples told apart.

    Args:
      content: as `EvaluationFile` holds it.

    Returns:
      The table; metrics that no row has are left out.
    """
    number, rows = content["num_samples"], content["rows"]
    held_out = content["data"]["num_test"]
    result = rich.table.Table(
        title=f"{number:,} sequences each; likelihoods and LM scores in nats per token",
        caption="\n".join(
            [
                *(f"{sign} {words}" for sign, words in DIRECTIONS.items() if sign),
                f"BLEU of the {held_out:,} held-out ones: of each against all others",
            ]
        ),
        caption_justify="left",
    )
    result.add_column("")
    for row in rows:
        own = row.get("num_samples", number)
        result.add_column(
            row["name"] if own == number else f"{row['name']} ({own:,} sequences)", justify="right"
        )
    block = None
    for column in COLUMNS:
        values = [row["metrics"].get(column.key) for row in rows]
        if all(value is None for value in values):
            continue
        if block not in (None, column.block):
            result.add_section()
        block = column.block
        form = f",.{column.digits}f"
        result.add_row(column.head, *("-" if v is None else format(v, form) for v in values))
    return result
