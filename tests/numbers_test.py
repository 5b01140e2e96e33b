"""Numbers at their edges: none, saturated, all equal, one of everything, the logarithm of 0."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numbers_run import COMPARES_A_BATCH, SHORT, smallest
from tiny_run import TINY, metric_lines, run

from seqgan_jax import hparams as hp
from seqgan_jax.checked import ConfigError
from seqgan_jax.data_hparams import OracleDataHParams
from seqgan_jax.hparams import REWARDS
from seqgan_jax.losses import discriminator_loss, masked_mean, mle_loss
from seqgan_jax.methods import baselines, policy_gradient
from seqgan_jax.models.density import density
from seqgan_jax.models.generator import lstm
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.search.bleu_reward import bleu_reward
from seqgan_jax.search.drawing import draw_filtered_token
from seqgan_jax.search.likelihood_ratio import likelihood_ratio_reward
from seqgan_jax.search.ranking import rank_reward
from seqgan_jax.search.rewards import LOGIT_MAPS, discriminator_reward
from seqgan_jax.search.sampling import sample
from seqgan_jax.training import experiment
from seqgan_jax.types import LabelledBatch, Samples, SequenceClassifier

V, T = 5, 3
GENERATOR = lstm(V, 3, 3)


def all_finite(tree):
    return all(
        bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree)
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    )  # fmt: skip


def players(hparams):
    """Steps of every kind in one function, and a state."""
    sizes = hparams.sizes
    train = Samples(
        jnp.arange(8 * sizes.length).reshape(8, -1) % sizes.vocab_size,
        jnp.ones((8, sizes.length), bool),
    )
    method = experiment.build_models(hparams, train=train).method
    real = Samples(*(leaf[: hparams.schedule.batch_size] for leaf in train))
    both = LabelledBatch(*(leaf[:2] for leaf in train), jnp.array([1.0, 0.0]))

    @jax.jit
    def steps(state):
        """What a step of each kind tells of the same state; and the last one's state."""
        _, pretrained = method.pretrain_generator_step(state, real)
        _, judged = method.discriminator_step(state, both)
        state, generated = method.generator_step(state, real)
        told = {"pretrain": pretrained, "discriminator": judged, "generator": generated}
        return method.end_round(state), told

    return method, steps, jax.jit(method.init_state)(jax.random.key(0))


# No number is masked.


def spoilt(params, value):
    """One number of every tensor is `value`."""
    return jax.tree.map(lambda leaf: leaf.at[(0,) * leaf.ndim].set(value), params)


# Each stands for those that share its steps: compiling them is what takes the time.
@pytest.mark.parametrize(
    "method", ["mle", "seqgan", "gumbel_softmax", "wgan_gp", "maligan", "rankgan"]
)
def test_every_method_tells_of_what_is_not_finite(method):
    """A loss and a gradient's norm, before clipping, of each player; the reward's mean."""
    hparams = dataclasses.replace(TINY, method=method)
    made, steps, state = players(hparams)
    state, told = steps(state)
    assert all_finite((told, state.generator))
    for value in (jnp.nan, jnp.inf):
        bad = spoilt(state.generator, value)
        _, told = steps(dataclasses.replace(state, generator=bad, rollout=bad))
        for player in ("pretrain", "generator"):
            prefix = "mle" if "mle_loss" in told[player] else "g"
            for name in (f"{prefix}_loss", f"{prefix}_grad_norm"):
                assert not jnp.isfinite(told[player][name]), (player, name, value)
        _, told = steps(
            dataclasses.replace(state, discriminator=spoilt(state.discriminator, value))
        )
        assert not jnp.isfinite(told["discriminator"]["d_loss"])
        assert not jnp.isfinite(told["discriminator"]["d_grad_norm"])
        if made.uses_discriminator:
            for name in ("reward_mean", "reward_std", "g_loss", "g_grad_norm"):
                assert not jnp.isfinite(told["generator"][name]), (name, value)


# One of everything.


@pytest.mark.parametrize("method", ["maligan", "rankgan", "gumbel_softmax", "wgan_gp", "pg_bleu"])
def test_methods_take_the_smallest_steps(method):
    """Under jax_debug_nans: T = 1, V = 2, B = 1, or 2 where a batch is compared.

    The other methods, which differ from seqgan's run below by less, do so in numbers_run.py.
    """
    hparams = smallest(method)
    with jax.debug_nans(True):
        _, steps, state = players(hparams)
        before = state.generator
        for _ in range(2):
            state, told = steps(state)
    assert all_finite(told)
    assert any(
        bool((a != b).any())
        for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(state.generator), strict=True)
    )
    if method in COMPARES_A_BATCH:
        with pytest.raises(ConfigError, match=r"schedule.batch_size=1: method=.* at least 2"):
            dataclasses.replace(
                hparams, schedule=dataclasses.replace(hparams.schedule, batch_size=1)
            )


