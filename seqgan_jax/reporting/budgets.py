"""What methods have spent: updates, sequences drawn, seconds."""

from __future__ import annotations

import numpy as np

from seqgan_jax.reporting.grid import Grid
from seqgan_jax.reporting.groups import Part
from seqgan_jax.reporting.table import group_label
from seqgan_jax.training.plan import BUDGET


def make(part: Part) -> Grid:
    """A row a group whose lines of metrics.jsonl count what they spent; maybe none."""
    rows = []
    for group in part.groups:
        lasts = [run.lines[-1] for run in group.runs if run.lines]
        if not lasts or any(name not in line for line in lasts for name in BUDGET):
            continue
        counts = [sorted({int(line[name]) for line in lasts}) for name in BUDGET]
        each = {
            name: np.mean([line.get(name, np.nan) / line.get("together", 1) for line in lasts])
            for name in ("training_seconds", "seconds")
        }
        rows.append([
            group_label(group),
            *(" to ".join(f"{n:,}" for n in (c[0], c[-1])[: len(c)]) for c in counts),
            *(f"{seconds:,.0f}" for seconds in each.values()),
        ])  # fmt: skip
    head = ["", "generator updates", "discriminator updates", "sequences drawn",
            "tokens drawn", "training, s", "in all, s"]  # fmt: skip
    notes = [
        "Of one run; of runs trained side by side, its share of the seconds. Pre-training and the "
        "completions of Monte Carlo search are counted, what is drawn to evaluate is not; a start "
        "that several methods share is counted to each. Training: inside compiled calls, their "
        "compilation included."
    ]
    return Grid("What each has spent", head, rows, notes)
