"""The generators that a run has kept, and what is measured of them and of any sequences."""

from __future__ import annotations

import os
import zlib
from typing import NamedTuple

import jax
import numpy as np

from seqgan_jax.checked import ConfigError, DataError
from seqgan_jax.data.pitch_codec import PitchCodec, pitches
from seqgan_jax.metrics.lm_score import mean_nll
from seqgan_jax.metrics.pitch import nearest_pitch_mse, pitch_mse
from seqgan_jax.metrics.scorer import Scorer
from seqgan_jax.models.tempered import tempered
from seqgan_jax.reporting.reading import Metrics
from seqgan_jax.reporting.table import METHODS, start_name
from seqgan_jax.search.sampling import sample
from seqgan_jax.training import plan, trained, writers
from seqgan_jax.training.experiment import Experiment
from seqgan_jax.types import Samples, Sequences

_MOST = 10_000  # sequences measured, unless more are asked for


class Model(NamedTuple):
    """A generator at one point of its training."""

    name: str
    source: str  # "pretrained" or "generator"
    run: trained.Trained

    def draw(self, number: int, use: str, temperature: float = 1.0, index: int = 0) -> Samples:
        """Draws sequences.

        Args:
          number: B.
          use: of the key; draws of another use or index are others.
          temperature: divides the logits.
          index: of the draw.

        Returns:
          Tokens and mask `[B, T]`.
        """
        outline, state, _ = self.run
        return sample(
            tempered(outline.models.language_model), (state.generator, temperature),
            jax.random.fold_in(state.subkey(use), index),
            batch_size=number, length=outline.sizes.length,
        )  # fmt: skip

    def nll(self, samples: Samples, temperature: float = 1.0) -> float:
        """NLL of sequences `[B, T]` under the generator at a temperature, nats per token."""
        model = tempered(self.run.outline.models.language_model)
        return mean_nll(model, (self.run.state.generator, temperature), samples)


def models(folder: str) -> list[Model]:
    """The generator of maximum likelihood, where one is kept beside, and the newest.

    Raises:
      ConfigError: no run or no checkpoint there.
      DataError: the run's own copy of its data is missing or damaged.
    """
    newest = trained.read(folder)
    method = newest.outline.hparams.method
    name = METHODS.get(method, method)
    if trained.has_pretrained(folder):
        pretrained = trained.read(folder, pretrained=True)
        return [
            Model(start_name(method), "pretrained", pretrained),
            Model(name, "generator", newest),
        ]
    # Runs of earlier versions went on without keeping the generator of maximum likelihood.
    path = os.path.join(folder, writers.FILE_NAME)
    lines = writers.read_metrics(folder) if os.path.exists(path) else []
    went_on = any(line["phase"] == plan.ADVERSARIAL for line in lines)
    return [Model(name if went_on else start_name(method), "generator", newest)]


def use(name: str, seed: int) -> str:
    """The use of a key under a seed; seed 0 goes without, as it did before there was one."""
    return f"{name}{seed or ''}"


def number_of_samples(experiment: Experiment, asked: int | None) -> int:
    """How many sequences are measured of each kind: as many as were asked for, or all up to 10,000.

    Raises:
      ConfigError: more than there are of real ones, or fewer than two.
      DataError: there are not even two to compare.
    """
    sizes = experiment.sizes
    available = {"test": sizes.num_test, "training": sizes.num_train}
    kind = min(available, key=available.__getitem__)
    most = available[kind]
    if most < 2:
        path = getattr(experiment.hparams.data, "path", "")
        raise DataError(
            f"{path or 'the data'}: only {most} {kind} sequence, and evaluation needs 2 of each "
            "kind; train on more lines, with a larger data.test_fraction, or with data.test_path"
        )
    if asked is None:
        return min(_MOST, most)
    if not 2 <= asked <= most:
        raise ConfigError(
            f"--num={asked}: must be in 2..{most}, the number of {kind} sequences, so that real "
            "ones can be compared in equal number"
        )
    return asked


def chosen(sequences: Sequences, number: int, seed: int, use: str) -> Sequences:
    """So many of the sequences `[B, T]`, always the same under one seed and for one use."""
    random = np.random.default_rng([seed, zlib.crc32(use.encode())])
    rows = np.sort(random.permutation(len(sequences.tokens))[:number])
    return Sequences(*(leaf[rows] for leaf in sequences))


class Measures:
    """What can be measured of sequences by their tokens, and by the oracle where there is one.

    Args of the constructor:
      experiment: whose data they are held against.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self.train, self.test = (
            Sequences(*jax.device_get(x)) for x in (experiment.train, experiment.test)
        )
        codec = experiment.codec
        self.scorer = Scorer(self.train, self.test, codec.end_token, codec.unknown_token)

    def of(self, sequences: Sequences) -> Metrics:
        """BLEU of all kinds, variety, distances to the test set, NLL_oracle: what is at hand."""
        scorer = self.scorer
        return {
            **self.oracle(sequences),
            **scorer.bleu(sequences),
            **scorer.self_bleu(sequences),
            **scorer.backward_bleu(sequences),
            **scorer.variety(sequences),
            **self._pitch(sequences),
        }

    def of_held_out(self, some: Sequences) -> Metrics:
        """The same of test sequences, less what compares them with themselves.

        Args:
          some: those whose number matters: for self-BLEU and variety. BLEU, the mean pitch distance
            and NLL_oracle are of all, BLEU and pitch each of one against all others.
        """
        against_test = ("length_distance", "jsd_")
        variety = self.scorer.variety(some)
        return {
            **self.oracle(self.test),
            **self.scorer.held_out_bleu(),
            **self.scorer.self_bleu(some),
            **{k: value for k, value in variety.items() if not k.startswith(against_test)},
            **self._held_out_pitch(),
        }

    def oracle(self, sequences: Sequences) -> Metrics:
        """`nll_oracle`, nats per token; nothing where there is no oracle."""
        oracle = self._experiment.oracle
        if oracle is None:
            return {}
        nll = mean_nll(oracle.language_model, oracle.params, sequences)
        return {"nll_oracle": nll}

    def _pitch(self, sequences: Sequences) -> Metrics:
        if not isinstance(self._experiment.codec, PitchCodec):
            return {}
        one, other = pitches(sequences.tokens), pitches(self.test.tokens)
        return {
            "pitch_mse": pitch_mse(one, other),
            "nearest_pitch_mse": nearest_pitch_mse(one, other),
        }

    def _held_out_pitch(self) -> Metrics:
        """Over all pairs of two test sequences but those of one with itself, which add no error."""
        if not isinstance(self._experiment.codec, PitchCodec):
            return {}
        pitch = pitches(self.test.tokens)
        sounding = (~np.isnan(pitch)).sum(axis=0).astype(np.float64)
        pairs, own = (sounding**2).sum(), sounding.sum()
        if pairs == own:
            return {}
        return {"pitch_mse": pitch_mse(pitch, pitch) * float(pairs / (pairs - own))}
