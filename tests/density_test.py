"""The density as a discriminator: its logit, its reward, what it learns and what G learns of it.

Everything is enumerated: with V = T = 3 there are 27 sequences.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.losses import discriminator_loss
from seqgan_jax.methods.seqgan import reward_of, seqgan
from seqgan_jax.models.density import density
from seqgan_jax.models.discriminator import text_cnn
from seqgan_jax.models.generator import gru, lstm
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.search.likelihood_ratio import against_generator, likelihood_ratio_reward
from seqgan_jax.search.rewards import discriminator_reward
from seqgan_jax.types import LabelledBatch, LanguageModel, Samples, mask_until_end

V, T = 3, 3
ENDING = gru(V, 2, 3, end_token=2, pad_token=0, init_scale=1.0)
ALL = jnp.asarray(list(itertools.product(range(V), repeat=T)))
WHOLE = jnp.ones(ALL.shape, bool)


def _step(params, prefix, token):
    prefix = jnp.where(prefix < 0, 0, prefix * V + token + 1)  # the start token makes no prefix
    return prefix, params[prefix]


# A row of logits for every prefix, 1 + 3 + 9: it can represent every distribution of 27 sequences.
TABLE = LanguageModel(
    vocab_size=V,
    init=lambda key: jax.random.normal(key, (13, V)),
    initial_state=lambda params, batch_size: jnp.full((batch_size,), -1),
    step=_step,
)


def table(seed):
    return TABLE.init(jax.random.key(seed))


def log_likelihoods(params, model=TABLE):
    return np.asarray(log_probs(model, params, ALL).sum(axis=1), np.float64)


def test_it_is_the_log_likelihood_of_real_tokens():
    params = ENDING.init(jax.random.key(0))
    mask = mask_until_end(ALL, ENDING.end_token)
    each = np.asarray(log_probs(ENDING, params, ALL))
    expected = [sum(row[: int(real.sum())]) for row, real in zip(each, mask, strict=True)]
    classifier = density(ENDING, 0.5)
    result = classifier.apply(params, classifier.embed(params, ALL), mask, None)
    np.testing.assert_allclose(result, expected, rtol=1e-5)
    assert classifier.is_density
    np.testing.assert_array_equal(classifier.penalty(params), 0.0)


def test_dropout_needs_a_key_and_differs_by_key():
    model = lstm(V, 4, 8, init_scale=1.0)
    classifier = density(model, 0.5)
    params = classifier.init(jax.random.key(0))

    def apply(key):
        return classifier.apply(params, classifier.embed(params, ALL), WHOLE, key)

    one, other = apply(jax.random.key(1)), apply(jax.random.key(2))
    assert not np.allclose(one, other)
    np.testing.assert_allclose(apply(None), log_likelihoods(params, model), rtol=1e-5)


def test_relaxed_samples_are_refused():
    with pytest.raises(TypeError, match="float32: a density judges token ids"):
        density(TABLE).embed(table(0), jnp.ones((2, T, V)))


def test_equal_arguments_give_the_same_record():
    assert density(lstm(V, 2, 3), 0.5) is density(lstm(V, 2, 3), 0.5)


def test_its_logit_is_the_log_ratio():
    density_params, generator = table(1), table(2)
    judge = against_generator(density(TABLE), TABLE, generator)
    result = judge.apply(density_params, judge.embed(density_params, ALL), WHOLE, None)
    expected = log_likelihoods(density_params) - log_likelihoods(generator)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
    assert not judge.is_density
    # Against itself it cannot tell: D = 1/2.
    judge = against_generator(density(TABLE), TABLE, density_params)
    result = judge.apply(density_params, judge.embed(density_params, ALL), WHOLE, None)
    np.testing.assert_allclose(result, 0.0, atol=1e-6)


def test_no_gradient_reaches_the_generator():
    def loss(generator):
        judge = against_generator(density(TABLE), TABLE, generator)
        return judge.apply(table(1), judge.embed(table(1), ALL), WHOLE, None).sum()

    np.testing.assert_array_equal(jax.grad(loss)(table(2)), 0.0)


def test_other_classifiers_stay_as_they_are():
    classifier = text_cnn(V, 3, ((2, 4),))
    assert against_generator(classifier, TABLE, table(0)) is classifier


@pytest.mark.parametrize(("entropy", "min_nll"), [(1.0, 0.0), (0.6, 0.0), (0.6, 1.0), (0.0, 1.1)])
def test_reward_by_hand(entropy, min_nll):
    density_params, generator = table(1), table(2)
    reward = likelihood_ratio_reward(
        density(TABLE), density_params, TABLE, generator, entropy=entropy, min_nll=min_nll
    )
    capped = np.minimum(log_likelihoods(density_params), -min_nll * T)
    expected = capped - entropy * log_likelihoods(generator)
    np.testing.assert_allclose(reward(ALL, WHOLE), expected, rtol=1e-4, atol=1e-5)
    # Leading axes are kept, and the cap does bite where it is meant to.
    folded = reward(ALL.reshape(9, 3, T), WHOLE.reshape(9, 3, T))
    np.testing.assert_allclose(folded, expected.reshape(9, 3), rtol=1e-4, atol=1e-5)
    assert (capped < log_likelihoods(density_params)).any() == (min_nll > 0.0)


def test_the_cap_counts_real_tokens():
    params = ENDING.init(jax.random.key(0))
    mask = mask_until_end(ALL, ENDING.end_token)
    reward = likelihood_ratio_reward(
        density(ENDING), params, ENDING, params, entropy=0.0, min_nll=100.0
    )
    np.testing.assert_allclose(reward(ALL, mask), -100.0 * np.asarray(mask).sum(axis=1), rtol=1e-6)


def test_without_limits_it_is_the_discriminators_logit():
    density_params, generator = table(1), table(2)
    reward = likelihood_ratio_reward(density(TABLE), density_params, TABLE, generator)
    judge = against_generator(density(TABLE), TABLE, generator)
    logit = discriminator_reward(judge, density_params, "logit")
    np.testing.assert_allclose(reward(ALL, WHOLE), logit(ALL, WHOLE), rtol=1e-5, atol=1e-5)


def _descend(loss, params, steps=800, rate=0.05):
    optimizer = optax.adam(rate)

    @jax.jit
    def run(params):
        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), None, length=steps)[0][0]

    return run(params)


def test_cross_entropy_makes_it_the_datas_density():
    """The minimum of Eq. 5, in expectation over data and generator, is P = p_data."""
    real, generator = np.exp(log_likelihoods(table(5))), table(2)
    fake = np.exp(log_likelihoods(generator))
    judge = against_generator(density(TABLE), TABLE, generator)
    tokens, labels = jnp.concatenate([ALL, ALL]), jnp.repeat(jnp.array([1.0, 0.0]), len(ALL))
    weights = jnp.asarray(np.concatenate([real, fake]), jnp.float32)

    def loss(params):
        mask = jnp.ones(tokens.shape, bool)
        logits = judge.apply(params, judge.embed(params, tokens), mask, None)
        each = jax.vmap(lambda logit, label: discriminator_loss(logit[None], label[None]))
        return (each(logits, labels) * weights).sum()

    learnt = _descend(loss, table(7))
    np.testing.assert_allclose(np.exp(log_likelihoods(learnt)), real, atol=2e-3)
    assert np.abs(np.exp(log_likelihoods(table(7))) - real).max() > 0.05


@pytest.mark.parametrize("entropy", [1.0, 0.5])
def test_the_generators_fixed_point(entropy):
    """Its exact policy gradient leads to G = P^(1 / entropy), renormalised."""
    density_params = table(1)

    def ascent(generator):
        reward = likelihood_ratio_reward(
            density(TABLE), density_params, TABLE, jax.lax.stop_gradient(generator),
            entropy=entropy,
        )(ALL, WHOLE)  # fmt: skip
        likely = log_probs(TABLE, generator, ALL).sum(axis=1)
        return -(jnp.exp(likely) * jax.lax.stop_gradient(reward)).sum()

    sharpened = np.exp(log_likelihoods(density_params) / entropy)
    found = np.exp(log_likelihoods(_descend(ascent, table(2))))
    np.testing.assert_allclose(found, sharpened / sharpened.sum(), atol=2e-3)


def test_the_cap_keeps_it_from_the_mode():
    """With hardly any entropy asked for, G is P's mode; under a cap it spreads over the capped."""
    density_params, entropy = table(1), 0.05
    logs = log_likelihoods(density_params)

    def learnt(min_nll):
        def ascent(generator):
            reward = likelihood_ratio_reward(
                density(TABLE), density_params, TABLE, jax.lax.stop_gradient(generator),
                entropy=entropy, min_nll=min_nll,
            )(ALL, WHOLE)  # fmt: skip
            likely = log_probs(TABLE, generator, ALL).sum(axis=1)
            return -(jnp.exp(likely) * jax.lax.stop_gradient(reward)).sum()

        return np.exp(log_likelihoods(_descend(ascent, jnp.zeros((13, V)))))

    assert learnt(0.0).max() > 0.9
    cap = np.sort(logs)[-4]
    expected = np.exp((np.minimum(logs, cap) - cap) / entropy)
    np.testing.assert_allclose(learnt(-cap / T), expected / expected.sum(), atol=0.01)
    assert expected.max() / expected.sum() < 0.25


