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
from seqgan_jax.reporting.reading import Metrics, Sweep
from seqgan_jax.reporting.style import Picture, far_off
from seqgan_jax.reporting.table import MLE
from seqgan_jax.training import rendering

_BINS = 40  # at most; lengths beyond share one
Points = dict[float, tuple[Spread, Spread]]  # temperature -> both metrics of a picture
_DIRECTIONS = {LOWER: "lower", HIGHER: "higher"}


def quality_diversity(part: Part, suffix: str = "") -> list[Picture]:
    """Each sweep's generators by the two metrics that it names; runs of a group are averaged.

    Of a group whose sweeps differ in their number of samples, only those of the most are drawn.
    """
    sweeps = [sweep for group in part.groups for sweep in _sweeps(group)]
    pairs = list(dict.fromkeys((sweep.x, sweep.y) for sweep in sweeps))
    several = any(len(_sweeps(group)) > 1 for group in part.groups)
    temperatures = [p.temperature for each in sweeps for c in each.curves.values() for p in c]
    return [
        Picture(
            f"quality_diversity{suffix}{f'-{number}' if len(pairs) > 1 else ''}.png",
            _quality_diversity(part, keys),
            "Quality against diversity",
            f"Each generator drawn at temperatures from {min(temperatures):g} to "
            f"{max(temperatures):g}, which stand at the ends of the first curve; large: "
            "temperature 1. Judge by whole curves: a point further along the same curve is only "
            "another temperature."
            + _numbers(part)
            + _beyond(part, keys)
            + " Bars: one standard deviation over runs." * several,
            f"{BY_KEY[keys[1]].title} against {BY_KEY[keys[0]].title}, maximum likelihood beside "
            "what follows it, at several temperatures.",
        )
        for number, keys in enumerate(pairs, 1)
        if temperatures and all(key in BY_KEY for key in keys)
    ]


def _quality_diversity(part: Part, keys: tuple[str, str]) -> bytes:
    figure = style.new_figure(5.0)
    axes = figure.subplots()
    drawn = []
    for index, group in enumerate(part.groups):
        names = dict.fromkeys(name for each in _sweeps(group) for name in each.curves)
        for number, name in enumerate(names):
            points = sweep_points(group, name, keys)
            if points:
                # Of one group, colours tell the generators apart; of several, the groups.
                several = len(part.groups) > 1
                look = style.look(index if several else number) | _form(name, number)
                look["label"] = f"{group.name}: {name}" if several else name
                _draw_sweep(axes, points, look)
                drawn.append(points)
    real = _real_place(part, keys)
    if real is not None and not _is_far(part, keys):
        axes.plot(
            *real, "*", color="black", markersize=14, linestyle="none",
            label="real data",
        )  # fmt: skip
    axes.set_xlabel(_axis(keys[0]), fontsize=9)
    axes.set_ylabel(_axis(keys[1]), fontsize=9)
    axes.margins(0.1)
    style.finish(axes)
    style.legend(figure, axes)
    if drawn:
        _label_ends(axes, drawn[0], drawn[1:])
    return rendering.png(figure)


def _sweeps(group: Group) -> list[Sweep]:
    found = [run.evaluation.sweep for run in group.runs if run.evaluation is not None]
    return _of_most_samples([sweep for sweep in found if sweep is not None])


def _of_most_samples(sweeps: list[Sweep]) -> list[Sweep]:
    """Self-BLEU and BLEU of real data move with their number."""
    most = max((sweep.num_samples or 0 for sweep in sweeps), default=0)
    return [sweep for sweep in sweeps if (sweep.num_samples or 0) == most]


def _real_level(part: Part) -> Metrics:
    """Real data's metrics: a sweep's own, which are of as many sequences as its curves."""
    sweeps = _of_most_samples([sweep for group in part.groups for sweep in _sweeps(group)])
    return next((sweep.real for sweep in sweeps if sweep.real), {})


def _real_place(part: Part, keys: tuple[str, str]) -> tuple[float, float] | None:
    level = _real_level(part)
    return (level[keys[0]], level[keys[1]]) if all(key in level for key in keys) else None


