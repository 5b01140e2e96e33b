"""Pictures of finished generators: quality against diversity, and lengths."""

from __future__ import annotations

from typing import Any

import matplotlib.axes
import matplotlib.ticker
import numpy as np

from seqgan_jax.data.dataset import Codec
from seqgan_jax.reporting import style
from seqgan_jax.reporting.columns import BY_KEY, HIGHER, LOWER
from seqgan_jax.reporting.groups import Group, Part, Spread, spread
from seqgan_jax.reporting.reading import Sweep
from seqgan_jax.reporting.style import Picture
from seqgan_jax.reporting.table import MLE, real_metrics

_BINS = 40  # at most; lengths beyond share one
_DIRECTIONS = {LOWER: "lower", HIGHER: "higher"}


def quality_diversity(part: Part, suffix: str = "") -> list[Picture]:
    """Each sweep's generators by the two metrics that it names; runs of a group are averaged."""
    found = [(group, sweeps[0]) for group in part.groups if (sweeps := _sweeps(group))]
    pairs = list(dict.fromkeys((sweep.x, sweep.y) for _, sweep in found))
    pictures = []
    for number, (x, y) in enumerate(pairs):
        figure = style.new_figure(5.0)
        axes = figure.subplots()
        for index, group in enumerate(part.groups):
            for name in dict.fromkeys(name for each in _sweeps(group) for name in each.curves):
                _draw_sweep(axes, group, name, (x, y), index, len(part.groups) > 1)
        real = real_metrics(part)
        # The oracle is the model that real data come from: its NLL_test is its own NLL.
        level = {"nll_test": real["nll_oracle"].mean} if "nll_oracle" in real else {}
        level |= {key: each.mean for key, each in real.items()}
        if x in level and y in level:
            axes.plot(
                level[x], level[y], "*", color="black", markersize=14, linestyle="none",
                label="real, held-out data",
            )  # fmt: skip
        axes.set_xlabel(_axis(x), fontsize=9)
        axes.set_ylabel(_axis(y), fontsize=9)
        axes.margins(0.08)
        style.finish(axes)
        style.legend(figure, axes)
        seeds = " Bars: one standard deviation over runs." * any(
            len(group.runs) > 1 for group, _ in found
        )
        pictures.append(
            Picture(
                f"quality_diversity{suffix}{f'-{number + 1}' if number else ''}.png",
                style.png(figure),
                "Quality against diversity",
                f"Each generator drawn at several temperatures, {_temperatures(found)}; large: "
                f"temperature 1. A curve that lies nearer to real data at every temperature is the "
                f"better generator; a point on another's curve is only another temperature.{seeds}",
                f"{BY_KEY[y].title} against {BY_KEY[x].title}, maximum likelihood beside what "
                "follows it, at several temperatures.",
            )
        )
    return pictures


def _sweeps(group: Group) -> list[Sweep]:
    found = [run.evaluation.sweep for run in group.runs if run.evaluation is not None]
    return [sweep for sweep in found if sweep is not None]


def sweep_points(
    group: Group, name: str, keys: tuple[str, str]
) -> dict[float, tuple[Spread, Spread]]:
    """Temperature -> both metrics over the runs of the group, the lowest temperature first."""
    found: dict[float, list[tuple[float, float]]] = {}
    for sweep in _sweeps(group):
        for point in sweep.curves.get(name, []):
            if all(key in point.metrics for key in keys):
                pair = point.metrics[keys[0]], point.metrics[keys[1]]
                found.setdefault(point.temperature, []).append(pair)
    return {
        temperature: (
            spread(x for x, _ in found[temperature]),
            spread(y for _, y in found[temperature]),
        )
        for temperature in sorted(found)
    }


def _draw_sweep(
    axes: matplotlib.axes.Axes,
    group: Group,
    name: str,
    keys: tuple[str, str],
    index: int,
    several: bool,
) -> None:
    points = sweep_points(group, name, keys)
    if not points:
        return
    x, y = ([pair[i].mean for pair in points.values()] for i in (0, 1))
    errors = [[pair[i].deviation or 0.0 for pair in points.values()] for i in (0, 1)]
    # Of one group, colours tell the two generators apart; of several, they tell the groups.
    is_mle = name == MLE
    look: dict[str, Any] = style.look(index if several or is_mle else index + 1)
    look["linestyle"] = "--" if is_mle else "-"
    look["markerfacecolor"] = "white" if is_mle else look["color"]
    label = f"{group.name}: {name}" if several else name
    axes.plot(x, y, linewidth=1.3, markersize=4.5, label=label, **look)
    if any(map(any, errors)):
        axes.errorbar(
            x, y, xerr=errors[0], yerr=errors[1], fmt="none", ecolor=look["color"], elinewidth=0.8
        )
    if 1.0 in points:
        one = points[1.0]
        axes.plot(one[0].mean, one[1].mean, markersize=9, **look)


def _axis(key: str) -> str:
    column = BY_KEY[key]
    unit = ", nats per token" if "nll" in key else ""
    use = "more diverse" if key in ("nll_test", "self_bleu_5") else "better"
    way = _DIRECTIONS.get(column.better)
    return f"{column.title}{unit}" + (f" ({way}: {use})" if way else "")


def _temperatures(found: list[tuple[Group, Sweep]]) -> str:
    values = [p.temperature for _, s in found for curve in s.curves.values() for p in curve]
    return f"{min(values):g} to {max(values):g}" if values else "none"


def sample_lengths(lines: list[str], codec: Codec) -> np.ndarray:
    """Tokens of each line of samples.txt; an empty line is a sample that ended at once."""
    return np.array([len(codec.encode(line)) for line in lines], np.int64)


def lengths(part: Part, suffix: str = "") -> list[Picture]:
    """Histogram of lengths, held-out data and samples; none where all have one length."""
    first = part.groups[0].runs[0]
    codec, test = first.codec, first.test
    if codec is None or test is None or codec.end_token is None:
        return []
    real = (test.mask & (test.tokens != codec.end_token)).sum(axis=1)
    drawn = {
        index: sample_lengths([line for run in group.runs for line in run.samples or []], codec)
        for index, group in enumerate(part.groups)
    }
    drawn = {index: each for index, each in drawn.items() if each.size}
    if not drawn:
        return []
    longest = max(int(real.max()), *(int(each.max()) for each in drawn.values()))
    width = -(-(longest + 1) // _BINS)
    edges = np.arange(0, longest + width + 1, width) - 0.5

    def shares(values: np.ndarray) -> np.ndarray:
        return 100.0 * np.histogram(values, edges)[0] / len(values)

    figure = style.new_figure(3.6)
    axes = figure.subplots()
    words = f"real, held out ({len(real):,} sequences)"
    axes.stairs(shares(real), edges, fill=True, color="0.82", label=words)
    middle = (edges[:-1] + edges[1:]) / 2
    for index, each in drawn.items():
        label = f"{part.groups[index].name} ({len(each):,} samples)"
        axes.plot(
            middle, shares(each), label=label, linewidth=1.3, markersize=3, **style.look(index)
        )
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("tokens a sequence, the end not counted", fontsize=9)
    axes.set_ylabel("sequences, %" + (f" in {width} tokens" if width > 1 else ""), fontsize=9)
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(12, integer=True))
    style.finish(axes)
    style.legend(figure, axes)
    return [
        Picture(
            f"lengths{suffix}.png", style.png(figure), "Lengths",
            "Samples are those of samples.txt, all runs of a group together.",
            "Histogram of sequence lengths, real, held-out data beside the samples.",
        )
    ]  # fmt: skip
