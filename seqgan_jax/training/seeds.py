"""States of several seeds as one with a leading axis of seeds, and back; one seed has no axis."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from seqgan_jax.mesh import DATA
from seqgan_jax.types import Array, Metrics


def stacked(trees: Sequence[Any]) -> Any:
    """Pytrees of one structure as one, of leaves `[S, ...]`; a single one stays as it is."""
    if len(trees) == 1:
        return trees[0]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def split(tree: Any, number: int) -> list[Any]:
    """The inverse of `stacked`, of so many trees."""
    if number == 1:
        return [tree]
    leaves, structure = jax.tree.flatten(tree)
    # Keys by their bits: to take a key out of an array of keys counts as a use of it.
    kinds = [jax.random.key_impl(leaf) if _is_key(leaf) else None for leaf in leaves]
    bits = [jax.random.key_data(leaf) if _is_key(leaf) else leaf for leaf in leaves]
    return [
        jax.tree.unflatten(
            structure,
            [
                leaf if kind is None else jax.random.wrap_key_data(leaf, impl=kind)
                for leaf, kind in zip(part, kinds, strict=True)
            ],
        )
        for part in _parts(bits, number)
    ]


@functools.partial(jax.jit, static_argnums=1)  # in one call, where there would be hundreds
def _parts(leaves: list[Array], number: int) -> list[list[Array]]:
    return [[leaf[index] for leaf in leaves] for index in range(number)]


def _is_key(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def _draws_by_xla(state: Any) -> bool:
    keys = filter(_is_key, jax.tree.leaves(state))
    return any("rbg" in str(jax.random.key_impl(key)) for key in keys)


def over_seeds(
    call: Callable[..., Any], vmapped: bool | None = None, *, spread: bool = False
) -> Callable[..., Any]:
    """A call of a state, and of data, for all seeds in one computation.

    Args:
      call: `(state, *data) -> result`.
      vmapped: whether the seeds are vectorised, or taken in turn inside the computation. By default
        they are, but on a CPU, which gains nothing by it, and computes what a condition would have
        passed over (docs/performance.md). With rbg keys they never are: each has its own draws.
      spread: whether each device of the ambient mesh's `data` axis trains its share of the seeds,
        which they then divide equally.

    Returns:
      The call for states with a leading axis of seeds; the data have none. So do its results.
    """
    if vmapped is None:
        vmapped = jax.default_backend() != "cpu"

    def here(state: Any, *data: Any) -> Any:
        # Vectorised, XLA's own generator would draw for all from the first one's key (jax 0.10).
        if vmapped and not _draws_by_xla(state):
            return jax.vmap(lambda one: call(one, *data))(state)
        return jax.lax.map(lambda one: call(one, *data), state)

    def together(state: Any, *data: Any) -> Any:
        if not spread:
            return here(state, *data)
        mine, whole = PartitionSpec(DATA), PartitionSpec()
        return jax.shard_map(
            here, in_specs=(mine, *[whole] * len(data)), out_specs=mine, axis_names={DATA},
            check_vma=False,
        )(state, *data)  # fmt: skip

    return together


def values_of_each(metrics: Metrics, number: int) -> list[dict[str, float]]:
    """Scalars, or arrays `[S]`, as one dict of floats a seed."""
    on_host = {name: np.atleast_1d(value) for name, value in jax.device_get(metrics).items()}
    return [{name: float(value[i]) for name, value in on_host.items()} for i in range(number)]
