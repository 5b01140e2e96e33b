"""Gumbel-softmax's steps: their pieces, what each touches, the temperature's clock, and learning.

A step's gradient is read from Adam's first moment: after one step from zero it is
(1 - 0.9) * gradient, with clipping put out of reach.
"""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy_target

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.losses import discriminator_loss
from seqgan_jax.methods import adversary
from seqgan_jax.methods.gumbel_softmax import gumbel_softmax, temperature_of
from seqgan_jax.methods.registry import METHODS
from seqgan_jax.models.density import density
from seqgan_jax.models.discriminator import text_cnn
from seqgan_jax.models.embedding import look_up
from seqgan_jax.search.relaxed import relaxed_sample
from seqgan_jax.types import LabelledBatch, LanguageModel, Samples, mask_until_end

V, T = 3, 3
# Logits of the next token are the row of the token fed. The table's name is the trap of the clock.
TABLE = LanguageModel(
    vocab_size=V,
    init=lambda key: {"count": jax.random.normal(key, (V, V))},
    initial_state=lambda params, batch_size: jnp.zeros((batch_size, 0)),
    step=lambda params, state, token: (state, look_up(params["count"], token)),
    takes_distributions=True,
)
ENDING = dataclasses.replace(TABLE, end_token=2, pad_token=0)
CLASSIFIER = text_cnn(V, 3, ((2, 4),), dropout_rate=0.25)
HPARAMS = TrainingHParams(
    g_clip_norm=1e9, relaxation_temperature=2.0, relaxation_least=0.5, relaxation_fall=0.1
)
STRAIGHT = dataclasses.replace(HPARAMS, straight_through=True)


@functools.cache
def jitted(name, hparams=HPARAMS, model=TABLE):
    """A function of the method, compiled once for all tests."""
    return jax.jit(getattr(gumbel_softmax(model, CLASSIFIER, hparams), name))


@functools.cache
def start(model=TABLE):
    """A fresh state whose discriminator has opinions."""
    state = jitted("init_state", HPARAMS, model)(jax.random.key(0))
    larger = jax.tree.map(lambda leaf: 3.0 * leaf, state.discriminator)
    return dataclasses.replace(state, discriminator=larger)


def ones(batch_size=4):
    """A batch of which only the shape matters to a generator step."""
    return Samples(jnp.ones((batch_size, T), jnp.int32), jnp.ones((batch_size, T), bool))


def labelled():
    """Real and generated rows, in no order."""
    tokens = jnp.array([[0, 1, 2], [1, 1, 1], [2, 0, 0], [2, 2, 1], [0, 0, 2]])
    return LabelledBatch(tokens, jnp.ones((5, T), bool), jnp.array([1.0, 0.0, 1.0, 1.0, 0.0]))


def fields_changed(before, after):
    def equal(one, other):
        pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
        return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)

    names = [field.name for field in dataclasses.fields(before) if field.name != "key"]
    return {each for each in names if not equal(getattr(before, each), getattr(after, each))}


