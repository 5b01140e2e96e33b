"""SeqGAN's steps: the exact policy gradient, what each step touches, and its pieces by hand.

A step's gradient is read from Adam's first moment: after one step from zero it is
(1 - 0.9) * gradient, with clipping put out of reach.
"""

import collections
import dataclasses
import functools
import itertools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.losses import policy_gradient_loss
from seqgan_jax.methods.constant_reward import constant_reward
from seqgan_jax.methods.policy_gradient import advantages, update_rollout_policy
from seqgan_jax.methods.random_reward import random_reward as random_method
from seqgan_jax.methods.seqgan import seqgan
from seqgan_jax.models.discriminator import text_cnn
from seqgan_jax.models.generator import gru, lstm
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.search.rewards import discriminator_reward, random_reward
from seqgan_jax.search.rollout import action_values
from seqgan_jax.search.sampling import sample
from seqgan_jax.types import LabelledBatch, LanguageModel, Samples, mask_until_end

V, T = 3, 3


def table_model():
    """The simplest model that remembers: a row of logits for each pair of tokens gone before."""

    def step(params, previous, token):
        return token, params["table"][previous, token]

    return LanguageModel(
        vocab_size=V,
        init=lambda key: {"table": jax.random.normal(key, (V, V, V))},
        initial_state=lambda params, batch_size: jnp.zeros((batch_size,), jnp.int32),
        step=step,
    )


TABLE = table_model()  # compiles in a fraction of the time, so it stands in where it can
# N(0, 1) parameters: at the default 0.1 every sequence would be about equally likely.
LSTM = lstm(V, 2, 3, init_scale=1.0)
ENDING = gru(V, 2, 3, end_token=2, pad_token=0, init_scale=1.0)
CLASSIFIER = text_cnn(V, 3, ((2, 4),), dropout_rate=0.25)
UNCLIPPED = TrainingHParams(g_clip_norm=1e9, num_rollouts=2)
REWARDS = jnp.asarray(np.random.default_rng(0).uniform(0.0, 1.0, V**T), jnp.float32)


def table_reward(tokens, mask):
    """An arbitrary but fixed reward for each of the 27 sequences."""
    del mask
    return REWARDS[tokens @ (V ** jnp.arange(T))]


def ones(batch_size, length=T):
    """A batch of which only the shape matters."""
    shape = (batch_size, length)
    return Samples(jnp.ones(shape, jnp.int32), jnp.ones(shape, bool))


def labelled(batch_size=4, length=T):
    """Real sequences all 0, generated ones all 1."""
    labels = jnp.arange(batch_size) < batch_size // 2
    tokens = jnp.where(labels[:, None], 0, 1) * jnp.ones((1, length), jnp.int32)
    return LabelledBatch(tokens, jnp.ones(tokens.shape, bool), labels.astype(jnp.float32))


TRACES = collections.Counter()


@functools.cache
def jitted(name, hparams=UNCLIPPED, model=TABLE, classifier=CLASSIFIER, reward=None, method=seqgan):
    """A function of the method, compiled once for all tests; its traces are counted."""
    function = getattr(method(model, classifier, hparams), name)
    if reward is not None:
        function = functools.partial(function, reward=reward)

    def counted(*args):
        TRACES[name, hparams, model, classifier, reward, method] += 1
        return function(*args)

    return jax.jit(counted)


def start(model=TABLE, classifier=CLASSIFIER, seed=0):
    """A fresh state; of the settings only the kinds of optimiser matter to it, not their rates."""
    return jitted("init_state", UNCLIPPED, model, classifier)(jax.random.key(seed))


def judging(state):
    """The state with a discriminator of larger parameters, which has opinions from the start."""
    larger = jax.tree.map(lambda leaf: 3.0 * leaf, state.discriminator)
    return dataclasses.replace(state, discriminator=larger)


def gradient_in(opt_state):
    return jax.tree.map(lambda mu: mu / 0.1, optax.tree.get(opt_state, "mu"))


def host(tree):
    """The leaves as NumPy arrays, keys as their bits."""
    return jax.tree.map(
        lambda leaf: np.asarray(
            jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        ),
        tree,
    )


def assert_close(one, other, **tolerance):
    jax.tree.map(functools.partial(np.testing.assert_allclose, **tolerance), host(one), host(other))


