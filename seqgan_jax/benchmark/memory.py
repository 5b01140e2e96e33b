"""Bytes that one device needs to train a config: counted from its sizes, with nothing compiled.

What is held between calls is exact: the state's shapes and their places on the mesh. What a call
holds for the while (benchmark/transient.py) is a model, tested against XLA's own analysis of the
compiled calls on CPUs (tests/memory_test.py).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax

from seqgan_jax.benchmark import transient
from seqgan_jax.benchmark.model_memory import Mesh, Moment
from seqgan_jax.checked import ConfigError
from seqgan_jax.hparams import HParams, MeshHParams
from seqgan_jax.methods.state import TrainState
from seqgan_jax.training import early_stopping, sharding
from seqgan_jax.training.experiment import build_models

Parts = dict[str, int]  # name -> bytes of one device

_TOKEN_BYTES = 4 + 1  # of a sequence on the devices: its id and its mask


class Footprint(NamedTuple):
    """Bytes of one device."""

    held: Parts  # between calls: parameters, moments, data
    calls: dict[str, Moment]  # of each call its fullest moment, see `transient.calls`

    @property
    def resident(self) -> int:
        """All that is held between calls."""
        return sum(self.held.values())

    @property
    def peak(self) -> int:
        """What a device must have: all that is held, and the fullest moment of any call."""
        return self.resident + max(moment.bytes for moment in self.calls.values())


def footprint(hparams: HParams) -> Footprint:
    """What a config needs of each device of its mesh.

    Args:
      hparams: of SeqGAN in float32, on an oracle's data, one seed. The mesh's devices need not be
        there; `mesh.data` 0 stands for those of this machine.

    Returns:
      Bytes of one device, of the one with most rows where the shares differ.

    Raises:
      ConfigError: the devices cannot share the vocabulary or a batch equally, or the settings ask
        for what is not counted here.
    """
    _check_counted(hparams)
    mesh = mesh_of(hparams)
    return Footprint(_held(hparams, mesh), transient.calls(hparams, mesh))


def mesh_of(hparams: HParams) -> Mesh:
    """The mesh that a config asks for, whether or not this machine has its devices.

    Raises:
      ConfigError: its devices cannot share the vocabulary or a batch equally.
    """
    settings = hparams.mesh
    data = settings.data or max(1, jax.device_count() // settings.model)
    sharding.check_vocabulary(settings.model, hparams.sizes.vocab_size)
    sharding.check_batches(data, hparams.schedule)
    return Mesh(data, settings.model)


def _check_counted(hparams: HParams) -> None:
    counted: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "method": (hparams.method, ("seqgan",)),
        "precision": (hparams.precision, ("float32",)),
        "num_seeds": (hparams.num_seeds, (1,)),
        "discriminator.kind": (hparams.discriminator.kind, ("density", "text_cnn")),
    }
    for name, (value, known) in counted.items():
        if value not in known:
            right = " or ".join(map(str, known))
            raise ConfigError(f"config.{name}={value}: --plan does not count it; give {right}")


def _held(hparams: HParams, mesh: Mesh) -> Parts:
    """What lies on one device between calls."""
    state = _state(dataclasses.replace(hparams, mesh=MeshHParams()))
    vocab_size, sizes = hparams.sizes.vocab_size, hparams.sizes

    def size(tree: Any) -> int:
        return sum(
            leaf.size * leaf.dtype.itemsize
            // (1 if sharding.axis_of_vocabulary(path, leaf, vocab_size) is None else mesh.model)
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        )  # fmt: skip

    rows = sum(-(-number // mesh.data) for number in (sizes.num_train, sizes.num_test))
    parts = {
        "generator": size(state.generator),
        "rollout policy": size(state.rollout),
        "discriminator": size(state.discriminator),
        "moments of MLE": size(state.mle_opt_state),
        "moments of the g-steps": size(state.g_opt_state),
        "moments of the discriminator": size(state.d_opt_state),
        "training and test sequences": rows * sizes.length * _TOKEN_BYTES,
    }
    if state.best is not None:
        parts["best generator and its moments"] = size(state.best)
    return parts


@functools.lru_cache(maxsize=8)
def _state(hparams: HParams) -> TrainState:
    """The shapes of a config's state."""
    models = build_models(hparams)
    state: TrainState = jax.eval_shape(
        lambda: early_stopping.initial_state(models.method, hparams.schedule, jax.random.key(0))
    )
    return state


def largest_chunk(hparams: HParams, limit: int) -> int | None:
    """The largest `rollout_chunk`, up to N, with which a config fits.

    Args:
      hparams: as of `footprint`, like what it raises.
      limit: bytes of one device.

    Returns:
      It, or None where not even a chunk of 1 fits.
    """
    mesh, resident = mesh_of(hparams), footprint(hparams).resident
    # From above: memory need not grow with every chunk, as blocks of rows are of equal size.
    for chunk in range(hparams.training.num_rollouts, 0, -1):
        calls = transient.calls(with_chunk(hparams, chunk), mesh)
        if resident + max(moment.bytes for moment in calls.values()) <= limit:
            return chunk
    return None


def with_chunk(hparams: HParams, chunk: int) -> HParams:
    """The settings with another `rollout_chunk`."""
    training = dataclasses.replace(hparams.training, rollout_chunk=chunk)
    return dataclasses.replace(hparams, training=training)