def test_dropout_keeps_the_features_expectation():
    model = lstm(V, 4, 64, init_scale=1.0)
    params = model.init(jax.random.key(0))
    tokens = jnp.zeros((400, 1), jnp.int32)
    # A kernel of ones for token 0 alone: its logit is the sum of the kept features over 1 - rate.
    params = params | {
        "output_kernel": jnp.zeros((64, V)).at[:, 0].set(1e-3),
        "output_bias": jnp.zeros(V),
    }
    dropped = np.asarray(log_probs(model, params, tokens, 0.5, jax.random.key(1)))
    kept = float(log_probs(model, params, tokens)[0, 0])
    # Tiny logits: log-probability is linear in them, so means agree within 5 standard errors.
    error = dropped.std() / np.sqrt(len(dropped))
    assert dropped.std() > 1e-5
    assert abs(dropped.mean() - kept) < 5 * error


def test_the_wrong_kind_of_classifier_is_refused():
    classifier = text_cnn(V, 3, ((2, 4),))
    with pytest.raises(ValueError, match="a likelihood ratio needs a density"):
        likelihood_ratio_reward(classifier, {}, TABLE, table(0))
    with pytest.raises(ValueError, match="is no density"):
        seqgan(TABLE, classifier, TrainingHParams(reward="likelihood_ratio"))
    with pytest.raises(ValueError, match="gives a log-density"):
        discriminator_reward(density(TABLE), table(0))