def changed_fields(before, after):
    def equal(one, other):
        leaves = zip(jax.tree.leaves(host(one)), jax.tree.leaves(host(other)), strict=True)
        return all(np.array_equal(a, b, equal_nan=True) for a, b in leaves)

    return {
        field.name
        for field in dataclasses.fields(before)
        if not equal(getattr(before, field.name), getattr(after, field.name))
    }


# The policy gradient is exact.


def sequences(model):
    """Every sequence that the model can draw, and its mask."""
    tokens = np.array(list(itertools.product(range(V), repeat=T)))
    mask = np.asarray(mask_until_end(jnp.asarray(tokens), model.end_token))
    drawable = (mask | (tokens == model.pad_token)).all(axis=1)
    return jnp.asarray(tokens[drawable]), jnp.asarray(mask[drawable])


def probabilities(model, params, tokens, mask):
    """P(sequence), from the model's `step` alone."""
    state = model.initial_state(params, len(tokens))
    fed, total = jnp.full((len(tokens),), model.start_token), 0.0
    for position in range(T):
        state, logits = model.step(params, state, fed)
        fed = tokens[:, position]
        chosen = jax.nn.log_softmax(logits)[jnp.arange(len(tokens)), fed]
        total += jnp.where(mask[:, position], chosen, 0.0)
    return jnp.exp(total)


@functools.cache
def expected_gradient(model, reward):
    """`params -> gradient of E[reward]`, over all sequences."""
    tokens, mask = sequences(model)

    def expected_reward(params):
        return (probabilities(model, params, tokens, mask) * reward(tokens, mask)).sum()

    return jax.jit(lambda params: ravel_pytree(jax.grad(expected_reward)(params))[0])


def exact_gradient(model, params, reward):
    return np.asarray(expected_gradient(model, reward)(params), np.float64)


def step_gradients(model, hparams, batch_size, reward, baseline, num_keys=20_000):
    """Minus the gradient that `generator_step` hands to Adam under each of many keys, `[K, P]`."""
    state = dataclasses.replace(judging(start(model)), baseline=jnp.asarray(baseline))
    step = seqgan(model, CLASSIFIER, hparams).generator_step

    def gradient(key):
        after, _ = step(dataclasses.replace(state, key=key), ones(batch_size), reward=reward)
        return -ravel_pytree(gradient_in(after.g_opt_state))[0]

    keys = jax.random.split(jax.random.key(1), num_keys)
    return state, np.asarray(jax.jit(jax.vmap(gradient))(keys), np.float64)


def standard_errors_away(gradients, expected):
    """The largest distance of a component's mean from its expectation, in standard errors."""
    error = gradients.std(axis=0) / np.sqrt(len(gradients))
    return np.max(np.abs(gradients.mean(axis=0) - expected) / (error + 1e-7))


@pytest.mark.parametrize("model", [TABLE, LSTM, ENDING], ids=["table", "lstm", "end_token"])
def test_sequences_are_all_there_are_and_unevenly_likely(model):
    params = start(model=model).generator
    tokens, mask = sequences(model)
    # With end token 2: one of length 1, two of length 2, and 2 * 2 * 3 of length 3.
    assert len(tokens) == (15 if model is ENDING else 27)
    likely = jax.jit(functools.partial(probabilities, model))(params, tokens, mask)
    np.testing.assert_allclose(likely.sum(), 1.0, rtol=1e-5)
    assert likely.max() > 5 * likely.min()


@pytest.mark.parametrize(
    ("model", "baseline", "average", "batch_size", "factor"),
    [
        (LSTM, "none", np.nan, 2, 1.0),
        (TABLE, "none", np.nan, 2, 1.0),
        (TABLE, "leave_one_out", np.nan, 2, 1.0),
        (TABLE, "leave_one_out", np.nan, 4, 1.0),
        (TABLE, "moving_average", 0.4, 2, 1.0),
        (TABLE, "prefix", np.nan, 2, 1.0),
        # A sequence's own value is in its baseline: a share 1 / B of the gradient is lost.
        (TABLE, "batch_mean", np.nan, 2, 1 / 2),
        (TABLE, "batch_mean", np.nan, 4, 3 / 4),
    ],
)
def test_mean_policy_gradient_is_exact(model, baseline, average, batch_size, factor):
    # Tolerance: 5 standard errors, from the spread over 20,000 keys. A normal deviate passes it
    # once in 1.7 million times, and there are about 100 components.
    hparams = dataclasses.replace(UNCLIPPED, baseline=baseline)
    state, gradients = step_gradients(model, hparams, batch_size, table_reward, average)
    # The loss sums over the batch, so its gradient is B times that of one sequence.
    exact = batch_size * exact_gradient(model, state.generator, table_reward)
    assert standard_errors_away(gradients, factor * exact) < 5.0
    # The same measure refuses the wrong sign, a mean for a sum, and the other baselines' factor.
    other = 1.0 if factor != 1.0 else (batch_size - 1) / batch_size
    for wrong in (-factor, factor / batch_size, other):
        assert standard_errors_away(gradients, wrong * exact) > 8.0, wrong


