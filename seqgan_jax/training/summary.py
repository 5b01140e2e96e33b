"""What a finished run leaves for its reader: summary.json, a table and the learning curve."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from typing import Any

import matplotlib.figure
import matplotlib.ticker
import rich.table

from seqgan_jax.atomic import write_atomically, write_json
from seqgan_jax.data_hparams import OracleDataHParams
from seqgan_jax.hparams import HParams
from seqgan_jax.training import rendering
from seqgan_jax.training.plan import ADVERSARIAL, BUDGET, D_PRETRAIN, G_PRETRAIN, UNITS

Line = dict[str, Any]

# Tokens a second are of different work in every phase: no best among them.
_NOT_METRICS = {
    *("step", "phase", "seconds", "training_seconds", "tokens_per_second", "together",
        "best_epoch"),
    *UNITS.values(), *BUDGET,
}  # fmt: skip
# Neither low nor high is good of itself.
_NO_BEST = {"mean_length", *(f"self_bleu_{order}" for order in (2, 3, 4, 5))}
# Of every other metric the lowest value is the best.
_HIGHER_IS_BETTER = {
    "entropy",
    "distinct",
    "reward_mean",
    *(f"d_{name}" for name in ("accuracy", "accuracy_train", "accuracy_heldout")),
    *("d_auc_train", "d_auc_heldout"),
    *(f"bleu_{order}" for order in (2, 3, 4, 5)),
}


def best_metric(hparams: HParams) -> str:
    """The metric by which a run's best checkpoints are kept."""
    chosen = hparams.evaluation.best_metric
    if chosen != "auto":
        return chosen
    return "nll_oracle" if isinstance(hparams.data, OracleDataHParams) else "bleu_4"


def sign(metric: str) -> float:
    """1 where the lowest value of a metric is the best, -1 where the highest is."""
    return -1.0 if metric in _HIGHER_IS_BETTER else 1.0


