"""What is measured of a state, on fresh samples."""

from __future__ import annotations

import functools
import zlib

import jax
import numpy as np

from seqgan_jax.hparams import HParams
from seqgan_jax.methods.state import TrainState
from seqgan_jax.metrics import discrimination
from seqgan_jax.metrics.diversity import CopiedFraction, distinct_fraction
from seqgan_jax.metrics.likelihood import negative_log_likelihood
from seqgan_jax.search.likelihood_ratio import against_generator
from seqgan_jax.search.rewards import discriminator_reward
from seqgan_jax.search.sampling import sample
from seqgan_jax.training.experiment import Experiment
from seqgan_jax.types import Array, LabelledBatch, Params, Samples

# Sequences of each kind on which the discriminator's accuracy is measured: a standard error of
# about one percent, at a cost that a run does not feel.
_JUDGED = 1_000


class Evaluator:
    """Measures states of one experiment; its functions compile once."""

    def __init__(self, hparams: HParams, experiment: Experiment) -> None:
        self._experiment = experiment
        self._length = hparams.data.length
        self._num_samples = hparams.evaluation.eval_samples
        train = jax.device_get(experiment.train)
        self._copied = CopiedFraction(train.tokens, train.mask)
        nll = functools.partial(
            negative_log_likelihood, experiment.oracle.language_model, experiment.oracle.params
        )
        self._nll_oracle = jax.jit(nll)
        self._nll = jax.jit(
            functools.partial(negative_log_likelihood, experiment.models.language_model)
        )
        self._logits = jax.jit(self._judge)

    @functools.cached_property
    def limits(self) -> dict[str, float]:
        """The oracle's floor (its own NLL) and ceiling (uniform tokens); real data's copying.

        Measured when first asked for, so that training need not wait.
        """
        experiment = self._experiment
        # Held-out data are the oracle's own samples: no others need be drawn.
        test = Samples(*(leaf[: self._num_samples] for leaf in experiment.test))
        key = jax.random.fold_in(jax.random.key(0), zlib.crc32(b"ceiling"))
        uniform = jax.random.randint(
            key, test.tokens.shape, 0, experiment.oracle.language_model.vocab_size
        )
        real = jax.device_get(experiment.test)
        return {
            "nll_oracle_floor": float(self._nll_oracle(test)),
            "nll_oracle_ceiling": float(self._nll_oracle(Samples(uniform, test.mask))),
            "copied_heldout": self._copied(real.tokens, real.mask),
        }

    def generator(self, state: TrainState) -> dict[str, float]:
        """NLL_oracle, NLL_test, entropy (nats per token), distinct and copied fractions."""
        samples = self.samples(state, self._num_samples, "evaluation")
        test = Samples(*(leaf[: self._num_samples] for leaf in self._experiment.test))
        host = jax.device_get(samples)
        return {
            "nll_oracle": float(self._nll_oracle(samples)),
            "nll_test": float(self._nll(state.generator, test)),
            "entropy": float(self._nll(state.generator, samples)),
            "distinct": distinct_fraction(host.tokens),
            "copied": self._copied(host.tokens, host.mask),
            **self.limits,
        }

    def discriminator(self, state: TrainState, trained_on: LabelledBatch) -> dict[str, float]:
        """Accuracy and AUC on what it was trained on, and on held-out data and fresh samples."""
        half = trained_on.tokens.shape[0] // 2
        number = min(_JUDGED, half, self._experiment.test.tokens.shape[0])
        samples = self.samples(state, number, "judged")
        test = self._experiment.test
        logits = {
            name: np.asarray(
                self._logits(state.generator, state.discriminator, tokens[:number], mask[:number])
            )
            for name, tokens, mask in (
                ("train_real", trained_on.tokens, trained_on.mask),
                ("train_fake", trained_on.tokens[half:], trained_on.mask[half:]),
                ("heldout_real", test.tokens, test.mask),
                ("heldout_fake", samples.tokens, samples.mask),
            )
        }
        train = logits["train_real"], logits["train_fake"]
        heldout = logits["heldout_real"], logits["heldout_fake"]
        return {
            "d_accuracy_train": discrimination.accuracy(*train),
            "d_accuracy_heldout": discrimination.accuracy(*heldout),
            "d_auc_train": discrimination.area_under_curve(*train),
            "d_auc_heldout": discrimination.area_under_curve(*heldout),
        }

    def samples(self, state: TrainState, number: int, use: str) -> Samples:
        """Fresh samples of the generator; they depend on the state and on their use alone."""
        return sample(
            self._experiment.models.language_model, state.generator, state.subkey(use),
            batch_size=number, length=self._length,
        )  # fmt: skip

    def _judge(self, generator: Params, discriminator: Params, tokens: Array, mask: Array) -> Array:
        """The discriminator's logits, `[B]`."""
        models = self._experiment.models
        judge = against_generator(models.classifier, models.language_model, generator)
        return discriminator_reward(judge, discriminator, "logit")(tokens, mask)
