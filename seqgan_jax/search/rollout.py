"""Monte Carlo search: action values of every prefix (arXiv 1609.05473, Eq. 4)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from seqgan_jax.mesh import along_rows, over_data
from seqgan_jax.models.teacher_forcing import prefix_states, shifted_inputs
from seqgan_jax.search.drawing import next_token
from seqgan_jax.search.rewards import as_tree, scores
from seqgan_jax.search.sampling import freeze_after_end
from seqgan_jax.types import (
    Array,
    LanguageModel,
    ModelState,
    Params,
    Reward,
    mask_until_end,
)


class Schedule(NamedTuple):
    """Which prefixes each slot of a rollout batch completes; NumPy, known before tracing.

    Completing a prefix of length t takes T - t draws. A slot that completes prefix a in T - a
    steps goes on with prefix b = T - a for a steps, so K slots scanned T steps draw exactly the
    tokens that are needed, at a constant batch.
    """

    first: np.ndarray  # [K] prefix length each slot starts from
    second: np.ndarray  # [K] prefix length it goes on with, T - first
    weight: np.ndarray  # [T - 1, 2 K] sums completions (first ones, then second) by prefix
    draws: np.ndarray  # [T, K] number of the draw at each step of each slot, see `_draw_numbers`


def schedule(length: int, num_rollouts: int) -> Schedule:
    """Packs `num_rollouts` completions of each prefix 1..T-1 into slots of T steps.

    Args:
      length: T, at least 2.
      num_rollouts: completions a prefix.

    Returns:
      The packing. It draws `T (T-1) / 2 * num_rollouts` tokens, plus T / 2 where T is even and
      `num_rollouts` odd (the middle prefix is its own partner).
    """
    pairs = [prefix for prefix in range(1, length) if 2 * prefix < length] * num_rollouts
    first, second_used = list(pairs), [True] * len(pairs)
    # Which of its prefix's rollouts each completion is.
    numbers = [(n, n) for n in range(num_rollouts) for _ in range(len(pairs) // num_rollouts)]
    if length % 2 == 0:
        middle = -(-num_rollouts // 2)
        first += [length // 2] * middle
        second_used += [True] * middle
        second_used[-1] = num_rollouts % 2 == 0
        numbers += [(2 * slot, 2 * slot + 1) for slot in range(middle)]
    start = np.asarray(first, np.int32)
    second = length - start
    completes = np.concatenate([start, np.where(second_used, second, 0)])
    weight = completes[None, :] == np.arange(1, length)[:, None]
    draws = _draw_numbers(start, np.asarray(numbers, np.int32), length, num_rollouts)
    return Schedule(start, second, weight.astype(np.float32), draws)


def num_slots(length: int, num_rollouts: int) -> int:
    """K of the `schedule`; 0 where T = 1."""
    odd = (length - 1) // 2 * num_rollouts
    return odd + (-(-num_rollouts // 2) if length % 2 == 0 else 0)


def _draw_numbers(
    first: np.ndarray, numbers: np.ndarray, length: int, num_rollouts: int
) -> np.ndarray:
    """A number for every draw that says what it is for and does not depend on T.

    The n-th completion of prefix t draws position p as number N (p (p - 1) / 2 + t) + n, so that
    the same sequences, padded further, are completed by the same tokens.

    Args:
      first: prefix that each slot starts from. `[K]`.
      numbers: n of its first and of its second completion. `[K, 2]`.
      length: T.
      num_rollouts: N.

    Returns:
      `[T, K]` int32.
    """
    step = np.arange(length)[:, None]
    on_second = step >= length - first
    prefix = np.where(on_second, length - first, first)
    position = np.where(on_second, step, step + first)
    number = np.where(on_second, numbers[:, 1], numbers[:, 0])
    draws = num_rollouts * (position * (position - 1) // 2 + prefix) + number
    return draws.astype(np.int32)


def action_values(
    language_model: LanguageModel,
    params: Params,
    reward: Reward,
    tokens: Array,
    key: Array,
    *,
    num_rollouts: int,
    chunk_size: int = 2,
) -> Array:
    """Estimates Q(a=y_t, s=Y_1:t-1) by Monte Carlo search (arXiv 1609.05473, Eq. 4).

    Q = 1/N sum_n reward(Y^n), each Y^n a completion of Y_1:t by the rollout policy, for t < T;
    Q = reward(Y_1:T) for t = T. Rollouts start from the states of one teacher-forced scan, so no
    prefix is run again. The finished sequence is rewarded once. Meant to be called inside `jit`.

    Args:
      language_model: the rollout policy's model, G_beta.
      params: its parameters.
      reward: scores whole sequences, `(tokens [..., T], mask [..., T]) -> [...]`, each by itself.
        Over several devices it must not close over traced arrays: bind them by
        `jax.tree_util.Partial`, as the package's own rewards do.
      tokens: sequences drawn from the generator. `[B, T]` int32.
      key: a random key, consumed.
      num_rollouts: N, completions a prefix.
      chunk_size: rollouts a prefix that are live at a time. Memory grows with it, not with N; an
        even number wastes no draw.

    Returns:
      Mean reward of `num_rollouts` completions of each prefix; the last column is the reward of
      the finished sequence. Where a sequence has ended, its completions are the sequence itself.
      Shape `[B, T]`, float32, no gradient flows through it.

    Raises:
      ValueError: `num_rollouts` or `chunk_size` is below 1.
    """
    chex.assert_rank(tokens, 2)
    if num_rollouts < 1 or chunk_size < 1:
        raise ValueError(
            f"num_rollouts={num_rollouts}, chunk_size={chunk_size}: both must be at least 1"
        )
    length = tokens.shape[1]
    mask = mask_until_end(tokens, language_model.end_token)
    reward = as_tree(reward)
    finished = scores(reward, tokens, mask)[:, None]
    if length == 1:
        return jax.lax.stop_gradient(finished)
    # The state before every position, the token fed there, and whether a draw is still due.
    states = (
        prefix_states(language_model, params, tokens),
        shifted_inputs(language_model, tokens).T,
        mask.T,
    )

    summed_rewards = functools.partial(
        _summed_rewards, language_model, params, reward, states, tokens
    )
    total = _sum_over_chunks(summed_rewards, key, num_rollouts, min(chunk_size, num_rollouts))
    values = jnp.concatenate([total / num_rollouts, finished], axis=1)
    return jax.lax.stop_gradient(values)


def _summed_rewards(
    language_model: LanguageModel,
    params: Params,
    reward: Reward,
    states: tuple[ModelState, Array, Array],
    tokens: Array,
    key: Array,
    num_rollouts: int,
) -> Array:
    """Sums of the rewards of `num_rollouts` completions of each prefix 1..T-1, `[B, T - 1]`.

    Each device completes and judges its own sequences, without a word to the others.
    """
    plan = schedule(tokens.shape[1], num_rollouts)

    def of_rows(
        params: Params, reward: Reward, states: Any, tokens: Array, uniforms: Array
    ) -> Array:
        completions = _complete(language_model, params, states, tokens, plan, uniforms)
        values = reward(completions, mask_until_end(completions, language_model.end_token))
        return jnp.einsum("pk,kb->bp", plan.weight, values, precision="highest")

    spread = over_data(of_rows, (None, None, 1, 0, 2))
    values: Array = spread(params, reward, states, tokens, _uniforms(plan, key, tokens.shape[0]))
    return values


def _sum_over_chunks(
    summed_rewards: Callable[[Array, int], Array], key: Array, num_rollouts: int, chunk_size: int
) -> Array:
    """Adds up `summed_rewards(key, rollouts)` chunk after chunk; memory is one chunk's."""
    num_chunks, rest = divmod(num_rollouts, chunk_size)

    def chunk(index: Array) -> Array:
        return summed_rewards(jax.random.fold_in(key, index), chunk_size)

    shape = jax.eval_shape(chunk, jnp.zeros((), jnp.int32))
    total, _ = jax.lax.scan(
        lambda total, index: (total + chunk(index), None),
        jnp.zeros(shape.shape, shape.dtype),
        jnp.arange(num_chunks),
    )
    if rest:
        total += summed_rewards(jax.random.fold_in(key, num_chunks), rest)
    return total