def summarise(lines: Sequence[Line]) -> dict[str, Any]:
    """Last and best of every metric, seconds and last tokens/s a phase, from metrics.jsonl.

    The best is the lowest value of losses, NLLs, norms and copying, the highest of accuracy, AUC,
    entropy, distinct fraction, BLEU and reward; self-BLEU and length have none. It is a best of the
    run on the very figures reported, so it flatters; the last value does not. Tokens a second count
    every position of the T, padding included.
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
            # Of what is the same in every line, such as real data's BLEU, there is no best either.
            if name in _NOT_METRICS or name.endswith("_real"):
                continue
            first = {} if name in _NO_BEST else {"best": value, "best_at": place}
            entry = metrics.setdefault(name, first)
            entry["last"] = value
            if name in _NO_BEST:
                continue
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
    return [line for line in lines if line["phase"] == phase and "nll_test" in line]


_COLUMNS = {
    "NLL_oracle": "nll_oracle",
    "BLEU-2": "bleu_2",
    "BLEU-4": "bleu_4",
    "self-BLEU-4": "self_bleu_4",
    "NLL_test": "nll_test",
    "entropy": "entropy",
    "distinct": "distinct",
    "copied": "copied",
    "D held out": "d_accuracy_heldout",
}


def table(lines: Sequence[Line]) -> rich.table.Table:
    """The run in a few rows: real data, after each phase, the best NLL_oracle or BLEU-4, ceiling.

    Each line is held against those of its own kind of data: an oracle's or real ones.
    """
    pretrain, rounds = _evaluated(lines, G_PRETRAIN), _evaluated(lines, ADVERSARIAL)
    everything = pretrain + rounds
    on_oracle = any("nll_oracle" in line for line in everything)
    judged = "NLL_oracle only beside NLL_test" if on_oracle else "BLEU only beside self-BLEU"
    result = rich.table.Table(title=f"likelihoods in nats per token; judge {judged}")
    columns = {
        title: key for title, key in _COLUMNS.items() if any(key in line for line in everything)
    }
    result.add_column("")
    for title in columns:
        result.add_column(title, justify="right")

    def row(name: str, values: Line) -> None:
        cells = [f"{values[key]:.3f}" if key in values else "-" for key in columns.values()]
        result.add_row(name, *cells)

    if not everything:
        return result
    limits = everything[-1]
    real = {
        key: limits[name]
        for key in _COLUMNS.values()
        for name in (f"{key}_real", f"{key}_heldout")
        if name in limits
    }
    if on_oracle:
        real["nll_oracle"] = limits["nll_oracle_floor"]
    row("real data (floor)" if on_oracle else "real data", real)
    if pretrain:
        last = pretrain[-1]
        row(f"after MLE, epoch {last.get('best_epoch', last['epoch'])}", last)
    if rounds:
        name, sign = ("nll_oracle", 1.0) if on_oracle else ("bleu_4", -1.0)
        best = min(rounds, key=lambda line: sign * line[name])
        if best is not rounds[-1]:
            words = "lowest NLL_oracle" if on_oracle else "highest BLEU-4"
            row(f"{words} of the rounds, {best['round']}", best)
        row(f"after round {rounds[-1]['round']}", rounds[-1])
    if on_oracle:
        row("uniform tokens (ceiling)", {"nll_oracle": limits["nll_oracle_ceiling"]})
    return result


# Okabe and Ito's colours, told apart by line style too.
_LIKELIHOODS = (
    ("nll_oracle", "NLL_oracle (quality)", "#0072B2", "-"),
    ("nll_test", "NLL_test (diversity)", "#D55E00", "--"),
    ("entropy", "entropy", "#009E73", ":"),
)
_BLEUS = (
    ("bleu_2", "BLEU-2", "#56B4E9", "-"),
    ("bleu_4", "BLEU-4", "#000000", "--"),
    ("self_bleu_4", "self-BLEU-4", "#CC79A7", "-."),
)


def plot_learning_curve(workdir: str, lines: Sequence[Line]) -> None:
    """Draws learning_curve.png: likelihoods, and BLEU of real data, against epochs and rounds."""
    figure = _learning_curve(lines)
    if figure is None:
        return
    picture = rendering.png(figure)
    # A figure's parts refer to one another, 3 MB of them, and Python seldom looks for such circles
    # among all the objects that JAX has made: they would pile up over many drawings.
    del figure
    gc.collect()
    write_atomically(os.path.join(workdir, "learning_curve.png"), picture)


def _learning_curve(lines: Sequence[Line]) -> matplotlib.figure.Figure | None:
    """The figure; None where nothing has been evaluated."""
    pretrain, rounds = _evaluated(lines, G_PRETRAIN), _evaluated(lines, ADVERSARIAL)
    everything = pretrain + rounds
    if not everything:
        return None
    epochs = max((line["epoch"] for line in lines if line["phase"] == G_PRETRAIN), default=0)
    place = [line["epoch"] for line in pretrain] + [epochs + line["round"] for line in rounds]
    apart = max(1, len(place) // 40)  # markers, or of many they hide the lines' styles
    limits = everything[-1]
    panels = [(_LIKELIHOODS, "nats per token")]
    if "bleu_4" in limits:
        panels.append((_BLEUS, "mean over samples, 0 to 1"))
    figure = matplotlib.figure.Figure(figsize=(8, 1.5 + 3.0 * len(panels)), layout="constrained")
    for index, (curves, unit) in enumerate(panels):
        axes = figure.add_subplot(len(panels), 1, index + 1)
        for name, label, colour, style in curves:
            values = [line.get(name, float("nan")) for line in everything]
            if name in limits:
                axes.plot(
                    place, values, style, color=colour, marker="o", markersize=3, markevery=apart,
                    label=label,
                )  # fmt: skip
            if f"{name}_real" in limits:
                axes.axhline(
                    limits[f"{name}_real"], color=colour, linewidth=1, dashes=(1.0, 2.0),
                    label=f"{label} of real data",
                )  # fmt: skip
        for name, label, dashes in (
            ("nll_oracle_floor", "floor: oracle's own samples", (5.0, 1.0)),
            ("nll_oracle_ceiling", "ceiling: uniform tokens", (1.0, 1.0)),
        ):
            if name in limits and index == 0:
                axes.axhline(limits[name], color="0.4", linewidth=1, dashes=dashes, label=label)
        if rounds:
            d_steps = sum(line["phase"] == D_PRETRAIN for line in lines)
            words = f"end of maximum likelihood, {d_steps} d-steps" if index == 0 else None
            axes.axvline(epochs, color="0.4", linewidth=1, dashes=(1.0, 3.0), label=words)
        axes.set_ylabel(unit)
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    axes.set_xlabel("epochs of maximum likelihood, then adversarial rounds")
    figure.legend(loc="outside lower center", fontsize=8, ncols=3)
    return figure