@pytest.mark.parametrize(
    ("baseline", "average", "factor"),
    [
        *[("leave_one_out", np.nan, 1.0), ("batch_mean", np.nan, 0.5)],
        *[("moving_average", 0.4, 1.0), ("prefix", np.nan, 1.0)],
    ],
)
def test_mean_policy_gradient_is_exact_where_sequences_end(baseline, average, factor):
    hparams = dataclasses.replace(UNCLIPPED, baseline=baseline)
    state, gradients = step_gradients(ENDING, hparams, 2, table_reward, average)
    exact = 2 * exact_gradient(ENDING, state.generator, table_reward)
    assert standard_errors_away(gradients, factor * exact) < 5.0
    for wrong in (-factor, 1.5 - factor):
        assert standard_errors_away(gradients, wrong * exact) > 8.0


def test_mean_policy_gradient_is_exact_for_the_discriminators_probability():
    assert UNCLIPPED.reward == "probability"
    hparams = dataclasses.replace(UNCLIPPED, baseline="leave_one_out")  # less noise
    state, gradients = step_gradients(TABLE, hparams, 2, None, np.nan)
    by_discriminator = discriminator_reward(CLASSIFIER, state.discriminator)
    exact = 2 * exact_gradient(TABLE, state.generator, by_discriminator)
    assert standard_errors_away(gradients, exact) < 5.0
    assert standard_errors_away(gradients, -exact) > 8.0