def _uniforms(plan: Schedule, key: Array, batch_size: int) -> Array:
    """The number that every draw of a chunk inverts, `[T, K, B]`."""
    numbers = jnp.asarray(plan.draws)
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, numbers.reshape(-1))
    uniforms = jax.vmap(lambda k: jax.random.uniform(k, (batch_size,)))(keys)
    return along_rows(uniforms.reshape(*numbers.shape, batch_size), 2)


def _complete(
    language_model: LanguageModel,
    params: Params,
    states: tuple[ModelState, Array, Array],
    tokens: Array,
    plan: Schedule,
    uniforms: Array,
) -> Array:
    """Completes every prefix as often as the schedule says; completions `[2 K, B, T]`."""
    batch_size, length = tokens.shape
    num_slots = len(plan.first)
    second = jnp.asarray(plan.second)

    def fold(leaf: Array) -> Array:  # [K, B, ...] -> [K * B, ...]
        return leaf.reshape(num_slots * batch_size, *leaf.shape[2:])

    draw = next_token(language_model, params)

    def step(carry: tuple, inputs: tuple) -> tuple[tuple, Array]:
        index, uniform, fresh = inputs
        # Slots whose second prefix has length `index` start it now, from the state kept there.
        starts = jnp.repeat(second == index, batch_size)

        def restart(current: Array, kept: Array) -> Array:
            every_slot = jnp.tile(kept, (num_slots, *[1] * (kept.ndim - 1)))
            return jnp.where(starts.reshape(-1, *[1] * (kept.ndim - 1)), every_slot, current)

        state, token, alive = jax.tree.map(restart, carry, fresh)
        state, token = draw(state, token, uniform.reshape(-1), alive)
        token, alive = freeze_after_end(language_model, token, alive)
        return (state, token, alive), token

    carry = jax.tree.map(lambda leaf: fold(leaf[plan.first]), states)
    _, drawn = jax.lax.scan(step, carry, (jnp.arange(length), uniforms, states))
    drawn = drawn.reshape(length, num_slots, batch_size).transpose(1, 2, 0)  # [K, B, T]

    # The first completion of slot k wrote position p at step p - first; the second at step p.
    position = np.arange(length)
    step_of = np.maximum(position[None, :] - plan.first[:, None], 0)
    shifted = jnp.take_along_axis(drawn, jnp.asarray(step_of)[:, None, :], axis=2)
    first = _after_prefix(plan.first, tokens, shifted)
    return jnp.concatenate([first, _after_prefix(plan.second, tokens, drawn)])


def _after_prefix(prefix: np.ndarray, tokens: Array, completion: Array) -> Array:
    """Puts the given prefix `[B, :t]` before each completion `[K, B, t:]`, t = `prefix[k]`."""
    given = np.arange(tokens.shape[1])[None, :] < prefix[:, None]
    return jnp.where(given[:, None, :], tokens[None], completion)
