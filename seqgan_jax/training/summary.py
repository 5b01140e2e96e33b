"""What a finished run leaves for its reader: summary.json, a table and the learning curve."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import matplotlib.figure
import rich.table

from seqgan_jax.training.plan import ADVERSARIAL, D_PRETRAIN, G_PRETRAIN, UNITS
from seqgan_jax.training.workdir import write_json

Line = dict[str, Any]

# Tokens a second are of different work in every phase: no best among them.
_NOT_METRICS = {"step", "phase", "seconds", "tokens_per_second", *UNITS.values()}
# Of every other metric the lowest value is the best.
_HIGHER_IS_BETTER = {
    "entropy",
    "distinct",
    "reward_mean",
    *(f"d_{name}" for name in ("accuracy", "accuracy_train", "accuracy_heldout")),
    *("d_auc_train", "d_auc_heldout"),
}


def summarise(lines: Sequence[Line]) -> dict[str, Any]:
    """Last and best of every metric, seconds and last tokens/s a phase, from metrics.jsonl.

    The best is the lowest value of losses, NLLs, norms and copying, the highest of accuracy, AUC,
    entropy, distinct fraction and reward. It is a best of the run on the very figures
    reported, so it flatters; the last value does not.
    """
    metrics: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    speed: dict[str, float] = {}
    before = 0.0
    for line in lines:
        phase = line["phase"]
        seconds[phase] = seconds.get(phase, 0.0) + line["seconds"] - before
        before = line["seconds"]
        if "tokens_per_second" in line:
            speed[phase] = line["tokens_per_second"]
        place = {key: line[key] for key in ("phase", *UNITS.values()) if key in line}
        for name, value in line.items():
            if name in _NOT_METRICS:
                continue
            entry = metrics.setdefault(name, {"best": value, "best_at": place})
            entry["last"] = value
            better = value > entry["best"] if name in _HIGHER_IS_BETTER else value < entry["best"]
            if better:
                entry["best"], entry["best_at"] = value, place
    return {
        "metrics": metrics,
        "seconds": seconds,
        "total_seconds": before,
        "tokens_per_second": speed,
    }


def write_summary(workdir: str, lines: Sequence[Line]) -> None:
    """Writes summary.json."""
    write_json(os.path.join(workdir, "summary.json"), summarise(lines))


def _evaluated(lines: Sequence[Line], phase: str) -> list[Line]:
    return [line for line in lines if line["phase"] == phase and "nll_oracle" in line]


def table(lines: Sequence[Line]) -> rich.table.Table:
    """The run in a few rows: after each phase, lowest NLL_oracle, floor and ceiling."""
    result = rich.table.Table(title="nats per token; judge NLL_oracle only beside NLL_test")
    columns = {
        "NLL_oracle": "nll_oracle",
        "NLL_test": "nll_test",
        "entropy": "entropy",
        "distinct": "distinct",
        "copied": "copied",
        "D held out": "d_accuracy_heldout",
    }
    result.add_column("")
    for title in columns:
        result.add_column(title, justify="right")

    def row(name: str, values: Line) -> None:
        cells = [f"{values[key]:.3f}" if key in values else "-" for key in columns.values()]
        result.add_row(name, *cells)

    pretrain, rounds = _evaluated(lines, G_PRETRAIN), _evaluated(lines, ADVERSARIAL)
    everything = pretrain + rounds
    if not everything:
        return result
    limits = everything[-1]
    row("real data (floor)", {
        "nll_oracle": limits["nll_oracle_floor"], "copied": limits["copied_heldout"]
    })  # fmt: skip
    if pretrain:
        row(f"after MLE, epoch {pretrain[-1]['epoch']}", pretrain[-1])
    if rounds:
        lowest = min(rounds, key=lambda line: line["nll_oracle"])
        if lowest is not rounds[-1]:
            row(f"lowest NLL_oracle, round {lowest['round']}", lowest)
        row(f"after round {rounds[-1]['round']}", rounds[-1])
    row("uniform tokens (ceiling)", {"nll_oracle": limits["nll_oracle_ceiling"]})
    return result


def plot_learning_curve(workdir: str, lines: Sequence[Line]) -> None:
    """Draws NLL_oracle and NLL_test against epochs and rounds into learning_curve.png."""
    pretrain, rounds = _evaluated(lines, G_PRETRAIN), _evaluated(lines, ADVERSARIAL)
    everything = pretrain + rounds
    if not everything:
        return
    epochs = max((line["epoch"] for line in lines if line["phase"] == G_PRETRAIN), default=0)
    place = [line["epoch"] for line in pretrain] + [epochs + line["round"] for line in rounds]
    figure = matplotlib.figure.Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    # Okabe-Ito colours, told apart by line style too.
    for name, label, colour, style in (
        ("nll_oracle", "NLL_oracle (quality)", "#0072B2", "-"),
        ("nll_test", "NLL_test (diversity)", "#D55E00", "--"),
        ("entropy", "entropy", "#009E73", ":"),
    ):
        values = [line[name] for line in everything]
        axes.plot(place, values, style, color=colour, marker="o", markersize=3, label=label)
    limits = everything[-1]
    for name, label, dashes in (
        ("nll_oracle_floor", "floor: oracle's own samples", (5.0, 1.0)),
        ("nll_oracle_ceiling", "ceiling: uniform tokens", (1.0, 1.0)),
    ):
        axes.axhline(limits[name], color="0.4", linewidth=1, dashes=dashes, label=label)
    if rounds:
        d_steps = sum(line["phase"] == D_PRETRAIN for line in lines)
        label = f"end of maximum likelihood, {d_steps} d-steps"
        axes.axvline(epochs, color="0.4", linewidth=1, dashes=(1.0, 3.0), label=label)
    axes.set_xlabel("epochs of maximum likelihood, then adversarial rounds")
    axes.set_ylabel("nats per token")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", fontsize=8, ncols=3)
    partial = os.path.join(workdir, "learning_curve.partial.png")
    figure.savefig(partial, dpi=120)
    os.replace(partial, os.path.join(workdir, "learning_curve.png"))