@pytest.mark.parametrize(
    ("model", "baseline"),
    [(TABLE, "batch_mean"), (ENDING, "leave_one_out")],
    ids=["table", "end_token"],
)
def test_generator_step_is_its_published_pieces(model, baseline):
    hparams = dataclasses.replace(UNCLIPPED, baseline=baseline, num_rollouts=5)
    state = dataclasses.replace(
        judging(start(model)),
        rollout=model.init(jax.random.key(7)),  # not the generator, so a mix-up would show
        baseline=jnp.asarray(0.25),
    )
    after, metrics = jitted("generator_step", hparams, model)(state, ones(4))

    @jax.jit
    def recompute(state):
        reward = discriminator_reward(CLASSIFIER, state.discriminator)
        drawn = sample(model, state.generator, state.subkey("sample"), batch_size=4, length=T)
        values = action_values(
            model, state.rollout, reward, drawn.tokens, state.subkey("rollout"),
            num_rollouts=5, chunk_size=2,
        )  # fmt: skip
        advantage = advantages(state, values, drawn.mask, hparams=hparams)

        def loss_of(params):
            chosen = log_probs(model, params, drawn.tokens)
            return policy_gradient_loss(chosen, advantage, drawn.mask)

        return jax.value_and_grad(loss_of)(state.generator), values[:, -1], advantage, drawn.mask

    (loss, gradient), rewards, advantage, mask = recompute(state)
    np.testing.assert_allclose(metrics["g_loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["g_grad_norm"], optax.tree.norm(gradient), rtol=1e-5)
    np.testing.assert_allclose(metrics["reward_mean"], np.mean(rewards), rtol=1e-5)
    np.testing.assert_allclose(metrics["reward_std"], np.std(rewards), rtol=1e-4)
    real = np.asarray(advantage)[np.asarray(mask)]
    np.testing.assert_allclose(metrics["advantage_std"], np.std(real), rtol=1e-4)
    assert_close(gradient_in(after.g_opt_state), gradient, rtol=1e-4, atol=1e-6)
    # 0.9 * 0.25 + 0.1 * mean reward
    np.testing.assert_allclose(after.baseline, 0.225 + 0.1 * np.mean(rewards), rtol=1e-5)


@pytest.mark.parametrize(
    ("baseline", "average", "expected"),
    [
        ("none", 9.0, [[1.0, 2.0], [3.0, 6.0]]),
        ("batch_mean", 9.0, [[-1.0, -2.0], [1.0, 2.0]]),  # less (1 + 3) / 2 and (2 + 6) / 2
        ("leave_one_out", 9.0, [[-2.0, -4.0], [2.0, 4.0]]),  # less the other's
        ("prefix", 9.0, [[-2.0, 1.0], [2.0, 3.0]]),  # less the other's, then less the prefix's
        ("moving_average", 0.5, [[0.5, 1.5], [2.5, 5.5]]),
        ("moving_average", np.nan, [[1.0, 2.0], [3.0, 6.0]]),  # no reward seen yet: nothing off
    ],
)
def test_advantages(baseline, average, expected):
    state = dataclasses.replace(start(), baseline=jnp.asarray(average))
    values, mask = jnp.array([[1.0, 2.0], [3.0, 6.0]]), jnp.ones((2, 2), bool)
    result = advantages(state, values, mask, hparams=TrainingHParams(baseline=baseline))
    np.testing.assert_allclose(result, expected, rtol=1e-6)


# Rewards.


def test_constant_reward_is_likelihood_of_its_own_samples():
    hparams, state = dataclasses.replace(UNCLIPPED, baseline="leave_one_out"), start()
    _, metrics = jitted("generator_step", hparams, method=constant_reward)(state, ones(4))
    drawn = sample(TABLE, state.generator, state.subkey("sample"), batch_size=4, length=T)
    # Every Q is 1 and no baseline is taken from it, so the loss is -sum log G.
    expected = -log_probs(TABLE, state.generator, drawn.tokens).sum()
    np.testing.assert_allclose(metrics["g_loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(metrics["reward_mean"], 1.0)
    np.testing.assert_allclose(metrics["reward_std"], 0.0)
    np.testing.assert_allclose(metrics["advantage_std"], 0.0)


def test_random_reward_is_that_of_the_steps_own_key():
    state = start()
    after, metrics = jitted("generator_step", method=random_method)(state, ones(4))
    drawn = sample(TABLE, state.generator, state.subkey("sample"), batch_size=4, length=T)
    rewards = random_reward(state.subkey("reward"))(drawn.tokens, drawn.mask)
    np.testing.assert_allclose(metrics["reward_mean"], rewards.mean(), rtol=1e-5)
    assert 0.05 < metrics["reward_std"] < 0.5
    # Another step, other rewards for the same sequences.
    again = random_reward(after.subkey("reward"))(drawn.tokens, drawn.mask)
    assert not np.array_equal(rewards, again)


# What each step touches.


def test_pretraining_touches_the_generator_and_the_rollout_policy_follows():
    state = start()
    after, _ = jitted("pretrain_generator_step")(state, ones(4))
    assert changed_fields(state, after) == {"step", "generator", "rollout", "mle_opt_state"}
    assert_close(after.rollout, after.generator, rtol=0)
    assert after.step == state.step + 1


def test_generator_step_touches_the_generator_only():
    state = start()
    after, _ = jitted("generator_step")(state, ones(4))
    assert changed_fields(state, after) == {"step", "generator", "g_opt_state", "baseline"}
    assert after.step == state.step + 1


def test_discriminator_step_touches_the_discriminator_only():
    state = start()
    after, _ = jitted("discriminator_step")(state, labelled())
    assert changed_fields(state, after) == {"step", "discriminator", "d_opt_state"}
    assert after.step == state.step + 1


# Everything that differs from UNCLIPPED here is seen in one of the next three tests.
LIMITED = TrainingHParams(
    mle_learning_rate=0.3,
    g_learning_rate=0.02,
    d_learning_rate=0.001,
    g_clip_norm=0.01,
    d_l2=3.2,
    num_rollouts=2,
)


def test_every_optimiser_has_its_own_learning_rate():
    # Adam's first step is the learning rate wherever the gradient is far above its epsilon.
    state = start()
    after, _ = jitted("pretrain_generator_step", LIMITED)(state, ones(4))
    moved = jnp.abs(after.generator["table"] - state.generator["table"]).max()
    np.testing.assert_allclose(moved, 0.3, rtol=1e-3)
    after, _ = jitted("generator_step", LIMITED)(state, ones(4))
    moved = jnp.abs(after.generator["table"] - state.generator["table"]).max()
    np.testing.assert_allclose(moved, 0.02, rtol=1e-3)
    after, _ = jitted("discriminator_step", LIMITED)(state, labelled())
    moved = jnp.abs(after.discriminator["output"]["bias"] - state.discriminator["output"]["bias"])
    np.testing.assert_allclose(moved, 0.001, rtol=1e-3)


@pytest.mark.parametrize("step", ["pretrain_generator_step", "generator_step"])
def test_generator_gradients_are_clipped_and_reported_unclipped(step):
    player = "mle" if step.startswith("pretrain") else "g"
    state, field, norm = start(), f"{player}_opt_state", f"{player}_grad_norm"
    free, metrics = jitted(step)(state, ones(4))
    assert metrics[norm] > 0.02  # twice the limit
    clipped, reported = jitted(step, LIMITED)(state, ones(4))
    np.testing.assert_allclose(reported[norm], metrics[norm], rtol=1e-6)
    scale = 0.01 / metrics[norm]
    expected = jax.tree.map(lambda leaf: scale * leaf, gradient_in(getattr(free, field)))
    assert_close(gradient_in(getattr(clipped, field)), expected, rtol=1e-4, atol=1e-8)


def test_l2_of_the_output_layer_enters_the_discriminators_gradient_and_not_its_loss():
    state = start()
    free, metrics = jitted("discriminator_step")(state, labelled())
    penalised, others = jitted("discriminator_step", LIMITED)(state, labelled())
    np.testing.assert_allclose(others["d_loss"], metrics["d_loss"], rtol=1e-6)
    assert abs(others["d_grad_norm"] - metrics["d_grad_norm"]) > 0.01
    difference = jax.tree.map(
        jnp.subtract, gradient_in(penalised.d_opt_state), gradient_in(free.d_opt_state)
    )
    expected = jax.tree.map(jnp.zeros_like, state.discriminator)
    # LIMITED weighs 0.5 * |w|^2, whose gradient is w, by 3.2, and UNCLIPPED by 0.2.
    expected["output"] = jax.tree.map(lambda leaf: 3.0 * leaf, state.discriminator["output"])
    assert_close(difference, expected, rtol=1e-4, atol=1e-6)


def test_discriminator_metrics_are_those_of_the_dropped_out_logits():
    state, batch = start(), labelled()
    _, metrics = jitted("discriminator_step")(state, batch)
    embedded = CLASSIFIER.embed(state.discriminator, batch.tokens)
    logits = jax.jit(CLASSIFIER.apply)(
        state.discriminator, embedded, batch.mask, state.subkey("dropout")
    )
    # -log D for the real, -log(1 - D) for the generated.
    correct = jax.nn.sigmoid(jnp.where(batch.labels == 1, logits, -logits))
    np.testing.assert_allclose(metrics["d_loss"], -jnp.log(correct).mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["d_accuracy"], (correct > 0.5).mean(), rtol=1e-6)


# The rollout policy.


@pytest.mark.parametrize(
    ("policy", "rate", "expected"),
    [
        ("copy", 0.8, [10.0, -20.0]),
        ("frozen", 0.8, [1.0, 2.0]),
        ("moving_average", 0.8, [2.8, -2.4]),  # 0.8 * 1 + 0.2 * 10, 0.8 * 2 - 0.2 * 20
        ("moving_average", 0.0, [10.0, -20.0]),
        ("moving_average", 1.0, [1.0, 2.0]),
    ],
)
def test_update_rollout_policy(policy, rate, expected):
    state = dataclasses.replace(
        start(), rollout={"w": jnp.array([1.0, 2.0])}, generator={"w": jnp.array([10.0, -20.0])}
    )
    hparams = TrainingHParams(rollout_policy=policy, rollout_update_rate=rate)
    after = update_rollout_policy(state, hparams=hparams)
    np.testing.assert_allclose(after.rollout["w"], expected, rtol=1e-6)
    assert changed_fields(state, after) <= {"rollout"}
    # What a Method ends its rounds with is this very function.
    ended = seqgan(TABLE, CLASSIFIER, hparams).end_round(state)
    np.testing.assert_array_equal(ended.rollout["w"], after.rollout["w"])


@pytest.mark.parametrize("name", ["init_state", "pretrain_generator_step", "end_round"])
def test_no_array_is_held_twice_so_that_every_state_can_be_donated(name):
    function = getattr(seqgan(TABLE, CLASSIFIER, UNCLIPPED), name)
    arguments = {
        "init_state": (jax.random.key(0),),
        "pretrain_generator_step": (start(), ones(4)),
        "end_round": (start(),),
    }[name]
    traced, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
    produced = jax.tree.unflatten(jax.tree.structure(shapes), map(id, traced.jaxpr.outvars))
    produced = produced[0] if name == "pretrain_generator_step" else produced
    # One variable under two names would be one buffer.
    assert produced.generator["table"] != produced.rollout["table"]


# Keys.


def test_subkeys_differ_by_use_and_step_and_repeat_exactly():
    uses = ("sample", "rollout", "reward", "dropout", "shuffle", "real", "negatives", "positives")
    state = start()
    found = {
        tuple(host(dataclasses.replace(state, step=jnp.asarray(step, jnp.int32)).subkey(use)))
        for use in uses
        for step in range(5)
    }
    assert len(found) == 5 * len(uses)
    assert tuple(host(start().subkey("sample"))) in found
    assert tuple(host(start(seed=1).subkey("sample"))) not in found
    # A step's key is folded from the run's key and the step, then from the use.
    expected = jax.random.fold_in(jax.random.fold_in(state.key, 0), zlib.crc32(b"sample"))
    assert_close(state.subkey("sample"), expected)


def test_steps_draw_afresh_and_the_same_state_draws_the_same():
    state, step = start(), jitted("generator_step")
    first, metrics = step(state, ones(4))
    again, same = step(state, ones(4))
    assert_close((again, same), (first, metrics), rtol=0)
    later = dataclasses.replace(state, step=state.step + 1)
    assert step(later, ones(4))[1]["g_loss"] != metrics["g_loss"]


def test_dropout_differs_from_step_to_step():
    state = start()
    step = jitted("discriminator_step")
    losses = {
        float(
            step(dataclasses.replace(state, step=jnp.asarray(i, jnp.int32)), labelled())[1][
                "d_loss"
            ]
        )
        for i in range(8)
    }
    assert len(losses) > 1


# Transformations.

STEPS = {
    "pretrain_generator_step": ones(4),
    "generator_step": ones(4),
    "discriminator_step": labelled(),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_the_same_without_jit_and_under_vmap_over_seeds(name):
    method = seqgan(TABLE, CLASSIFIER, UNCLIPPED)
    step, batch = getattr(method, name), STEPS[name]
    keys = jax.random.split(jax.random.key(3), 3)
    states = jax.jit(jax.vmap(method.init_state))(jnp.copy(keys))
    mapped = jax.jit(jax.vmap(step, in_axes=(0, None)))(states, batch)
    take = jax.jit(lambda tree, seed: jax.tree.map(lambda leaf: leaf[seed], tree))
    norms = set()
    for seed in range(3):
        state = take(states, seed)
        assert_close(jitted("init_state")(keys[seed]), state, rtol=1e-6, atol=1e-7)
        alone = jitted(name)(state, batch)
        # vmap and jit reorder float sums: a few units in the last place, which Adam's division
        # by its own second moment magnifies on components near 0.
        assert_close(take(mapped, seed), alone, rtol=1e-4, atol=1e-5)
        if seed == 0:
            assert_close(step(state, batch), alone, rtol=1e-4, atol=1e-5)
        (norm,) = (value for key, value in alone[1].items() if key.endswith("grad_norm"))
        norms.add(round(float(norm), 4))
    assert len(norms) == 3  # seeds are different runs


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_traced_once(name):
    # The second state comes out of the first step: a changed dtype or weak type would retrace.
    step, batch = jitted(name), STEPS[name]
    state, _ = step(start(), batch)
    state, _ = step(state, batch._replace(tokens=2 - batch.tokens))
    state, _ = step(jitted("end_round")(state), batch)
    assert state.step == 3
    assert TRACES[name, UNCLIPPED, TABLE, CLASSIFIER, None, seqgan] == 1


# Learning.


def test_pretraining_learns_a_sequence():
    hparams = TrainingHParams(mle_learning_rate=0.1)
    batch = Samples(jnp.array([[1, 2, 0]] * 4), jnp.ones((4, T), bool))
    step = jitted("pretrain_generator_step", hparams)
    state, losses = start(), []
    for _ in range(50):
        state, metrics = step(state, batch)
        losses.append(float(metrics["mle_loss"]))
    assert losses[0] > 0.5
    assert losses[-1] < 0.1


def test_generator_learns_what_the_users_own_reward_asks_for():
    def share_of_ones(tokens, mask):
        del mask
        return (tokens == 1).mean(axis=-1, dtype=jnp.float32)

    hparams = TrainingHParams(g_learning_rate=0.1, baseline="leave_one_out", num_rollouts=2)
    step = jitted("generator_step", hparams, reward=share_of_ones)
    # From the uniform distribution: where chance has made a token rare, learning starts late.
    uniform = {"table": jnp.zeros((V, V, V))}
    state = dataclasses.replace(start(), generator=uniform, rollout=uniform)
    rewards = []
    drawn = sample(TABLE, state.generator, state.subkey("sample"), batch_size=16, length=T)
    for _ in range(40):
        state, metrics = step(state, ones(16))
        state = jitted("end_round", hparams)(state)
        rewards.append(float(metrics["reward_mean"]))
    # Not the discriminator's probability, which hparams.reward names.
    np.testing.assert_allclose(rewards[0], np.mean(np.asarray(drawn.tokens) == 1), rtol=1e-6)
    assert rewards[0] < 0.6
    assert rewards[-1] > 0.95


def test_discriminator_learns_to_tell_apart():
    hparams = TrainingHParams(d_learning_rate=0.03, d_l2=0.0)
    step = jitted("discriminator_step", hparams)
    state, losses = start(), []
    for _ in range(60):
        state, metrics = step(state, labelled(8))
        losses.append(float(metrics["d_loss"]))
    # Dropout keeps single losses noisy.
    assert np.mean(losses[-20:]) < 0.6 * losses[0]
    verdicts = discriminator_reward(CLASSIFIER, state.discriminator)(*labelled(2)[:2])
    assert verdicts[0] > 0.9  # the real one
    assert verdicts[1] < 0.1


# Sequences that end.


def padded(batch, length, pad_token):
    """The same sequences, with padding behind them."""
    missing = ((0, 0), (0, length - batch.tokens.shape[1]))
    return batch._replace(
        tokens=jnp.pad(batch.tokens, missing, constant_values=pad_token),
        mask=jnp.pad(batch.mask, missing),
    )


@pytest.mark.parametrize("pad_token", [0, 2])
@pytest.mark.parametrize("name", ["pretrain_generator_step", "discriminator_step"])
def test_padding_further_changes_nothing(name, pad_token):
    tokens = jnp.array([[1, 2, 0, 0], [0, 1, 1, 2], [2, 0, 0, 0], [1, 0, 2, 0]])
    mask = mask_until_end(tokens, ENDING.end_token)
    assert mask.sum() == 2 + 4 + 1 + 3
    batch = Samples(tokens, mask)
    if name == "discriminator_step":
        batch = LabelledBatch(tokens, mask, jnp.array([1.0, 0.0, 1.0, 0.0]))
    # Without dropout, and with pad tokens of either kind: an ordinary token or the end token.
    classifier = text_cnn(V, 3, ((2, 4),), dropout_rate=0.0)
    model = ENDING if name == "pretrain_generator_step" else TABLE
    step = jitted(name, UNCLIPPED, model, classifier)
    state = judging(start(model, classifier))
    result = step(state, batch)
    # Longer arrays reorder float sums; a padded position that counted would show at once.
    assert_close(step(state, padded(batch, 9, pad_token)), result, rtol=1e-4, atol=1e-6)
    unmasked = padded(batch, 9, pad_token)
    unmasked = unmasked._replace(mask=jnp.ones_like(unmasked.mask))
    loss = "mle_loss" if name == "pretrain_generator_step" else "d_loss"
    assert abs(step(state, unmasked)[1][loss] - result[1][loss]) > 1e-3
