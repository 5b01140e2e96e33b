"""Builds what a run needs from its settings: models, oracle, data, method."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import jax

from seqgan_jax.checked import ConfigError
from seqgan_jax.hparams import HParams
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.registry import METHODS
from seqgan_jax.models.density import density
from seqgan_jax.models.discriminator import text_cnn
from seqgan_jax.models.generator import gru, lstm
from seqgan_jax.models.oracle import Oracle, init_oracle, load_oracle
from seqgan_jax.search.sampling import sample
from seqgan_jax.types import Array, LanguageModel, Samples, SequenceClassifier


class Models(NamedTuple):
    """The players and the method that trains them."""

    language_model: LanguageModel
    classifier: SequenceClassifier
    method: Method


class Experiment(NamedTuple):
    """Everything fixed in a run."""

    models: Models
    oracle: Oracle
    train: Samples  # [num_train, T]
    test: Samples  # [num_test, T]


def build_models(hparams: HParams) -> Models:
    """Builds generator, discriminator and method; touches no data."""
    vocab_size = hparams.data.vocab_size
    recurrent = {"lstm": lstm, "gru": gru}[hparams.model.cell]
    language_model = recurrent(
        vocab_size, hparams.model.embed_dim, hparams.model.hidden_dim,
        init_scale=hparams.model.init_scale,
    )  # fmt: skip
    settings = hparams.discriminator
    if settings.kind == "density":
        model = recurrent(
            vocab_size, settings.embed_dim, settings.hidden_dim, init_scale=hparams.model.init_scale
        )
        classifier = density(model, settings.dropout_rate)
    else:
        classifier = text_cnn(
            vocab_size, settings.embed_dim, settings.filters,
            dropout_rate=settings.dropout_rate, softmax_head=settings.softmax_head,
        )  # fmt: skip
    method = METHODS[hparams.method](language_model, classifier, hparams.training)
    return Models(language_model, classifier, method)


def build(hparams: HParams) -> Experiment:
    """Builds an experiment; its data depends on `hparams.data` alone.

    Raises:
      ConfigError: the oracle file is missing, damaged, or of another vocabulary.
    """
    oracle = build_oracle(hparams)
    train, test = (
        sample(
            oracle.language_model, oracle.params, _data_key(hparams, use),
            batch_size=size, length=hparams.data.length,
        )
        for use, size in (("train", hparams.data.num_train), ("test", hparams.data.num_test))
    )  # fmt: skip
    return Experiment(build_models(hparams), oracle, train, test)


def build_oracle(hparams: HParams) -> Oracle:
    """The oracle that `hparams.data` describes."""
    data = hparams.data
    if not data.oracle_path:
        return init_oracle(
            _data_key(hparams, "oracle"), data.vocab_size, data.oracle_embed_dim,
            data.oracle_hidden_dim,
        )  # fmt: skip
    try:
        oracle = load_oracle(data.oracle_path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"config.data.oracle_path={data.oracle_path!r}: {error}") from error
    if oracle.language_model.vocab_size != data.vocab_size:
        raise ConfigError(
            f"config.data.vocab_size={data.vocab_size}: the oracle in {data.oracle_path} has "
            f"{oracle.language_model.vocab_size} tokens; give --config.data.vocab_size="
            f"{oracle.language_model.vocab_size}"
        )
    return oracle


def _data_key(hparams: HParams, use: str) -> Array:
    return jax.random.fold_in(jax.random.key(hparams.data.seed), zlib.crc32(use.encode()))
