"""Stops a run whose numbers are none, and says where they arose."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from seqgan_jax.methods.state import TrainState
from seqgan_jax.training import plan
from seqgan_jax.training.sharding import on_host
from seqgan_jax.types import Array, Metrics

_FIRST = "first step not finite: "  # before a metric's name
_NAMED = 6  # tensors that a message names


class DivergedError(RuntimeError):
    """A loss, gradient, reward or parameter is NaN or infinite; says where."""


def not_finite(metrics: Metrics) -> Metrics:
    """Where metrics `[steps]` are NaN or infinite, `[steps]` bool."""
    return jax.tree.map(lambda values: ~jnp.isfinite(values), metrics)


def first_steps(bad: Metrics) -> Metrics:
    """Of each metric the first of a call's steps where it is not finite, for `check_metrics`.

    Part of the compiled call: means alone would not tell, nor those of the last epoch of others.

    Args:
      bad: see `not_finite`; of several epochs `[epochs, steps]`.

    Returns:
      Under names of their own, scalars int32: 0-based; -1 where all steps are finite.
    """
    return {
        f"{_FIRST}{name}": jnp.where(steps.any(), jnp.argmax(steps), -1).astype(jnp.int32)
        for name, steps in bad.items()
    }


def check_metrics(
    call: plan.Call,
    num_steps: int,
    state: TrainState,
    folders: Sequence[str],
    values_of_each: Sequence[Mapping[str, float]],
) -> list[dict[str, float]]:
    """Refuses metrics of a call that were NaN or infinite in any of its steps.

    Args:
      call: the call.
      num_steps: of it.
      state: after it; of several runs with a leading axis.
      folders: of the runs.
      values_of_each: each run's metrics, and their `first_steps`.

    Returns:
      Each run's metrics alone.

    Raises:
      DivergedError: names phase, step, metrics and tensors.
    """
    metrics_of_each = []
    for index, (folder, values) in enumerate(zip(folders, values_of_each, strict=True)):
        metrics = {name: value for name, value in values.items() if not name.startswith(_FIRST)}
        steps = {name: int(values[_FIRST + name]) for name in metrics}
        # A mean of finite values may overflow, after all of them.
        first = {
            name: steps[name] if steps[name] >= 0 else num_steps
            for name, value in metrics.items()
            if not math.isfinite(value) or steps[name] >= 0
        }
        if first:
            after = int(np.atleast_1d(on_host(state.step))[index])
            tensors = _bad_tensors(state, len(folders))[index]
            raise DivergedError(
                f"{_where(call)}, {_told(first, num_steps, after)} of {call.name}"
                + (f"; neither is, after the call, {tensors}" if tensors else "")
                + _end(folder)
            )
        metrics_of_each.append(metrics)
    return metrics_of_each


def check_state(call: plan.Call, state: TrainState, folders: Sequence[str]) -> None:
    """Refuses a state with parameters that are NaN or infinite, which must not be saved.

    Every device and every process of a job has to call it. It reads each tensor once.

    Args:
      call: the last that led to the state.
      state: of several runs with a leading axis.
      folders: of the runs.

    Raises:
      DivergedError: names phase and tensors.
    """
    for folder, tensors in zip(folders, _bad_tensors(state, len(folders)), strict=True):
        if tensors:
            raise DivergedError(
                f"{_where(call)}: {tensors} is not finite after it, and not saved{_end(folder)}"
            )


@contextlib.contextmanager
def debugged(call: plan.Call, folder: str) -> Iterator[None]:
    """Has what `jax_debug_nans` finds in a call end the run as a metric does.

    Args:
      call: that is made inside.
      folder: of the first run.

    Raises:
      DivergedError: JAX has raised FloatingPointError, which is its cause.
    """
    try:
        yield
    except FloatingPointError as error:
        found = str(error).splitlines()[0]
        raise DivergedError(f"{_where(call)}: {found}, of {call.name}{_end(folder)}") from error


def _where(call: plan.Call) -> str:
    return f"{call.phase} {plan.UNITS[call.phase]} {call.unit}"


def _told(first: Mapping[str, int], num_steps: int, after: int) -> str:
    """The metrics that were not finite first, the others, and which step it was."""
    step = min(first.values())
    names = ", ".join(name for name, each in first.items() if each == step)
    later = ", ".join(name for name, each in first.items() if each != step)
    then = f" (later {later})" if later else ""
    if step == num_steps:
        return f"step {after}: {names} is not finite, in the mean over {num_steps} steps"
    number = after - num_steps + step + 1
    return f"step {number}: {names} is not finite{then}, in step {step + 1} of {num_steps}"


def _end(folder: str) -> str:
    return (
        f"; the newest checkpoint in {folder}, if any, is from before it. "
        "Lower the learning rate, in another --workdir"
    )


def _bad_tensors(state: TrainState, number: int) -> list[str]:
    """The tensors of each run that are not finite, by their paths in the state; "" for none."""
    tensors = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    }
    del tensors["baseline"]  # there is none before the first reward
    names, leaves = list(tensors), list(tensors.values())
    largest = np.atleast_2d(on_host(_largest(leaves, number > 1)))
    # A scalar may be the least of something so far, infinite at first.
    may_be_infinite = np.array([leaf.ndim == (number > 1) for leaf in leaves])
    bad = np.isnan(largest) | (np.isinf(largest) & ~may_be_infinite)
    return [_listed([names[i] for i in np.flatnonzero(row)]) for row in bad]


@functools.partial(jax.jit, static_argnums=1)
def _largest(leaves: list[Array], stacked: bool) -> Array:
    """The largest magnitude in each leaf, `[leaves]`, or `[S, leaves]` of several seeds.

    NaN and infinity come through. To ask each number whether it is finite takes four times as long
    to compile.
    """

    def largest(leaf: Array) -> Array:
        axes = tuple(range(int(stacked), leaf.ndim))
        return jnp.abs(leaf).max(axis=axes, initial=0.0).astype(jnp.float32)

    return jnp.stack([largest(leaf) for leaf in leaves], axis=-1)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