@pytest.mark.parametrize("discriminator", ["text_cnn", "density"])
def test_a_run_of_the_smallest_numbers(tmp_path, discriminator):
    hparams = smallest("seqgan")
    if discriminator == "density":
        hparams = dataclasses.replace(
            hparams,
            discriminator=hp.DiscriminatorHParams(kind="density", embed_dim=2, hidden_dim=2),
            training=dataclasses.replace(
                hparams.training, d_l2=0.0, reward="likelihood_ratio", reward_per_token=True
            ),
        )
    with jax.debug_nans(True):
        run(hparams, tmp_path)
    phases = {line["phase"] for line in metric_lines(tmp_path)}
    assert phases == {"g_pretrain", "d_pretrain", "adversarial"}
    assert len((tmp_path / "samples.txt").read_text().split()) == 7


def test_what_cannot_be_smaller_is_refused():
    with pytest.raises(ConfigError, match=r"vocab_size=1: must be at least 2"):
        OracleDataHParams(vocab_size=1)
    with pytest.raises(ConfigError, match=r"length=0: must be at least 1"):
        OracleDataHParams(length=0)
    with pytest.raises(ConfigError, match=r"width 2 does not fit sequences of data.length=1"):
        dataclasses.replace(SHORT, data=dataclasses.replace(SHORT.data, length=1))
    hparams = smallest("seqgan")
    with pytest.raises(ConfigError, match=r"batch_size=1: training.baseline=prefix needs"):
        dataclasses.replace(hparams, training=hp.TrainingHParams(baseline="prefix"))
    with pytest.raises(ConfigError, match=r"d_batch_size=1: must be at least 2"):
        hp.ScheduleHParams(d_batch_size=1)


def test_a_vocabulary_of_one_token_is_no_choice():
    model = lstm(1, 2, 2)
    params = model.init(jax.random.key(0))
    with jax.debug_nans(True):
        drawn = sample(model, params, jax.random.key(1), batch_size=1, length=1)
        loss, grads = jax.value_and_grad(
            lambda params: mle_loss(log_probs(model, params, drawn.tokens), drawn.mask)
        )(params)
    assert drawn.tokens == 0
    assert loss == pytest.approx(0.0, abs=1e-6)
    assert all(np.abs(leaf).max() < 1e-6 for leaf in jax.tree.leaves(grads))


# Rewards that are saturated, or all the same.


def certain(logit):
    """A discriminator that is certain: real where the first token is 0, by a logit of so much."""
    return SequenceClassifier(
        init=lambda key: {"scale": jnp.float32(logit)},
        embed=lambda params, tokens: tokens[..., None].astype(jnp.float32),
        apply=lambda params, embedded, mask, key: (
            params["scale"] * jnp.where(embedded[:, 0, 0] == 0, 1.0, -1.0)
        ),
        penalty=lambda params: jnp.zeros(()),
        features=lambda params, embedded, mask, key: params["scale"] * embedded[:, :, 0],
    )


TOKENS = jnp.array([[0, 1, 2], [1, 2, 3], [0, 0, 4], [2, 2, 2]])
MASK = jnp.ones(TOKENS.shape, bool)
EXPECTED = {  # of a logit of 1e4 and of -1e4
    "probability": (1.0, 0.0), "log_probability": (0.0, -1e4), "logit": (1e4, -1e4),
    "centred": (1.0, -1.0),
}  # fmt: skip


@pytest.mark.parametrize("kind", LOGIT_MAPS)
def test_rewards_of_a_certain_discriminator_are_finite(kind):
    """A probability is exactly 0 or 1 then; no logarithm of it is taken."""
    classifier = certain(1e4)
    reward = discriminator_reward(classifier, classifier.init(None), kind)
    yes, no = EXPECTED[kind]
    np.testing.assert_array_equal(reward(TOKENS, MASK), [yes, no, yes, no])


@functools.cache
def policy_state():
    settings = dataclasses.replace(
        TINY, data=dataclasses.replace(TINY.data, vocab_size=V, length=T),
        model=hp.ModelHParams(embed_dim=3, hidden_dim=3),
    )  # fmt: skip
    return jax.jit(experiment.build_models(settings).method.init_state)(jax.random.key(0))


@jax.jit  # as in a run: a clipped gradient of 0 is 0 / 0 in passing
def follow(state, weights, rewards):
    return policy_gradient.follow(
        state, Samples(TOKENS, MASK), rewards, weights, language_model=GENERATOR,
        hparams=hp.TrainingHParams(),
    )  # fmt: skip


@pytest.mark.parametrize("kind", LOGIT_MAPS)
def test_a_step_up_saturated_rewards_is_finite(kind):
    yes, no = EXPECTED[kind]
    rewards = jnp.array([yes, no, yes, no])
    with jax.debug_nans(True):
        weights = jnp.broadcast_to(rewards[:, None], TOKENS.shape)
        state, told = follow(policy_state(), weights, rewards)
    assert all_finite((state, told))


def test_a_certain_discriminator_learns_without_nan():
    """Right, and wrong, by a logit of 1e4: the loss is 0, and 1e4 nats."""
    labels = jnp.array([1.0, 0.0])
    with jax.debug_nans(True):
        for sign, expected, slope in ((1.0, 0.0, 0.0), (-1.0, 1e4, 0.5)):
            logits = sign * jnp.array([1e4, -1e4])
            loss, grads = jax.value_and_grad(discriminator_loss)(logits, labels)
            assert loss == expected
            np.testing.assert_array_equal(np.abs(grads), slope)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5])