def _is_far(part: Part, keys: tuple[str, str]) -> bool:
    """Whether real data would press the curves into a corner."""
    real = _real_place(part, keys)
    sweeps = [sweep for group in part.groups for sweep in _sweeps(group)]
    points = [point.metrics for each in sweeps for c in each.curves.values() for point in c]
    for key, level in zip(keys, real or (), strict=False):
        values = [metrics[key] for metrics in points if key in metrics]
        if values and far_off(min(values), max(values), level):
            return True
    return False


def _beyond(part: Part, keys: tuple[str, str]) -> str:
    real = _real_place(part, keys)
    if real is None or not _is_far(part, keys):
        return ""
    places = (f"{BY_KEY[key].title} {value:.3f}" for key, value in zip(keys, real, strict=True))
    return f" Real data lie outside the picture, at {' and '.join(places)}."


def _numbers(part: Part) -> str:
    found = {group.name: _sweeps(group)[0].num_samples for group in part.groups if _sweeps(group)}
    numbers = {number for number in found.values() if number}
    if len(numbers) == 1:
        return f" {numbers.pop():,} samples at each."
    listed = ", ".join(f"{name} {number:,}" for name, number in found.items() if number)
    return f" Samples at each: {listed}, not to be compared." if numbers else ""


def sweep_points(group: Group, name: str, keys: tuple[str, str]) -> Points:
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


def _form(name: str, number: int) -> dict[str, Any]:
    """Maximum likelihood dashed and hollow, the first other drawn through, the rest dotted."""
    if name == MLE:
        return {"linestyle": "--", "markerfacecolor": "white"}
    return {"linestyle": "-" if number < 2 else ":"}


def _draw_sweep(axes: matplotlib.axes.Axes, points: Points, look: dict[str, Any]) -> None:
    x, y = ([pair[i].mean for pair in points.values()] for i in (0, 1))
    errors = [[pair[i].deviation or 0.0 for pair in points.values()] for i in (0, 1)]
    axes.plot(x, y, linewidth=1.3, markersize=4.5, **look)
    if any(map(any, errors)):
        axes.errorbar(
            x, y, xerr=errors[0], yerr=errors[1], fmt="none", ecolor=look["color"], elinewidth=0.8
        )
    if 1.0 in points:
        one = points[1.0]
        axes.plot(one[0].mean, one[1].mean, markersize=9, **look | {"label": None})


def _label_ends(axes: matplotlib.axes.Axes, points: Points, others: list[Points]) -> None:
    """Temperatures at both ends of a curve, set on in its direction and away from the others."""

    def place(curve: Points, temperature: float) -> np.ndarray:
        x, y = curve[temperature]
        return np.asarray(axes.transData.transform((x.mean, y.mean)))

    order = sorted(points)
    for end, inner in ((order[0], order[1:2]), (order[-1], order[-2:-1])):
        at = place(points, end)
        near = [place(points, t) for t in inner] + [place(c, end) for c in others if end in c]
        away = sum((_unit(at - each) for each in near), np.zeros(2))
        x, y = points[end]
        axes.annotate(
            f"{end:g}", (x.mean, y.mean), xytext=tuple(15 * _unit(away)),
            textcoords="offset points", ha="center", va="center", fontsize=8,
        )  # fmt: skip


def _unit(vector: np.ndarray) -> np.ndarray:
    length = float(np.hypot(*vector))
    return vector / length if length else np.array([0.0, -1.0])


def _axis(key: str) -> str:
    column = BY_KEY[key]
    unit = ", nats per token" if "nll" in key else ""
    use = "more diverse" if key.startswith(("nll_test", "self_bleu")) else "better"
    way = _DIRECTIONS.get(column.better)
    return f"{column.title}{unit}" + (f" ({way}: {use})" if way else "")


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
            f"lengths{suffix}.png", rendering.png(figure), "Lengths",
            "Samples are those of samples.txt, all runs of a group together.",
            "Histogram of sequence lengths, real, held-out data beside the samples.",
        )
    ]  # fmt: skip
