"""Generators drawn at several temperatures: quality against diversity (arXiv 1811.02549)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
import rich.console

from seqgan_jax.checked import ConfigError, differences, to_dict
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.models.tempered import tempered
from seqgan_jax.reporting import evaluation_models, sweep_output
from seqgan_jax.reporting.evaluation_file import EvaluationFile
from seqgan_jax.reporting.evaluation_models import Measures, Model
from seqgan_jax.reporting.reading import Metrics, Point
from seqgan_jax.reporting.sweep_output import CONTROL, Swept
from seqgan_jax.training import experiment, workdir
from seqgan_jax.types import Samples, Sequences

ON_ORACLE = ("nll_test", "nll_oracle")  # diversity and quality
ON_REAL = ("self_bleu_5", "bleu_5")
_SHARES = (0.05, 0.1, 0.2, 0.3, 0.5)
_AT = 8.7  # NLL_oracle at which curves are compared


class Settings(NamedTuple):
    """What the flags of bin/evaluate.py ask for."""

    temperatures: list[float]
    mixture: float | None = None  # temperature of the control's sharp part
    at: float | None = None  # quality at which curves are compared
    out: str | None = None  # folder for the figures of all runs together
    num: int | None = None
    seed: int = 0
    shows_table: bool = True
    only_first: bool = False  # of each run the generator of maximum likelihood, where it is kept


def temperature_of(flag: str, text: str) -> float:
    """A flag's word as a temperature.

    Raises:
      ConfigError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1e-6 <= value <= 1e6:
        raise ConfigError(f"--{flag}={text}: must be a number from 0.000001 to 1,000,000")
    return value


def named(folders: Sequence[str]) -> dict[str, str]:
    """Last names of folders, by which table and picture call the runs -> folders.

    Raises:
      ConfigError: two share a name, or one has the control's.
    """
    names = {workdir.name_of(folder): folder for folder in folders}
    if len(names) < len(folders) or CONTROL in names:
        raise ConfigError(
            f"--workdir={','.join(folders)}: give folders of different last names, none of them "
            f"{CONTROL}; they are the names in table and picture"
        )
    return names


def run(folders: Sequence[str], settings: Settings, console: rich.console.Console) -> None:
    """Sweeps every generator of every run, prints the table and writes what has been measured.

    Each curve is written as soon as it is measured: into its run's evaluation.json and
    quality_diversity.png, and into `out` if that is given.

    Raises:
      ConfigError: a folder holds no run, runs are on different data, the control is asked for on
        real data, or a file cannot be written.
      DataError: a run's data or its evaluation.json cannot be read.
    """
    names = named(folders)
    temperatures = sorted(set(settings.temperatures), reverse=True)
    if not temperatures:
        raise ConfigError("--temperatures=: give at least one number above 0")
    sweep = Sweep(folders, settings.num, settings.seed)
    if settings.mixture is not None and sweep.axes != ON_ORACLE:
        raise ConfigError(
            f"--mixture={settings.mixture:g}: a control for NLL_oracle, which sees it least; leave "
            "it out where data are real"
        )
    everything = Swept(sweep.axes, sweep.real, {})
    for name, folder in names.items():
        file = EvaluationFile(
            folder, sweep.experiment.hparams.data.kind, sweep.experiment.sizes, sweep.number,
            settings.seed,
        )  # fmt: skip
        own = Swept(sweep.axes, sweep.real, {})
        models = sweep.models[folder]
        for model in models[:1] if settings.only_first else models:
            label = f"{name} {model.name}"
            console.print(f"{label}: {len(temperatures)} temperatures", highlight=False)
            curve = sweep.temperatures(model, temperatures)
            own.curves[model.name] = everything.curves[label] = curve
            file.set_sweep(sweep_output.as_json(own))
            sweep_output.draw(own, folder)
            if settings.out is not None:
                sweep_output.write(everything, settings.out)
    if settings.mixture is not None:
        newest = sweep.models[folders[0]][-1]
        everything.curves[CONTROL] = sweep.mixtures(newest, settings.mixture, _SHARES)
    at = settings.at
    if at is None and sweep.axes == ON_ORACLE:
        at = _AT
    if settings.shows_table:
        console.print(sweep_output.table(everything, at))
    if settings.out is not None:
        sweep_output.write(everything, settings.out)


