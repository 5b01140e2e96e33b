"""Reads a trained generator back from a run's folder."""

from __future__ import annotations

import os
from typing import NamedTuple

import jax

from seqgan_jax.checked import ConfigError
from seqgan_jax.hparams import HParams
from seqgan_jax.methods.state import TrainState
from seqgan_jax.search.sampling import sample
from seqgan_jax.training import checkpoint, experiment, workdir
from seqgan_jax.training.loop import CHECKPOINTS_FOLDER, format_samples


class Trained(NamedTuple):
    """A run's settings, its models, and the state of its newest checkpoint."""

    hparams: HParams
    models: experiment.Models
    state: TrainState


def read(folder: str) -> Trained:
    """Reads the newest checkpoint of a run.

    Raises:
      ConfigError: no run or no checkpoint there.
    """
    hparams = workdir.read_hparams(folder)
    models = experiment.build_models(hparams)
    path = os.path.join(folder, CHECKPOINTS_FOLDER)
    checkpoints = checkpoint.Checkpoints(path) if os.path.isdir(path) else None
    if checkpoints is None or checkpoints.newest() is None:
        raise ConfigError(f"{folder}: no checkpoint in {path} yet; train first")
    state, _ = checkpoints.restore(jax.eval_shape(models.method.init_state, jax.random.key(0)))
    checkpoints.close()
    return Trained(hparams, models, state)


def write_samples(
    folder: str,
    *,
    number: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
) -> str:
    """Draws sequences from the newest checkpoint of a run.

    Args:
      folder: the run's folder.
      number: sequences to draw.
      temperature: divides the logits.
      top_k: draw from the k likeliest tokens only; None for all.
      top_p: draw from the nucleus of this probability only; None for all.
      seed: of the draw.

    Returns:
      A sequence a line, as token ids.

    Raises:
      ConfigError: no run or no checkpoint there, or an argument is out of range.
    """
    hparams, models, state = read(folder)
    try:
        samples = sample(
            models.language_model, state.generator, jax.random.key(seed),
            batch_size=number, length=hparams.data.length,
            temperature=temperature, top_k=top_k, top_p=top_p,
        )  # fmt: skip
    except ValueError as error:
        raise ConfigError(f"--num={number}: {error}" if number < 1 else f"--{error}") from error
    return format_samples(samples)
