"""Reads a trained generator back from a run's folder, and draws from it."""

from __future__ import annotations

import functools
import os
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqgan_jax.capacity import most_written
from seqgan_jax.checked import ConfigError, DataError
from seqgan_jax.methods.state import TrainState
from seqgan_jax.search.sampling import sample
from seqgan_jax.training import checkpoint, experiment, workdir
from seqgan_jax.training.early_stopping import initial_state
from seqgan_jax.training.standard_output import say
from seqgan_jax.types import Sequences


class Trained(NamedTuple):
    """What a run is made of, and a state of it."""

    outline: experiment.Outline
    state: TrainState
    progress: checkpoint.Progress


def read(folder: str, pretrained: bool = False, *, best: bool = False) -> Trained:
    """Reads a checkpoint of a run; of those that are damaged it says so on standard error.

    Args:
      folder: of the run.
      pretrained: the one after maximum likelihood, in place of the newest.
      best: the best that is kept, by `evaluation.best_metric`, in place of the newest.

    Raises:
      ConfigError: no run or no checkpoint there, or none that is whole; both `pretrained` and
        `best` are asked for.
      DataError: the run's own copy of its data is missing or damaged.
    """
    if pretrained and best:
        raise ConfigError("--best, --pretrained: two checkpoints; give one of the two")
    hparams = workdir.read_hparams(folder)
    outline = experiment.outline(hparams, folder)
    name = checkpoint.PRETRAINED_FOLDER if pretrained else checkpoint.FOLDER
    path = os.path.join(folder, name)
    checkpoints = checkpoint.Checkpoints(path, workdir.identity(hparams))
    calls = checkpoints.newest(say)
    if calls is None:
        there = os.path.isdir(os.path.join(folder, checkpoint.PRETRAINED_FOLDER))
        hint = "; the one after maximum likelihood is there (--pretrained)" if there else ""
        raise ConfigError(f"{folder}: no checkpoint in {path} yet; train first{hint}")
    if best:
        if hparams.evaluation.keep_best == 0:
            raise ConfigError(f"{folder}: no best checkpoint is kept; evaluation.keep_best is 0")
        calls = _best(checkpoints, folder)
    init = functools.partial(initial_state, outline.models.method, outline.hparams.schedule)
    prng = outline.hparams.prng
    like = jax.eval_shape(init, jax.random.key(0, impl=prng))
    state, progress = checkpoints.restore(like, calls, prng=prng)
    checkpoints.close()
    return Trained(outline, state, progress)


def _best(checkpoints: checkpoint.Checkpoints, folder: str) -> int:
    calls = checkpoints.best()
    if calls is None:
        raise ConfigError(
            f"{folder}: no best checkpoint yet: none of its rounds has been evaluated"
        )
    damage = checkpoints.damage(calls)
    if damage is not None:
        raise ConfigError(f"{damage}; draw from the newest instead")
    return calls


def has_pretrained(folder: str) -> bool:
    """Whether a run has kept its generator of maximum likelihood, and trained it further."""
    hparams = workdir.read_hparams(folder)
    path = os.path.join(folder, checkpoint.PRETRAINED_FOLDER)
    return hparams.schedule.rounds > 0 and os.path.isdir(path)


def draw(
    run: Trained,
    *,
    number: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    prefix: str = "",
    seed: int = 0,
) -> Sequences:
    """Draws sequences from a trained generator.

    Args:
      run: from `read`.
      number: sequences to draw, B.
      temperature: divides the logits.
      top_k: draw from the k likeliest tokens only; None for all.
      top_p: draw from the nucleus of this probability only; None for all.
      prefix: the beginning that every sequence continues, as the run's samples are written.
      seed: of the draw.

    Returns:
      Tokens and mask `[B, T]`.

    Raises:
      ConfigError: an argument is out of range, or the prefix cannot be encoded or is too long.
    """
    outline = run.outline
    length = outline.sizes.length
    most = most_written(length)
    if not 1 <= number <= most:
        raise ConfigError(f"--num={number}: must be in 1..{most}; for more, draw with other --seed")
    given = None
    if prefix:
        try:
            ids = outline.codec.encode(prefix, strict=True)
        except DataError as error:
            raise ConfigError(f"--prefix={prefix!r}: {error}") from None
        room = length - (outline.codec.end_token is not None)
        if not 0 < len(ids) <= room:
            raise ConfigError(
                f"--prefix={prefix!r}: {len(ids)} tokens; sequences of this run have 1 to {room}"
            )
        given = jnp.asarray(ids, jnp.int32)
    try:
        samples = sample(
            outline.models.language_model, run.state.generator, jax.random.key(seed),
            batch_size=number, length=length, temperature=temperature, top_k=top_k, top_p=top_p,
            prefix=given,
        )  # fmt: skip
    except ValueError as error:
        raise ConfigError(f"--{error}") from error
    return Sequences(*jax.device_get(samples))
