"""Trained generators drawn at several temperatures: quality against diversity."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import matplotlib.figure
import numpy as np
import rich.table

from seqgan_jax.checked import ConfigError, differences, to_dict
from seqgan_jax.metrics.diversity import CopiedFraction
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.models.tempered import tempered
from seqgan_jax.search.sampling import sample
from seqgan_jax.training import experiment, trained, workdir
from seqgan_jax.types import Array, Samples

Curve = list["Point"]
CONTROL = "mixture"  # the name of the control in table and picture

# Okabe and Ito's colours, told apart by their markers too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "os^vDPX"


class Point(NamedTuple):
    """A generator at one temperature; likelihoods and entropy in nats per token."""

    temperature: float
    nll_oracle: float
    nll_test: float
    entropy: float
    copied: float

    @property
    def reverse_kl(self) -> float:
        """KL(G || oracle) per token: NLL_oracle less the generator's own entropy."""
        return self.nll_oracle - self.entropy


class RealData(NamedTuple):
    """What held-out real data have: the oracle's own NLL, its floor, and their copied share."""

    floor: float
    copied: float


def named(folders: Sequence[str]) -> dict[str, str]:
    """Last names of folders, by which table and picture call the runs -> folders.

    Raises:
      ConfigError: two share a name, or one has the control's.
    """
    names = {os.path.basename(os.path.normpath(folder)): folder for folder in folders}
    if len(names) < len(folders) or CONTROL in names or not all(folders):
        raise ConfigError(
            f"--runs={','.join(folders)}: give folders of different last names, none of them "
            f"{CONTROL}; they are the names in table and picture"
        )
    return names


