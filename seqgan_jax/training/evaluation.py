"""What is measured of a state, on fresh samples."""

from __future__ import annotations

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from seqgan_jax.methods.state import TrainState
from seqgan_jax.metrics import discrimination
from seqgan_jax.metrics.diversity import CopiedFraction, distinct_fraction
from seqgan_jax.metrics.likelihood import negative_log_likelihood
from seqgan_jax.metrics.scorer import Scorer, words
from seqgan_jax.search.likelihood_ratio import verdict_reward
from seqgan_jax.search.rewards import scores
from seqgan_jax.search.sampling import sample
from seqgan_jax.training.experiment import Experiment
from seqgan_jax.training.sharding import Layout, on_host
from seqgan_jax.types import Array, LabelledBatch, LanguageModel, Params, Samples, Sequences

# Sequences of each kind on which the discriminator's accuracy is measured: a standard error of
# about one percent, at a cost that a run does not feel.
_JUDGED = 1_000
# Samples whose BLEU and self-BLEU are taken while training; the standard error is below 0.01.
_SCORED = 2_000

# One for all evaluators of a process.
_compiled_nll = jax.jit(negative_log_likelihood, static_argnames="language_model")


def _nll(language_model: LanguageModel, params: Params, samples: Samples) -> float:
    """NLL, once every device has it: see `hosts.gathered`."""
    return float(jax.block_until_ready(_compiled_nll(language_model, params, samples)))


def _as_they_are(sequences: Samples | Sequences) -> Samples:
    return Samples(*(jnp.asarray(leaf) for leaf in sequences))


class Evaluator:
    """Measures states of one experiment; its functions compile once."""

    def __init__(self, experiment: Experiment, layout: Layout | None = None) -> None:
        self._experiment = experiment
        # Without a layout all lies on one device.
        self._rows = _as_they_are if layout is None else layout.rows
        self._num_samples = experiment.hparams.evaluation.eval_samples
        train, test = (Sequences(*jax.device_get(x)) for x in (experiment.train, experiment.test))
        self.codec = codec = experiment.codec
        self._words = functools.partial(words, end_token=codec.end_token)
        self._test = self._words(test)
        self._copied = CopiedFraction(*self._words(train))
        # Files may be sorted: what is measured of some held-out sequences is of a fixed draw.
        order = np.random.default_rng(0).permutation(len(test.tokens))
        self._held_out = Sequences(*(leaf[order] for leaf in test))
        self._judged_by = self._rows(
            Sequences(*(leaf[: self._num_samples] for leaf in self._held_out))
        )
        self._scorer = Scorer(train, test, codec.end_token, codec.unknown_token)
        # Self-BLEU compares equal numbers of samples and of real sequences.
        self._num_scored = min(_SCORED, self._num_samples, len(train.tokens))
        # Training sequences are to the held-out ones what a perfect generator's samples would be.
        rows = np.random.default_rng(0).permutation(len(train.tokens))[: self._num_samples]
        self._few_real = Sequences(*(leaf[rows[: self._num_scored]] for leaf in train))
        # Different sequences among as many real ones, or as there are, as a share of the samples.
        real = train.tokens[rows]
        self.distinct_real = distinct_fraction(real) * len(real) / self._num_samples
        if experiment.oracle is not None:
            self._nll_oracle = functools.partial(
                _nll, experiment.oracle.language_model, jax.device_get(experiment.oracle.params)
            )
        self._nll = functools.partial(_nll, experiment.models.language_model)
        self._logits = jax.jit(self._judge)

    @functools.cached_property
    def limits(self) -> dict[str, float]:
        """What real data have: copies among held-out ones, and the oracle's own NLL, or BLEU.

        Beside the floor the ceiling, uniform tokens' NLL. Measured when first asked for, so that
        training need not wait.
        """
        experiment = self._experiment
        copied = {"copied_heldout": self._copied(*self._test)}
        if experiment.oracle is None:
            real = self._scorer.bleu(self._few_real) | self._scorer.self_bleu(self._few_real)
            return copied | {f"{name}_real": value for name, value in real.items()}
        # Held-out data are the oracle's own samples: no others need be drawn.
        mask = self._held_out.mask[: self._num_samples]
        kind = jax.random.key(0, impl="threefry2x32")
        key = jax.random.fold_in(kind, zlib.crc32(b"ceiling"))
        uniform = jax.random.randint(
            key, mask.shape, 0, experiment.oracle.language_model.vocab_size
        )
        ceiling = self._rows(Sequences(np.asarray(uniform), mask))
        return copied | {
            "nll_oracle_floor": self._nll_oracle(self._judged_by),
            "nll_oracle_ceiling": self._nll_oracle(ceiling),
        }

    def generator(self, state: TrainState) -> dict[str, float]:
        """NLL_test, entropy (nats per token), distinct and copied fractions; and of quality:

        NLL_oracle where there is an oracle, else BLEU, self-BLEU and the mean length in words.
        """
        samples = self.samples(state, self._num_samples, "evaluation")
        host = Sequences(*on_host(samples))
        return {
            **self._quality(samples, host),
            "nll_test": self._nll(state.generator, self._judged_by),
            "entropy": self._nll(state.generator, samples),
            "distinct": distinct_fraction(host.tokens),
            "copied": self._copied(*self._words(host)),
            **self.limits,
        }

    def _quality(self, samples: Samples, host: Sequences) -> dict[str, float]:
        if self._experiment.oracle is not None:
            return {"nll_oracle": self._nll_oracle(samples)}
        few = Sequences(*(leaf[: self._num_scored] for leaf in host))
        return {
            **self._scorer.bleu(few),
            **self._scorer.self_bleu(few),
            "mean_length": float(self._words(few).mask.sum(1).mean()),
        }

    def discriminator(self, state: TrainState, trained_on: LabelledBatch) -> dict[str, float]:
        """Accuracy and AUC on what it was trained on, and on held-out data and fresh samples."""
        half = trained_on.tokens.shape[0] // 2
        test = self._held_out
        number = min(_JUDGED, half, test.tokens.shape[0])
        samples = Sequences(*on_host(self.samples(state, number, "judged")))
        train_on = Sequences(*on_host((trained_on.tokens, trained_on.mask)))
        logits = {
            name: on_host(
                self._logits(state.generator, state.discriminator, tokens[:number], mask[:number])
            )
            for name, tokens, mask in (
                ("train_real", *train_on),
                ("train_fake", train_on.tokens[half:], train_on.mask[half:]),
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
            batch_size=number, length=self._experiment.sizes.length,
        )  # fmt: skip

    def _judge(self, generator: Params, discriminator: Params, tokens: Array, mask: Array) -> Array:
        """The discriminator's logits, `[B]`."""
        models = self._experiment.models
        judge = verdict_reward(
            models.classifier, discriminator, models.language_model, generator, "logit"
        )
        return scores(judge, tokens, mask)
