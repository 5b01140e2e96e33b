"""Calls of a run compiled from shapes alone: to be read, not run, whatever they would need."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from seqgan_jax.data_hparams import DataSizes
from seqgan_jax.hparams import HParams
from seqgan_jax.training.compiled import compile_calls
from seqgan_jax.training.experiment import build_models
from seqgan_jax.training.sharding import Layout
from seqgan_jax.types import Samples


def described(sizes: DataSizes, layout: Layout, init_state: Any) -> tuple[Any, Any]:
    """What the state and the training sequences look like, and where they lie.

    Args:
      sizes: of the data.
      layout: of the devices.
      init_state: a method's.

    Returns:
      A `TrainState` and `Samples` of `jax.ShapeDtypeStruct`.
    """
    state = jax.eval_shape(init_state, jax.random.key(0))
    if layout.mesh is not None:
        state = jax.tree.map(
            lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
            state, layout.shardings(state),
        )  # fmt: skip
    shape = (sizes.num_train, sizes.length)
    tokens: Any = jax.ShapeDtypeStruct(shape, jnp.int32)
    mask: Any = jax.ShapeDtypeStruct(shape, bool)
    return state, Samples(tokens, mask)


def compile_call(hparams: HParams, name: str, sizes: DataSizes | None = None) -> Any:
    """One of `compile_calls`, compiled for the mesh in the settings; nothing is run.

    Args:
      hparams: the settings.
      name: of the call.
      sizes: of the data, if not those in the settings.

    Returns:
      A `jax.stages.Compiled`.

    Raises:
      ConfigError: the mesh does not fit the devices or the settings.
    """
    sizes = sizes or hparams.sizes
    models, layout = build_models(hparams), Layout(hparams.mesh, sizes.vocab_size)
    layout.check(hparams)
    call: Any = compile_calls(hparams.schedule, models, sizes, layout=layout)[name]
    with layout.context():
        return call.lower(*described(sizes, layout, models.method.init_state)).compile()
