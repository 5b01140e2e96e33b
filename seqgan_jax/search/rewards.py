"""Rewards: functions from whole sequences to scalars."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from seqgan_jax.blocks import JUDGED_ROWS, map_rows
from seqgan_jax.mesh import over_data
from seqgan_jax.types import Array, Params, Reward, Samples, SequenceClassifier

# Maps of the discriminator's logit l; D = sigmoid(l) is its probability of being real.
LOGIT_MAPS: dict[str, Callable[[Array], Array]] = {
    "probability": jax.nn.sigmoid,  # D, the paper's
    "log_probability": jax.nn.log_sigmoid,  # log D
    "logit": lambda logits: logits,  # log D - log(1 - D)
    "centred": lambda logits: jnp.tanh(0.5 * logits),  # 2 D - 1
}


def discriminator_reward(
    classifier: SequenceClassifier, params: Params, logit_map: str = "probability"
) -> Reward:
    """What the discriminator thinks of a sequence.

    Args:
      classifier: the discriminator.
      params: its parameters.
      logit_map: a name in `LOGIT_MAPS`.

    Returns:
      A reward; dropout is off.

    Raises:
      ValueError: no such map, or the classifier gives a log-density, which is no logit.
    """
    if classifier.is_density:
        raise ValueError(
            "the classifier gives a log-density; set it against the generator first, or use "
            "likelihood_ratio_reward"
        )
    if logit_map not in LOGIT_MAPS:
        raise ValueError(f"logit_map={logit_map!r}: must be one of {', '.join(LOGIT_MAPS)}")

    def reward(params: Params, tokens: Array, mask: Array) -> Array:
        def judge(rows: Samples) -> Array:
            logits = classifier.apply(
                params, classifier.embed(params, rows.tokens), rows.mask, None
            )
            return LOGIT_MAPS[logit_map](logits)

        return judge_rows(judge, tokens, mask)

    return Partial(reward, params)


def judge_rows(judge: Callable[[Samples], Array], tokens: Array, mask: Array) -> Array:
    """Scores `[...]` of sequences `[..., T]`, judged in blocks of rows `[R, T]`."""
    length = tokens.shape[-1]
    rows = Samples(tokens.reshape(-1, length), mask.reshape(-1, length))
    return map_rows(judge, rows, JUDGED_ROWS).reshape(tokens.shape[:-1])


def as_tree(reward: Reward) -> Reward:
    """The reward as a pytree of the arrays that it is bound to, so that devices can share it."""
    return reward if isinstance(reward, Partial) else Partial(reward)


def scores(reward: Reward, tokens: Array, mask: Array) -> Array:
    """`reward(tokens, mask)` of sequences `[B, T]`, each device judging its own: `[B]`."""

    def of_rows(reward: Reward, tokens: Array, mask: Array) -> Array:
        return reward(tokens, mask)

    result: Array = over_data(of_rows, (None, 0, 0))(as_tree(reward), tokens, mask)
    return result


def constant_reward(value: float = 1.0) -> Reward:
    """The same for every sequence: the control that shows what policy gradient does by itself."""

    def reward(tokens: Array, mask: Array) -> Array:
        del mask
        return jnp.full(tokens.shape[:-1], value, jnp.float32)

    return reward


def random_reward(key: Array) -> Reward:
    """Uniform in [0, 1), independent of the sequence's merit: a control with the noise of a reward.

    Args:
      key: a random key. Under one key a sequence always gets the same reward, equal or not to
        another's by chance alone.

    Returns:
      A reward.
    """

    def reward(key: Array, tokens: Array, mask: Array) -> Array:
        # A number of each sequence's real tokens, mixed so that all its bits depend on each.
        def mix(number: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
            token, real = pair
            mixed = (number ^ (token.astype(jnp.uint32) + 1)) * jnp.uint32(0x9E3779B1)
            return jnp.where(real, mixed ^ (mixed >> 15), number), None

        rows = tokens.reshape(-1, tokens.shape[-1]).T, mask.reshape(-1, tokens.shape[-1]).T
        numbers, _ = jax.lax.scan(mix, jnp.zeros(rows[0].shape[1], jnp.uint32), rows)
        rewards = jax.vmap(lambda number: jax.random.uniform(jax.random.fold_in(key, number)))(
            numbers
        )
        return rewards.reshape(tokens.shape[:-1])

    if "rbg" in str(jax.random.key_impl(key)):
        # Vectorised, such keys draw by the place of a row, not by its number.
        key = jax.random.key(jax.random.bits(key), impl="threefry2x32")
    return Partial(reward, key)
