"""How pure functions spread over devices: rows over one axis of a mesh, tokens over another.

The mesh is the ambient one (`jax.set_mesh`), with the axes `data` and `model`, both Auto; without
one, or where an axis has size 1, everything here is the plain function. Rows are independent in
sampling, search and likelihoods, so each device runs those on its own rows, without a word to the
others; whoever takes a gradient through them adds it up over the devices once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from seqgan_jax.types import Array

DATA, MODEL = "data", "model"
Tree = TypeVar("Tree")


def shards(axis: str) -> int:
    """Over how many devices the ambient mesh could still spread something along an axis."""
    mesh = jax.sharding.get_abstract_mesh()
    if axis not in mesh.axis_names or axis in mesh.manual_axes:
        return 1
    return int(mesh.shape[axis])


def over_data(
    function: Callable[..., Any], in_axes: Sequence[int | None], out_axes: Any = 0
) -> Callable[..., Any]:
    """A function of rows, each by itself, run on every device for its share of them.

    Args:
      function: of positional arguments, pytrees of arrays. It must not close over traced arrays:
        what it needs is an argument.
      in_axes: of each argument the axis of its rows, or None for what all rows share.
      out_axes: of each result likewise, a prefix of its pytree.

    Returns:
      The function, on whole arrays. Rows that the devices cannot share equally are padded by
      zeros for the while. A gradient of what is shared is summed over the devices once.
    """

    def spread(*arguments: Any) -> Any:
        parts = shards(DATA)
        if parts == 1:
            return function(*arguments)
        pairs = list(zip(arguments, in_axes, strict=True))
        sizes = {
            leaf.shape[axis] for tree, axis in pairs if axis is not None
            for leaf in jax.tree.leaves(tree)
        }  # fmt: skip
        (rows,) = sizes
        padded = [
            tree if axis is None else _padded(tree, axis, -rows % parts) for tree, axis in pairs
        ]
        results = jax.shard_map(
            function,
            in_specs=tuple(_rows_at(axis) for axis in in_axes),
            out_specs=jax.tree.map(_rows_at, out_axes),
            axis_names={DATA},
            check_vma=False,
        )(*padded)
        if rows % parts == 0:
            return results
        return jax.tree.map(
            lambda axis, part: jax.tree.map(
                lambda leaf: jax.lax.slice_in_dim(leaf, 0, rows, axis=axis), part
            ),
            out_axes, results,
        )  # fmt: skip

    return spread


def _rows_at(axis: int | None) -> PartitionSpec:
    return PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, DATA)


def _padded(tree: Tree, axis: int, missing: int) -> Tree:
    """Zeros behind the rows of every leaf."""
    if missing == 0:
        return tree

    def pad(leaf: Array) -> Array:
        widths = [(0, missing if place == axis else 0) for place in range(leaf.ndim)]
        return jnp.pad(leaf, widths)

    return jax.tree.map(pad, tree)


def along_rows(tree: Tree, axis: int = 0) -> Tree:
    """The same arrays, each device holding its share of the rows, where they divide equally."""
    parts = shards(DATA)

    def place(leaf: Array) -> Array:
        if parts == 1 or leaf.shape[axis] % parts:
            return leaf
        return jax.lax.with_sharding_constraint(leaf, _rows_at(axis))

    return jax.tree.map(place, tree)


def take_rows(tree: Tree, rows: Array) -> Tree:
    """`leaf[rows]` of every leaf `[R, ...]`, from whichever device holds each row.

    Args:
      tree: arrays with rows along their first axis.
      rows: `[B]` int32, each in [0, R).

    Returns:
      Arrays `[B, ...]`, spread like their source. What crosses between devices is B rows, never
      the source.
    """
    parts = shards(DATA)
    if parts == 1:
        return jax.tree.map(lambda leaf: leaf[rows], tree)
    tree = _padded(tree, 0, -jax.tree.leaves(tree)[0].shape[0] % parts)
    divides = rows.shape[0] % parts == 0

    def taken(leaf: Array, rows: Array) -> Array:
        place = rows - jax.lax.axis_index(DATA) * leaf.shape[0]
        mine = (place >= 0) & (place < leaf.shape[0])
        numbers = leaf.astype(jnp.int32) if leaf.dtype == bool else leaf
        found = numbers[jnp.clip(place, 0, leaf.shape[0] - 1)]
        mine = mine.reshape(-1, *[1] * (leaf.ndim - 1))
        found = jnp.where(mine, found, jnp.zeros((), found.dtype))
        # All but one device add 0.
        if divides:
            found = jax.lax.psum_scatter(found, DATA, scatter_dimension=0, tiled=True)
        else:
            found = jax.lax.psum(found, DATA)
        return found.astype(leaf.dtype)

    return jax.shard_map(
        lambda tree, rows: jax.tree.map(lambda leaf: taken(leaf, rows), tree),
        in_specs=(PartitionSpec(DATA), PartitionSpec()),
        out_specs=PartitionSpec(DATA) if divides else PartitionSpec(),
        axis_names={DATA},
        check_vma=False,
    )(tree, rows)


def over_vocabulary(
    function: Callable[..., Any], in_axes: Sequence[int | None], out_axes: Any
) -> Callable[..., Any]:
    """A function of arrays along the vocabulary, run on every device for its share of the tokens.

    Args:
      function: of positional arrays or pytrees of them. Inside it `vocabulary_sum`, `first_token`
        and `of_each_part` speak to the devices that hold the other tokens.
      in_axes: of each argument the axis of the vocabulary, or None where it has none.
      out_axes: of each result likewise; a tuple where there are several.

    Returns:
      The function, on whole arrays.

    Raises:
      ValueError: V is no multiple of the number of devices.
    """
    if shards(MODEL) == 1:
        return function

    def tokens_at(axis: int | None) -> PartitionSpec:
        return PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, MODEL)

    several = isinstance(out_axes, tuple)
    return jax.shard_map(
        function,
        in_specs=tuple(map(tokens_at, in_axes)),
        out_specs=tuple(map(tokens_at, out_axes)) if several else tokens_at(out_axes),
        axis_names={MODEL},
        check_vma=False,
    )


def parts() -> int:
    """How many devices hold the vocabulary of which this is traced for a part; 1 for all of it."""
    mesh = jax.sharding.get_abstract_mesh()
    return int(mesh.shape[MODEL]) if MODEL in mesh.manual_axes else 1


def first_token(size: int) -> Array | int:
    """The id of the first of the `size` tokens that this device holds."""
    return jax.lax.axis_index(MODEL) * size if parts() > 1 else 0


def vocabulary_sum(values: Array) -> Array:
    """The sum over all parts of the vocabulary."""
    return jax.lax.psum(values, MODEL) if parts() > 1 else values


def of_each_part(values: Array) -> Array:
    """What each part of the vocabulary has, along a new first axis, in the order of the tokens."""
    return jax.lax.all_gather(values, MODEL) if parts() > 1 else values[None]