@pytest.mark.parametrize("baseline", ["batch_mean", "leave_one_out", "prefix", "moving_average"])
def test_equal_rewards_move_nothing(baseline, value):
    """What all earn, the baseline takes: the gradient is 0, and Adam's step is too."""
    hparams = hp.TrainingHParams(baseline=baseline)
    state = dataclasses.replace(policy_state(), baseline=jnp.float32(value))
    values = jnp.full(TOKENS.shape, value)
    weights = policy_gradient.advantages(state, values, MASK, hparams=hparams)
    np.testing.assert_array_equal(weights, 0.0)
    with jax.debug_nans(True):
        after, told = follow(state, weights, values[:, -1])
    assert told["g_grad_norm"] == told["g_loss"] == told["advantage_std"] == 0.0
    assert told["reward_std"] == 0.0
    jax.tree.map(np.testing.assert_array_equal, state.generator, after.generator)


def test_equal_rewards_that_round_leave_rounding():
    """0.3 is no binary fraction: what is left of it is the rounding of a mean."""
    values = jnp.full((4, 3), 0.3)
    for baseline in (baselines.batch_mean, baselines.leave_one_out):
        assert np.abs(values - baseline(values, MASK)).max() <= 2.0**-24
    weights = values - baselines.leave_one_out(values, MASK)
    _, told = follow(policy_state(), weights, values[:, -1])
    assert told["g_grad_norm"] < 1e-6


# The logarithm of 0.


def test_sequences_without_a_token_have_no_loss_and_no_gradient():
    nothing = jnp.zeros(TOKENS.shape, bool)
    params = GENERATOR.init(jax.random.key(0))
    with jax.debug_nans(True):
        loss, grads = jax.value_and_grad(
            lambda params: mle_loss(log_probs(GENERATOR, params, TOKENS, mask=nothing), nothing)
        )(params)
        assert masked_mean(jnp.full((2,), jnp.inf), jnp.zeros(2, bool)) == 0.0
    assert loss == 0.0
    for leaf in jax.tree.leaves(grads):
        np.testing.assert_array_equal(leaf, 0.0)


@pytest.mark.parametrize("kind", [*REWARDS, "bleu", "rank"])
def test_sequences_without_a_token_have_a_finite_reward(kind):
    classifier = certain(1.0)
    real = Samples(TOKENS, MASK)
    if kind == "bleu":
        reward = bleu_reward(real, 3)
    elif kind == "rank":
        reward = rank_reward(classifier, classifier.init(None), real, real, 10.0)
    elif kind == "likelihood_ratio":
        judge = density(GENERATOR)
        reward = likelihood_ratio_reward(
            judge, judge.init(jax.random.key(0)), GENERATOR, GENERATOR.init(jax.random.key(1)),
            entropy=0.5, min_nll=1.0, per_token=True,
        )  # fmt: skip
    else:
        reward = discriminator_reward(classifier, classifier.init(None), kind)
    with jax.debug_nans(True):
        values = jax.jit(reward)(TOKENS, MASK.at[1].set(False))
    assert values.shape == (4,)
    assert all_finite(values)
    if kind in ("bleu", "likelihood_ratio"):
        assert values[1] == 0.0


@pytest.mark.parametrize(
    ("top_k", "top_p", "expected"),
    [
        (None, None, [1, 1, 2]), (9, 1.0, [1, 1, 2]),
        (1, None, [1, 1, 1]), (None, 1e-6, [1, 1, 1]), (2, 0.5, [1, 1, 1]),
    ],
)  # fmt: skip
def test_tokens_of_no_probability_are_never_drawn(top_k, top_p, expected):
    """By -inf logits two tokens are left, by a filter one; the uniform is at either end."""
    logits = jnp.array([[-jnp.inf, 2.0, 1.0, -jnp.inf]] * 3)
    uniform = jnp.array([0.0, 0.5, 1.0 - 2.0**-24])
    draw = functools.partial(draw_filtered_token, top_k=top_k, top_p=top_p)
    with jax.debug_nans(True):
        drawn = jax.jit(draw)(logits, uniform)
    np.testing.assert_array_equal(drawn, expected)


def test_a_token_of_no_probability_is_infinitely_unlikely_and_stops_nobody_else():
    """Its own NLL is infinite, as it should be, others' are not."""
    model = lstm(4, 2, 2, end_token=1, pad_token=0, draws_pad=False)
    params = model.init(jax.random.key(0))
    tokens = jnp.array([[2, 1, 0], [3, 2, 1]])
    mask = jnp.array([[True, True, False], [True, True, True]])

    def loss_of(params):
        return mle_loss(log_probs(model, params, tokens, mask=mask), mask)

    with jax.debug_nans(True):
        loss, grads = jax.jit(jax.value_and_grad(loss_of))(params)
        assert all_finite((loss, grads))
        of_pad = log_probs(model, params, jnp.array([[0, 2, 1]]))
    assert of_pad[0, 0] < -1e4
    assert all_finite(of_pad[0, 1:])