@pytest.mark.parametrize("hparams", [HPARAMS, STRAIGHT], ids=["relaxed", "straight_through"])
def test_generator_step_is_its_published_pieces(hparams):
    state = start()
    after, metrics = jitted("generator_step", hparams)(state, ones())

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def pieces(params):
        relaxed = relaxed_sample(
            TABLE, params, state.subkey("relaxed"), batch_size=4, length=T, temperature=2.0,
            straight_through=hparams.straight_through,
        )  # fmt: skip
        embedded = relaxed.probs @ state.discriminator["embedding"]
        logits = CLASSIFIER.apply(state.discriminator, embedded, relaxed.mask, None)
        real = 1.0 / (1.0 + jnp.exp(-logits))  # D, the probability of being real
        return -jnp.log(real).mean(), real

    (loss, real), gradient = pieces(state.generator)
    np.testing.assert_allclose(metrics["g_loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["reward_mean"], real.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["reward_std"], np.std(real), rtol=1e-4)
    np.testing.assert_allclose(metrics["g_grad_norm"], optax.tree.norm(gradient), rtol=1e-4)
    moment = optax.tree.get(after.g_opt_state, "mu")["count"]
    np.testing.assert_allclose(10.0 * moment, gradient["count"], rtol=1e-4, atol=1e-6)
    assert jnp.abs(gradient["count"]).max() > 0.003
    assert fields_changed(state, after) == {"step", "generator", "g_opt_state"}
    assert after.step == state.step + 1


def test_temperature_falls_with_generator_updates_alone():
    state, seen = start(), []
    for name, batch in [
        ("generator_step", ones()),
        ("pretrain_generator_step", ones()),
        ("generator_step", ones()),
        ("discriminator_step", labelled()),
        ("generator_step", ones()),
    ]:
        state, metrics = jitted(name)(state, batch)
        if name == "generator_step":
            seen.append(float(metrics["relaxation_temperature"]))
    # 2 exp(-0.1 n) after n = 0, 1, 2 updates
    np.testing.assert_allclose(seen, [2.0, 1.8096748, 1.6374615], rtol=1e-6)
    np.testing.assert_allclose(temperature_of(state, HPARAMS), 2.0 * np.exp(-0.3), rtol=1e-6)
    least = dataclasses.replace(HPARAMS, relaxation_least=1.9)
    np.testing.assert_allclose(temperature_of(state, least), 1.9, rtol=1e-6)


def test_discriminator_gets_fresh_relaxed_samples_for_the_generated_rows():
    state, batch = start(), labelled()
    after, metrics = jitted("discriminator_step")(state, batch)
    relaxed = relaxed_sample(
        TABLE, state.generator, state.subkey("relaxed"), batch_size=5, length=T, temperature=2.0
    )
    one_hot = np.eye(V, dtype=np.float32)[np.asarray(batch.tokens)]
    inputs = np.where(np.asarray(batch.labels)[:, None, None] == 1, one_hot, relaxed.probs)
    embedded = jnp.asarray(inputs) @ state.discriminator["embedding"]
    logits = jax.jit(CLASSIFIER.apply)(
        state.discriminator, embedded, batch.mask, state.subkey("dropout")
    )
    expected = discriminator_loss(logits, batch.labels)
    np.testing.assert_allclose(metrics["d_loss"], expected, rtol=1e-5)
    assert fields_changed(state, after) == {"step", "discriminator", "d_opt_state"}
    # The generated rows' own tokens are not asked; the real ones' are; each step draws afresh.
    is_fake = (batch.labels == 0)[:, None]
    others = batch._replace(tokens=jnp.where(is_fake, 2 - batch.tokens, batch.tokens))
    chex.assert_trees_all_equal(jitted("discriminator_step")(state, others)[1], metrics)
    others = batch._replace(tokens=jnp.where(is_fake, batch.tokens, 2 - batch.tokens))
    assert jitted("discriminator_step")(state, others)[1]["d_loss"] != metrics["d_loss"]
    later = dataclasses.replace(state, step=state.step + 1)
    assert jitted("discriminator_step")(later, batch)[1]["d_loss"] != metrics["d_loss"]


def test_straight_through_discriminator_step_is_the_one_of_hard_tokens():
    state, batch = start(), labelled()
    after, metrics = jitted("discriminator_step", STRAIGHT)(state, batch)
    step = functools.partial(
        adversary.discriminator_step,
        language_model=TABLE, classifier=CLASSIFIER, hparams=STRAIGHT,
    )  # fmt: skip
    expected, same = jax.jit(step)(state, batch)
    chex.assert_trees_all_equal((after.discriminator, metrics), (expected.discriminator, same))
    others = batch._replace(tokens=2 - batch.tokens)
    assert jitted("discriminator_step", STRAIGHT)(state, others)[1]["d_loss"] != metrics["d_loss"]


def test_what_is_behind_the_end_changes_nothing():
    state = start(ENDING)
    batch = labelled()
    batch = batch._replace(mask=mask_until_end(batch.tokens, ENDING.end_token))
    assert batch.mask.sum() == 3 + 3 + 1 + 1 + 3
    step = jitted("discriminator_step", HPARAMS, ENDING)
    after, metrics = step(state, batch)
    again, same = step(state, batch._replace(tokens=jnp.where(batch.mask, batch.tokens, 1)))
    chex.assert_trees_all_equal(same, metrics)
    chex.assert_trees_all_equal(again.discriminator, after.discriminator)
    after, _ = jitted("generator_step", HPARAMS, ENDING)(state, ones(16))
    assert np.isfinite(optax.tree.norm(after.generator))


def test_a_round_ends_with_the_rollout_policy_a_copy_of_the_generator():
    state, _ = jitted("generator_step")(start(), ones())
    assert not np.array_equal(state.rollout["count"], state.generator["count"])
    ended = jitted("end_round")(state)
    np.testing.assert_array_equal(ended.rollout["count"], state.generator["count"])


def test_budget_and_name():
    assert METHODS["gumbel_softmax"] is gumbel_softmax
    method = gumbel_softmax(TABLE, CLASSIFIER, HPARAMS)
    assert method.drawn(64, 20) == (64, 64 * 20)
    assert method.uses_discriminator


def test_models_that_do_not_fit_are_refused():
    ids_only = dataclasses.replace(TABLE, takes_distributions=False)
    with pytest.raises(ValueError, match=r"gumbel_softmax: .*takes_distributions=True"):
        gumbel_softmax(ids_only, CLASSIFIER, HPARAMS)
    with pytest.raises(ValueError, match=r"a density .* discriminator\.kind=text_cnn or"):
        gumbel_softmax(TABLE, density(ENDING), HPARAMS)
    with pytest.raises(ValueError, match="mle_dropout_rate"):
        gumbel_softmax(TABLE, CLASSIFIER, TrainingHParams(mle_dropout_rate=0.1))


@pytest.mark.parametrize(
    "settings",
    [
        {"straight_through": True},
        # Warmer ones are told from one-hots by their softness; see gumbel_softmax.py.
        {},  # the default, 0.1
    ],
    ids=["straight_through", "relaxed"],
)
def test_moves_toward_a_target_that_it_can_represent(settings):
    hparams = TrainingHParams(g_learning_rate=0.01, d_learning_rate=0.01, d_l2=0.0, **settings)
    method = gumbel_softmax(toy_target.GENERATOR, toy_target.CNN, hparams)
    before, after = toy_target.distances(method, rounds=60)
    # Found: from 0.77 to 0.35-0.42 and 0.33-0.42; relaxed at 1.0 falling to 0.5, up to 0.80-0.99.
    # With kernels that round otherwise one of five came to 0.64: games part ways over a rounding.
    assert np.sort(after)[-2] < 0.7 * before.min()
    assert after.max() < 0.9 * before.min()
