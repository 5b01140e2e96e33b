import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqgan_jax import hparams
from seqgan_jax.search import rewards
from seqgan_jax.types import SequenceClassifier


def fake_classifier():
    """Logit: params * (sum of the real tokens - 10). Asking for dropout is an error."""

    def apply(params, embedded, mask, dropout_key):
        assert dropout_key is None
        assert embedded.ndim == 3
        assert mask.shape == embedded.shape[:2]
        return params * ((embedded[..., 0] * mask).sum(-1) - 10.0)

    return SequenceClassifier(
        init=lambda key: jnp.float32(1.0),
        embed=lambda params, tokens: tokens[..., None].astype(jnp.float32),
        apply=apply,
        penalty=lambda params: jnp.float32(0.0),
    )


# Real tokens sum to 10, 11 and 7, so the logits are 0, 1 and -3.
TOKENS = jnp.array([[1, 9], [5, 6], [7, 8]], jnp.int32)
MASK = jnp.array([[True, True], [True, True], [True, False]])

BY_HAND = {
    # 1 / (1 + e^-l)
    "probability": [0.5, 0.7310586, 0.0474259],
    # -log(1 + e^-l): -log 2, -log(1.3678794), -log(21.085537)
    "log_probability": [-0.6931472, -0.3132617, -3.0485874],
    "logit": [0.0, 1.0, -3.0],
    # 2 D - 1
    "centred": [0.0, 0.4621172, -0.9051483],
}


@pytest.mark.parametrize("name", rewards.LOGIT_MAPS)
def test_logit_maps_by_hand(name):
    reward = rewards.discriminator_reward(fake_classifier(), jnp.float32(1.0), name)
    np.testing.assert_allclose(reward(TOKENS, MASK), BY_HAND[name], rtol=1e-5, atol=1e-7)


def test_the_probability_is_the_default():
    reward = rewards.discriminator_reward(fake_classifier(), jnp.float32(1.0))
    np.testing.assert_allclose(reward(TOKENS, MASK), BY_HAND["probability"], rtol=1e-5)


# The values at logits -10,000 and 10,000.
EXTREMES = {
    "probability": (0.0, 1.0),
    "log_probability": (-1e4, 0.0),
    "logit": (-1e4, 1e4),
    "centred": (-1.0, 1.0),
}


@pytest.mark.parametrize("name", rewards.LOGIT_MAPS)
def test_extreme_logits_stay_finite(name):
    # The second and third sequence have logits 1 and -3, here times 10,000 and 10,000 / 3.
    for scale, index, end in [(1e4, 1, 1), (1e4 / 3, 2, 0)]:
        reward = rewards.discriminator_reward(fake_classifier(), jnp.float32(scale), name)
        np.testing.assert_allclose(
            reward(TOKENS, MASK)[index], EXTREMES[name][end], rtol=1e-5, atol=1e-30
        )


def test_leading_axes_are_kept():
    reward = rewards.discriminator_reward(fake_classifier(), jnp.float32(1.0), "logit")
    rng = np.random.default_rng(0)
    tokens = jnp.asarray(rng.integers(0, 9, (4, 3, 2, 5)), jnp.int32)
    mask = jnp.asarray(rng.random((4, 3, 2, 5)) < 0.7)
    expected = np.where(mask, tokens, 0).sum(axis=-1) - 10.0
    np.testing.assert_allclose(reward(tokens, mask), expected)
    # One sequence without any other axis.
    np.testing.assert_allclose(reward(tokens[0, 0, 0], mask[0, 0, 0]), expected[0, 0, 0])


def test_unknown_map_is_refused():
    with pytest.raises(ValueError, match="logit_map='prob'"):
        rewards.discriminator_reward(fake_classifier(), jnp.float32(1.0), "prob")


@pytest.mark.parametrize("shape", [(5,), (3, 5), (4, 3, 5)])
def test_constant_reward(shape):
    tokens = jnp.zeros(shape, jnp.int32)
    result = rewards.constant_reward(0.25)(tokens, tokens == 0)
    assert result.shape == shape[:-1]
    assert result.dtype == jnp.float32
    np.testing.assert_array_equal(result, 0.25)
    np.testing.assert_array_equal(rewards.constant_reward()(tokens, tokens == 0), 1.0)


def all_pairs(count):
    return jnp.stack(jnp.meshgrid(jnp.arange(count), jnp.arange(count)), -1).reshape(-1, 2)


@pytest.mark.parametrize("prng", ["threefry2x32", "rbg"])
def test_random_reward_is_a_function_of_key_and_sequence(prng):
    tokens = all_pairs(20)
    mask = jnp.ones(tokens.shape, bool)
    one = jax.jit(rewards.random_reward(jax.random.key(0, impl=prng)))
    first = np.asarray(one(tokens, mask))
    # The same sequences in another order and in another batch.
    np.testing.assert_array_equal(one(tokens[::-1], mask), first[::-1])
    np.testing.assert_array_equal(one(tokens[7:9], mask[7:9]), first[7:9])
    other = np.asarray(jax.jit(rewards.random_reward(jax.random.key(1, impl=prng)))(tokens, mask))
    assert np.mean(other == first) < 0.01
    # 400 different sequences, among them each pair both ways round: no two alike.
    assert len(np.unique(first)) > 395


def test_random_reward_does_not_see_padding():
    tokens, mask = jnp.array([[2, 3, 1]]), jnp.ones((1, 3), bool)
    reward = jax.jit(rewards.random_reward(jax.random.key(0)))
    further = [jnp.pad(leaf, ((0, 0), (0, 4))) for leaf in (tokens, mask)]
    np.testing.assert_array_equal(reward(tokens, mask), reward(*further))


def test_random_reward_is_uniform():
    tokens = all_pairs(50)
    mask = jnp.ones(tokens.shape, bool)
    values = np.asarray(jax.jit(rewards.random_reward(jax.random.key(2)))(tokens, mask))
    assert values.dtype == np.float32
    assert values.min() >= 0
    assert values.max() < 1
    # Five standard errors: sd 1/sqrt(12) over sqrt(2500), and a quarter in each quarter.
    assert abs(values.mean() - 0.5) < 5 / np.sqrt(12 * 2500)
    quarters = np.bincount((values * 4).astype(int), minlength=4) / 2500
    assert np.abs(quarters - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 2500)


@pytest.mark.parametrize("shape", [(5,), (3, 5), (4, 3, 5)])
def test_random_reward_keeps_leading_axes(shape):
    tokens = jnp.arange(np.prod(shape)).reshape(shape)
    mask = jnp.ones(shape, bool)
    reward = jax.jit(rewards.random_reward(jax.random.key(3)))
    result = reward(tokens, mask)
    assert result.shape == shape[:-1]
    flat = reward(tokens.reshape(-1, 5), mask.reshape(-1, 5))
    np.testing.assert_array_equal(result.ravel(), flat)


def test_the_settings_offer_every_reward():
    offered = hparams.REWARDS
    assert offered == (*rewards.LOGIT_MAPS, "likelihood_ratio")