class Sweep:
    """Sweeps runs over one set of data.

    Args of the constructor:
      folders: of the runs.
      num: sequences drawn at each temperature; None for as many as there are of real ones.
      seed: of the draws.

    Attributes:
      experiment: the first run's.
      number: sequences drawn at each temperature.
      axes: the metrics of diversity and of quality.
      models: of each folder.
      real: metrics of training data, but for copies; of an oracle, of held-out data, and
        `nll_test` is its own: no model has less.

    Raises:
      ConfigError: one of them holds no run, no checkpoint, or is on other data than the first; or
        `num` is out of range.
    """

    def __init__(self, folders: Sequence[str], num: int | None = None, seed: int = 0) -> None:
        self.models = {folder: evaluation_models.models(folder) for folder in folders}
        first = self.models[folders[0]][0].run.outline
        for folder, models in self.models.items():
            outline = models[0].run.outline
            found = differences(
                to_dict(first.hparams.data), to_dict(outline.hparams.data), "data."
            ) or differences(first.codec.to_json(), outline.codec.to_json(), "vocabulary.")
            if found:
                raise ConfigError(
                    f"--workdir: {folder} is on other data than {folders[0]} ({found[0]}); "
                    "sweep runs on one set of data together"
                )
        self.experiment = experiment.reopened(first.hparams, folders[0])
        self.number = evaluation_models.number_of_samples(self.experiment, num)
        self._seed, self._measures = seed, Measures(self.experiment)
        self.axes = ON_REAL if self.experiment.oracle is None else ON_ORACLE
        self.real = self._of_real()

    def temperatures(self, model: Model, temperatures: Sequence[float]) -> list[Point]:
        """One generator at each temperature.

        Args:
          model: one of `models`.
          temperatures: divide the logits.

        Returns:
          A point a temperature, on `number` fresh sequences and all held-out ones.
        """
        use = evaluation_models.use("sweep", self._seed)
        curve = []
        for index, temperature in enumerate(temperatures):
            samples = model.draw(self.number, use, temperature, index)
            metrics = self._of_samples(Sequences(*jax.device_get(samples)))
            metrics["nll_test"] = model.nll(self.experiment.test, temperature)
            metrics["entropy"] = model.nll(samples, temperature)
            curve.append(Point(temperature, metrics))
        return curve

    def mixtures(self, model: Model, low: float, shares: Sequence[float]) -> list[Point]:
        """A control without training: a share of the sequences at temperature `low`, the rest at 1.

        NLL_oracle is linear in such a share, NLL_test only pays its logarithm, -log(1 - share) / T,
        so that the pair flatters whatever is half sharp and half broad. KL(G || oracle) does not.

        Args:
          model: one of `models`, on an oracle.
          low: the sharp part's temperature.
          shares: of the sharp part, each strictly between 0 and 1.

        Returns:
          A point a share, which stands in the place of its temperature.

        Raises:
          ConfigError: there is no oracle; self-BLEU sees through such a mixture by itself.
        """
        if self.experiment.oracle is None:
            raise ConfigError(
                f"--mixture={low:g}: a control for NLL_oracle; of real data, leave out"
            )
        both, use = (1.0, low), evaluation_models.use("mixture", self._seed)
        drawn = [model.draw(self.number, use, t, index) for index, t in enumerate(both)]
        parts = [self._of_samples(Sequences(*jax.device_get(samples))) for samples in drawn]
        length = self.experiment.sizes.length  # an oracle's sequences all have it
        tempered_model = tempered(model.run.outline.models.language_model)

        def log_likelihoods(samples: Samples) -> np.ndarray:  # [2, B], nats a sequence
            each = [
                log_probs(tempered_model, (model.run.state.generator, t), samples.tokens)
                for t in both
            ]
            return np.stack([np.asarray(one.sum(axis=1)) for one in each])

        own = [log_likelihoods(samples) for samples in drawn]
        test = log_likelihoods(self.experiment.test)
        curve = []
        for share in shares:
            weights = np.log([[1.0 - share], [share]])
            entropies = [-np.logaddexp(*(each + weights)).mean() / length for each in own]
            metrics = {key: _mix(share, [part[key] for part in parts]) for key in parts[0]}
            metrics["nll_test"] = float(-np.logaddexp(*(test + weights)).mean() / length)
            metrics["entropy"] = _mix(share, entropies)
            curve.append(Point(share, metrics))
        return curve

    def _of_samples(self, samples: Sequences) -> Metrics:
        """Quality and copying; where there is no oracle, diversity and length, too."""
        copied = {"copied_ngrams": self._measures.scorer.copied_ngrams(samples)}
        if self.experiment.oracle is not None:
            return self._measures.oracle(samples) | copied
        scorer = self._measures.scorer
        length = {"mean_length": scorer.mean_length(samples)}
        return scorer.bleu(samples) | scorer.self_bleu(samples) | length | copied

    def _of_real(self) -> Metrics:
        if self.experiment.oracle is not None:
            test = self._measures.test
            copied = self._measures.scorer.copied_ngrams(test)
            floor = self._measures.oracle(test)["nll_oracle"]
            return dict.fromkeys(("nll_oracle", "nll_test", "entropy"), floor) | {
                "copied_ngrams": copied
            }
        # What a perfect generator would give: as many draws of what the held-out ones are held to.
        few = evaluation_models.chosen(self._measures.train, self.number, self._seed, "train")
        metrics = self._of_samples(few)
        del metrics["copied_ngrams"]  # all of them: they are training sequences
        return metrics


def _mix(share: float, pair: Sequence[float]) -> float:
    return float((1.0 - share) * pair[0] + share * pair[1])
