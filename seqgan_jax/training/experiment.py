"""Builds what a run needs from its settings: data, oracle, models, method."""

from __future__ import annotations

import dataclasses
import zlib
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqgan_jax.checked import ConfigError
from seqgan_jax.data.dataset import Codec, Dataset, Progress
from seqgan_jax.data.ids import IdCodec
from seqgan_jax.data_hparams import DataSizes, OracleDataHParams
from seqgan_jax.hparams import HParams
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.state import TrainState
from seqgan_jax.models.bigru import bigru
from seqgan_jax.models.density import density
from seqgan_jax.models.discriminator import text_cnn
from seqgan_jax.models.generator import gru, lstm, parameter_count
from seqgan_jax.models.oracle import Oracle, init_oracle, load_oracle
from seqgan_jax.search.sampling import sample
from seqgan_jax.training import own_method, real_data
from seqgan_jax.training.fitting import fitted
from seqgan_jax.types import Array, LanguageModel, Samples, SequenceClassifier, Sequences


class Models(NamedTuple):
    """The players and the method that trains them."""

    language_model: LanguageModel
    classifier: SequenceClassifier
    method: Method


class Experiment(NamedTuple):
    """Everything fixed in a run."""

    hparams: HParams  # as the run goes by them: fitted to the data
    sizes: DataSizes
    models: Models
    codec: Codec
    oracle: Oracle | None  # None where the data are real
    train: Samples  # [num_train, T]
    test: Samples  # [num_test, T]
    notes: tuple[str, ...]  # what was left out of the data or lowered in the settings


class Outline(NamedTuple):
    """An experiment without its data: enough to draw from a trained generator."""

    hparams: HParams
    sizes: DataSizes
    models: Models
    codec: Codec


def _recurrent(hparams: HParams, codec: Codec, embed_dim: int, hidden_dim: int) -> LanguageModel:
    make = {"lstm": lstm, "gru": gru}[hparams.model.cell]
    return make(
        codec.vocab_size, embed_dim, hidden_dim, codec.start_token,
        end_token=codec.end_token, pad_token=codec.pad_token, draws_pad=codec.pad_is_token,
        init_scale=hparams.model.init_scale, precision=hparams.precision,
    )  # fmt: skip


def build_generator(hparams: HParams, codec: Codec) -> LanguageModel:
    """The generator alone."""
    model = _recurrent(hparams, codec, hparams.model.embed_dim, hparams.model.hidden_dim)
    return dataclasses.replace(model, unknown_token=codec.unknown_token)


def build_models(
    hparams: HParams, codec: Codec | None = None, train: Samples | None = None, folder: str = ""
) -> Models:
    """Builds generator, discriminator and method.

    Args:
      hparams: the experiment.
      codec: knows the vocabulary; by default, an oracle's.
      train: the training sequences, which some methods look things up in; None where nothing is
        to be trained.
      folder: of the run, if there is one: it keeps the file of a user's own method.

    Returns:
      The models.

    Raises:
      ConfigError: the method asks for what the other settings do not give, or its file is bad.
    """
    codec = codec or IdCodec(hparams.sizes.vocab_size)
    generator = build_generator(hparams, codec)
    settings = hparams.discriminator
    if settings.kind == "density":
        model = _recurrent(hparams, codec, settings.embed_dim, settings.hidden_dim)
        classifier = density(model, settings.dropout_rate)
    elif settings.kind == "bigru":
        classifier = bigru(
            codec.vocab_size, settings.embed_dim, settings.hidden_dim,
            dropout_rate=settings.dropout_rate, precision=hparams.precision,
        )  # fmt: skip
    else:
        classifier = text_cnn(
            codec.vocab_size, settings.embed_dim, settings.filters,
            dropout_rate=settings.dropout_rate, softmax_head=settings.softmax_head,
            precision=hparams.precision,
        )  # fmt: skip
    make = own_method.find(hparams.method, folder)
    try:
        method = make(generator, classifier, hparams.training, train)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"config.method={hparams.method}: {error}") from error
    if not isinstance(method, Method):
        raise ConfigError(
            f"config.method={hparams.method}: its function returns {type(method).__name__}; must "
            "be a seqgan_jax.Method"
        )
    return Models(generator, classifier, method)


