"""Where a run's arrays lie: the mesh of its devices, and each array's place on it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from seqgan_jax.checked import ConfigError
from seqgan_jax.hparams import HParams, MeshHParams, ScheduleHParams
from seqgan_jax.mesh import DATA, MODEL
from seqgan_jax.training import hosts
from seqgan_jax.types import Samples, Sequences

# Parameters by name, and so their optimiser's moments: the axis of the vocabulary. Those of a
# user's own model are spread too if they are called so.
ALONG_VOCABULARY = {"embedding": 0, "output_kernel": 1, "output_bias": 0}


def axis_of_vocabulary(
    path: tuple[Any, ...], leaf: Any, vocab_size: int, stacked: bool = False
) -> int | None:
    """Along which axis the devices of the `model` axis share a leaf of a state, if they do.

    Args:
      path: of the leaf in its pytree.
      leaf: an array or its shape.
      vocab_size: V.
      stacked: whether it has a leading axis of seeds.
    """
    name = getattr(path[-1], "key", None) if path else None
    axis = ALONG_VOCABULARY.get(name) if isinstance(name, str) else None
    if axis is None:
        return None
    axis += stacked
    return axis if axis < leaf.ndim and leaf.shape[axis] == vocab_size else None


def check_vocabulary(model: int, vocab_size: int) -> None:
    """Raises ConfigError where so many devices cannot share a vocabulary equally."""
    if vocab_size % model:
        raise ConfigError(
            f"config.mesh.model={model}: does not divide the vocabulary of {vocab_size} tokens; "
            f"give one of {vocab_size % model} tokens less (config.data.vocab_size, or of text "
            "config.data.max_size less the tokens that mark ends), or another number of devices"
        )


def check_batches(data: int, schedule: ScheduleHParams) -> None:
    """Raises ConfigError where so many devices cannot share a batch equally."""
    for name in ("batch_size", "d_batch_size"):
        size = getattr(schedule, name)
        if size % data:
            above = -(-size // data) * data
            raise ConfigError(
                f"schedule.{name}={size}: {data} devices cannot share it equally; the nearest "
                f"right value is {max(size // data * data, data)} or {above}; or give fewer "
                "devices, --config.mesh.data=N"
            )


class Layout:
    """How a run's arrays lie on its devices; of one device, where JAX puts them.

    Args of the constructor:
      settings: of the mesh.
      vocab_size: V. Of the parameters in `ALONG_VOCABULARY` each device of the `model` axis holds
        its share.
      num_seeds: S. Where the devices of the `data` axis can share the seeds equally, each trains
        its own, and nothing else is spread over them.

    Raises:
      ConfigError: the mesh does not fit the devices or the vocabulary.
    """

    def __init__(self, settings: MeshHParams, vocab_size: int, num_seeds: int = 1) -> None:
        self.data, self.model = _axes(settings)
        self.vocab_size = vocab_size
        check_vocabulary(self.model, vocab_size)
        self.mesh = None
        if self.data * self.model > 1:
            devices = jax.devices()[: self.data * self.model]
            self.mesh = jax.make_mesh(
                (self.data, self.model), (DATA, MODEL), (AxisType.Auto,) * 2, devices=devices
            )
        self.spreads_seeds = num_seeds > 1 and self.data > 1 and num_seeds % self.data == 0

    def check(self, hparams: HParams) -> None:
        """Compares the settings with the mesh.

        Raises:
          ConfigError: the devices cannot share a batch equally.
        """
        if not self.spreads_seeds:
            check_batches(self.data, hparams.schedule)

    def context(self) -> contextlib.AbstractContextManager[Any]:
        """Makes the mesh the ambient one."""
        return contextlib.nullcontext() if self.mesh is None else jax.set_mesh(self.mesh)

    def shardings(self, tree: Any, stacked: bool = False) -> Any:
        """The place of every leaf of a state, or None on one device.

        Args:
          tree: arrays or their shapes.
          stacked: whether they have a leading axis of seeds.
        """
        mesh = self.mesh
        if mesh is None:
            return None

        def place(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
            axes: list[str | None] = [None] * leaf.ndim
            axis = axis_of_vocabulary(path, leaf, self.vocab_size, stacked)
            if axis is not None and self.model > 1:
                axes[axis] = MODEL
            if stacked and self.spreads_seeds:
                axes[0] = DATA
            while axes and axes[-1] is None:  # as jit writes it, or the next call would be another
                axes.pop()
            return NamedSharding(mesh, PartitionSpec(*axes))

        return jax.tree_util.tree_map_with_path(place, tree)

    def made(self, function: Callable[..., Any], *arguments: Any, stacked: bool = False) -> Any:
        """The state that a function makes, each leaf made where it is to lie."""
        places = self.shardings(jax.eval_shape(function, *arguments), stacked)
        if places is None:
            # Bound to its device, as a state read from a checkpoint is: one program serves both.
            places = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        return jax.jit(function, out_shardings=places)(*arguments)

    def placed(self, tree: Any, stacked: bool = False) -> Any:
        """The state, each leaf where it is to lie."""
        return tree if self.mesh is None else jax.device_put(tree, self.shardings(tree, stacked))

    def constrained(self, tree: Any, stacked: bool = False) -> Any:
        """The same inside a compiled call."""
        if self.mesh is None:
            return tree
        return jax.lax.with_sharding_constraint(tree, self.shardings(tree, stacked))

    def everywhere(self, tree: Any) -> Any:
        """Inside a compiled call: every device, and so every process, has all of it."""
        if self.mesh is None:
            return tree
        whole = NamedSharding(self.mesh, PartitionSpec())
        return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, whole), tree)

    def rows(self, sequences: Samples | Sequences) -> Samples:
        """Sequences on the devices, each holding its share of them, from what its process has.

        Rows of padding, with nothing real, follow where the shares would not be equal; where seeds
        are spread, every device holds all.
        """
        if self.mesh is None:
            return Samples(*(jnp.asarray(leaf) for leaf in sequences))
        spec = PartitionSpec() if self.spreads_seeds else PartitionSpec(DATA)
        missing = 0 if self.spreads_seeds else -len(sequences.tokens) % self.data
        sharding = NamedSharding(self.mesh, spec)

        def place(leaf: Any) -> jax.Array:
            whole = np.pad(np.asarray(leaf), ((0, missing), *[(0, 0)] * (leaf.ndim - 1)))
            return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])

        return Samples(*map(place, sequences))


def _axes(settings: MeshHParams) -> tuple[int, int]:
    """Devices along data and model."""
    number = jax.device_count()
    if settings.model > number or (settings.data == 0 and number % settings.model):
        fits = [size for size in range(1, number + 1) if number % size == 0]
        raise ConfigError(
            f"config.mesh.model={settings.model}: must be one of {fits} with {number} devices"
        )
    data = settings.data or number // settings.model
    if data * settings.model > number:
        raise ConfigError(
            f"config.mesh.data={data}: with mesh.model={settings.model} needs "
            f"{data * settings.model} devices, and there are {number}; the nearest right value is "
            f"{number // settings.model}"
        )
    if data * settings.model < number and jax.process_count() > 1:
        raise ConfigError(
            f"config.mesh.data={data}: leaves some of the {number} devices of "
            f"{jax.process_count()} processes idle; the nearest right value is "
            f"{number // settings.model}"
        )
    return data, settings.model


def on_host(tree: Any) -> Any:
    """The arrays in NumPy, in every process, wherever their parts lie."""
    leaves = jax.tree.leaves(tree)
    if all(not isinstance(leaf, jax.Array) or leaf.is_fully_addressable for leaf in leaves):
        return jax.device_get(tree)
    return hosts.gathered(tree, leaves[0].sharding.mesh)