def test_padding_further_changes_neither_step():
    """With an end token: what stands behind it counts in neither player's likelihood."""
    hparams = TrainingHParams(reward="likelihood_ratio", baseline="prefix", reward_entropy=0.5)
    tokens = ALL[:: len(ALL) // 6]
    mask = mask_until_end(tokens, ENDING.end_token)
    tokens = jnp.where(mask, tokens, ENDING.pad_token)
    labels = (jnp.arange(len(tokens)) % 2).astype(jnp.float32)
    method = seqgan(ENDING, density(ENDING), hparams)
    state = method.init_state(jax.random.key(0))
    wide = [jnp.pad(leaf, ((0, 0), (0, 2))) for leaf in (tokens, mask)]
    one, _ = jax.jit(method.discriminator_step)(state, LabelledBatch(tokens, mask, labels))
    other, _ = jax.jit(method.discriminator_step)(state, LabelledBatch(*wide, labels))
    for a, b in zip(
        jax.tree.leaves(one.d_opt_state), jax.tree.leaves(other.d_opt_state), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    reward = reward_of(state, language_model=ENDING, classifier=density(ENDING), hparams=hparams)
    np.testing.assert_allclose(reward(tokens, mask), reward(*wide), rtol=1e-4, atol=1e-5)


def test_a_step_traces_once_and_is_the_same_under_vmap():
    hparams = TrainingHParams(reward="likelihood_ratio", baseline="prefix", num_rollouts=2)
    method = seqgan(TABLE, density(TABLE), hparams)
    states = jax.vmap(method.init_state)(jax.random.split(jax.random.key(0), 2))
    batch = Samples(ALL[:4], WHOLE[:4])
    step = jax.jit(method.generator_step)
    both, _ = jax.jit(jax.vmap(method.generator_step, in_axes=(0, None)))(states, batch)
    first = jax.tree.map(lambda leaf: leaf[0], states)
    after, metrics = step(first, batch)
    step(after, batch)
    assert step._cache_size() == 1
    assert all(np.isfinite(value) for value in metrics.values())
    np.testing.assert_allclose(both.generator[0], after.generator, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: density(TABLE, 0.5),
        lambda: seqgan(TABLE, density(TABLE), TrainingHParams(mle_dropout_rate=0.5)),
    ],
)
def test_dropout_is_refused_when_the_model_is_bound(make):
    with pytest.raises(ValueError, match=r"dropout_rate=0\.5: the language model gives no"):
        make()


def test_dropout_of_a_model_without_features_is_refused():
    with pytest.raises(ValueError, match=r"dropout_rate=0\.5: the language model gives no"):
        log_probs(TABLE, table(0), ALL, 0.5, jax.random.key(0))