def outline(hparams: HParams, folder: str) -> Outline:
    """A run's models and codec, from its settings and what is kept in its folder.

    Raises:
      DataError: the run is on real data, and its encoded data in the folder are missing or damaged.
    """
    if isinstance(hparams.data, OracleDataHParams):
        codec: Codec = IdCodec(hparams.data.vocab_size)
        sizes = hparams.sizes
    else:
        dataset = real_data.kept(folder)
        codec, sizes = dataset.codec, sizes_of(dataset)
        hparams, _ = fitted(hparams, sizes)
    return Outline(hparams, sizes, build_models(hparams, codec, folder=folder), codec)


def build(hparams: HParams, folder: str, progress: Progress | None = None) -> Experiment:
    """Builds an experiment; its data depend on `hparams.data` alone.

    Args:
      hparams: the experiment.
      folder: of the run; real data are read from what is kept there, or kept there once read.
      progress: told the share of a file that has been read.

    Raises:
      ConfigError: the oracle file is missing, damaged, or of another vocabulary; or the settings
        do not fit the data.
      DataError: the data cannot be read.
    """
    if isinstance(hparams.data, OracleDataHParams):
        return _on_oracle(hparams, hparams.data, folder)
    return _on_dataset(hparams, real_data.load(hparams.data, folder, progress), folder)


def reopened(hparams: HParams, folder: str) -> Experiment:
    """The experiment of a run that has begun.

    Real data are those in its folder, whatever became of the files that they were read from.

    Raises:
      ConfigError: as of `build`.
      DataError: the encoded data in the folder are missing or damaged.
    """
    if isinstance(hparams.data, OracleDataHParams):
        return _on_oracle(hparams, hparams.data, folder)
    return _on_dataset(hparams, real_data.kept(folder), folder)


def _on_dataset(hparams: HParams, dataset: Dataset, folder: str) -> Experiment:
    sizes = sizes_of(dataset)
    hparams, lowered = fitted(hparams, sizes)
    train = _on_device(dataset.train)
    models = build_models(hparams, dataset.codec, train, folder)
    return Experiment(
        hparams, sizes, models, dataset.codec, None,
        train, _on_device(dataset.test), (*dataset.notes, *lowered),
    )  # fmt: skip


def sizes_of(dataset: Dataset) -> DataSizes:
    """The sizes of data read from files."""
    num_train, length = dataset.train.tokens.shape
    return DataSizes(dataset.codec.vocab_size, length, num_train, len(dataset.test.tokens))


def _on_device(sequences: Sequences) -> Samples:
    return Samples(jnp.asarray(sequences.tokens), jnp.asarray(sequences.mask))


def _on_oracle(hparams: HParams, data: OracleDataHParams, folder: str) -> Experiment:
    oracle = build_oracle(data)
    train, test = (
        sample(
            oracle.language_model, oracle.params, _data_key(data, use),
            batch_size=size, length=data.length,
        )
        for use, size in (("train", data.num_train), ("test", data.num_test))
    )  # fmt: skip
    codec = IdCodec(data.vocab_size)
    models = build_models(hparams, codec, train, folder)
    return Experiment(hparams, hparams.sizes, models, codec, oracle, train, test, ())


def described(experiment: Experiment, state: TrainState, mesh: tuple[int, int]) -> str:
    """Method, number of parameters, and devices along data and model."""
    judge = f"discriminator {parameter_count(state.discriminator):,}"
    if not experiment.models.method.uses_discriminator:
        judge = "no discriminator"
    return (
        f"{experiment.hparams.method}, generator {parameter_count(state.generator):,} parameters, "
        f"{judge}, on {mesh[0] * mesh[1]} x {jax.devices()[0].device_kind}"
        + (f", mesh {mesh[0]} x {mesh[1]}" if mesh[1] > 1 else "")
    )


def build_oracle(data: OracleDataHParams) -> Oracle:
    """The oracle that the settings describe; in float32 always, being what others are held to."""
    if not data.oracle_path:
        return init_oracle(
            _data_key(data, "oracle"), data.vocab_size, data.oracle_embed_dim,
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


def _data_key(data: OracleDataHParams, use: str) -> Array:
    return jax.random.fold_in(jax.random.key(data.seed), zlib.crc32(use.encode()))