class Sweep:
    """Sweeps runs over one set of data.

    Args of the constructor:
      folders: of the runs.

    Raises:
      ConfigError: one of them holds no run, no checkpoint, or is on other data than the first.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        self._runs = {folder: trained.read(folder) for folder in folders}
        self._hparams = self._runs[folders[0]].hparams
        for folder, run in self._runs.items():
            found = differences(to_dict(self._hparams.data), to_dict(run.hparams.data), "data.")
            if found:
                raise ConfigError(
                    f"--runs: {folder} is on other data than {folders[0]} ({'; '.join(found)}); "
                    "sweep runs on one set of data together"
                )
        built = experiment.build(self._hparams)
        self._oracle, self._test = built.oracle, built.test
        train, test = jax.device_get((built.train, built.test))
        self._copied = CopiedFraction(train.tokens, train.mask)
        self.real = RealData(-_mean(self._judged(built.test)), self._copied(test.tokens, test.mask))

    def temperatures(self, folder: str, temperatures: Sequence[float]) -> Curve:
        """One run at each temperature, the highest first.

        Args:
          folder: one of the constructor's.
          temperatures: divide the logits.

        Returns:
          A point a temperature, on `eval_samples` fresh sequences and all held-out ones.
        """
        curve = []
        for index, temperature in enumerate(sorted(temperatures, reverse=True)):
            samples = self._draw(folder, temperature, "sweep", index)
            host = jax.device_get(samples)
            curve.append(
                Point(
                    temperature,
                    -_mean(self._judged(samples)),
                    -_mean(self._likelihood(folder, temperature, self._test)),
                    -_mean(self._likelihood(folder, temperature, samples)),
                    self._copied(host.tokens, host.mask),
                )
            )
        return curve

    def mixtures(self, folder: str, low: float, shares: Sequence[float]) -> Curve:
        """A control without training: a share of the sequences at temperature `low`, the rest at 1.

        NLL_oracle is linear in such a share, NLL_test only pays its logarithm, -log(1 - share) / T,
        so that the pair flatters whatever is half sharp and half broad. KL(G || oracle) does not.

        Args:
          folder: one of the constructor's.
          low: the sharp part's temperature.
          shares: of the sharp part, each strictly between 0 and 1.

        Returns:
          A point a share, which stands in the place of its temperature.
        """
        both = (1.0, low)
        drawn = [self._draw(folder, t, "mixture", index) for index, t in enumerate(both)]
        judged = [_mean(self._judged(samples)) for samples in drawn]
        host = [jax.device_get(samples) for samples in drawn]
        copied = [self._copied(samples.tokens, samples.mask) for samples in host]
        length = self._hparams.data.length

        def log_likelihoods(samples: Samples) -> np.ndarray:  # [2, B], nats a sequence
            each = [np.asarray(self._likelihood(folder, t, samples)) for t in both]
            return np.stack(each) * length

        test, own = log_likelihoods(self._test), [log_likelihoods(samples) for samples in drawn]
        curve = []
        for share in shares:
            weights = np.log([[1.0 - share], [share]])
            entropies = [-np.logaddexp(*(lp + weights)).mean() / length for lp in own]
            curve.append(
                Point(
                    share,
                    -_mix(share, judged),
                    float(-np.logaddexp(*(test + weights)).mean() / length),
                    _mix(share, entropies),
                    _mix(share, copied),
                )
            )
        return curve

    def _draw(self, folder: str, temperature: float, use: str, index: int) -> Samples:
        run = self._runs[folder]
        return sample(
            tempered(run.models.language_model), (run.state.generator, temperature),
            jax.random.fold_in(run.state.subkey(use), index),
            batch_size=self._hparams.evaluation.eval_samples, length=self._hparams.data.length,
        )  # fmt: skip

    def _likelihood(self, folder: str, temperature: float, samples: Samples) -> Array:
        """Means over time of log-likelihoods, `[B]`."""
        run = self._runs[folder]
        params = run.state.generator, temperature
        return log_probs(tempered(run.models.language_model), params, samples.tokens).mean(axis=1)

    def _judged(self, samples: Samples) -> Array:
        oracle = self._oracle
        return log_probs(oracle.language_model, oracle.params, samples.tokens).mean(axis=1)


def _mean(values: Array) -> float:
    return float(np.mean(values))


def _mix(share: float, pair: Sequence[float]) -> float:
    return float((1.0 - share) * pair[0] + share * pair[1])


def nll_test_at(curve: Curve, nll_oracle: float) -> float | None:
    """NLL_test where a curve crosses an NLL_oracle, interpolated; None where it does not."""
    for one, other in itertools.pairwise(curve):
        low, high = sorted((one.nll_oracle, other.nll_oracle))
        if low <= nll_oracle <= high and low < high:
            share = (nll_oracle - one.nll_oracle) / (other.nll_oracle - one.nll_oracle)
            return one.nll_test + share * (other.nll_test - one.nll_test)
    return None


def table(real: RealData, curves: dict[str, Curve], nll_oracle: float) -> rich.table.Table:
    """Every point; below each curve, its NLL_test at the NLL_oracle asked for."""
    result = rich.table.Table(title="nats per token; a mixture's temperature is its sharp share")
    result.add_column("run")
    for name in ("temperature", "NLL_oracle", "NLL_test", "entropy"):
        result.add_column(name, justify="right")
    for name in ("KL(oracle||G)", "KL(G||oracle)", "copied"):
        result.add_column(name, justify="right")
    result.add_row("real data", "-", f"{real.floor:.3f}", *["-"] * 4, f"{real.copied:.4f}")
    result.add_section()
    for name, curve in curves.items():
        for point in curve:
            figures = (point.nll_oracle, point.nll_test, point.entropy)
            distances = (point.nll_test - real.floor, point.reverse_kl)
            result.add_row(
                name, f"{point.temperature:g}", *(f"{f:.3f}" for f in (*figures, *distances)),
                f"{point.copied:.4f}",
            )  # fmt: skip
        crossing = nll_test_at(curve, nll_oracle)
        found = "not crossed" if crossing is None else f"{crossing:.3f}"
        result.add_row(name, "interpolated", f"{nll_oracle:.3f}", found, *["-"] * 4)
        result.add_section()
    return result


def write(real: RealData, curves: dict[str, Curve], folder: str) -> None:
    """Writes sweep.json, every point of every curve, and sweep.png.

    Raises:
      ConfigError: the folder cannot be made or written.
    """
    points = {
        name: [point._asdict() | {"reverse_kl": point.reverse_kl} for point in curve]
        for name, curve in curves.items()
    }
    try:
        os.makedirs(folder, exist_ok=True)
        values = {"real": real._asdict(), "curves": points}
        workdir.write_json(os.path.join(folder, "sweep.json"), values)
        plot(curves, os.path.join(folder, "sweep.png"))
    except OSError as error:
        raise ConfigError(f"--out={folder}: cannot be written ({error.strerror})") from error


def plot(curves: dict[str, Curve], path: str) -> None:
    """Draws NLL_oracle against NLL_test; runs named alike but for a last -NUMBER share a colour."""
    figure = matplotlib.figure.Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.add_subplot()
    groups = list(dict.fromkeys(_group(name) for name in curves))
    labelled = set()
    for name, curve in curves.items():
        group = _group(name)
        index = groups.index(group)
        style: dict[str, Any] = {
            "color": _COLOURS[index % len(_COLOURS)], "marker": _MARKERS[index % len(_MARKERS)]
        }  # fmt: skip
        tests, oracles = [p.nll_test for p in curve], [p.nll_oracle for p in curve]
        label = group if group not in labelled else None
        labelled.add(group)
        axes.plot(tests, oracles, "-", linewidth=1, markersize=4, label=label, **style)
        trained_at = [p for p in curve if p.temperature == 1.0]
        for point in trained_at:
            axes.plot(point.nll_test, point.nll_oracle, markersize=9, **style)
    axes.set_xlabel("NLL_test, nats per token (lower: more diverse)")
    axes.set_ylabel("NLL_oracle, nats per token (lower: better)")
    axes.set_title("down and to the left is better; large: temperature 1", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    root, extension = os.path.splitext(path)
    partial = f"{root}.partial{extension}"
    figure.savefig(partial, dpi=120)
    os.replace(partial, path)


def _group(name: str) -> str:
    return re.sub(r"[-_]\d+$", "", name)
