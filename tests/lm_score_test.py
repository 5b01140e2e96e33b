"""Language model scores of data whose entropies are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqgan_jax.metrics import lm_score as lms
from seqgan_jax.metrics.likelihood import negative_log_likelihood
from seqgan_jax.types import LanguageModel, Samples, Sequences

V = 3


def bigram(vocab_size):
    """A table of logits; its maximum likelihood is the data's bigram frequencies."""
    return LanguageModel(
        vocab_size=vocab_size,
        init=lambda key: jnp.zeros((vocab_size, vocab_size)),
        initial_state=lambda params, batch_size: jnp.zeros((batch_size, 1)),
        step=lambda params, state, token: (state, params[token]),
    )


FRESH = bigram(V)
BROAD = np.array([[0.2, 0.5, 0.3], [0.3, 0.1, 0.6], [0.4, 0.4, 0.2]])
SHARP = np.array([[0.05, 0.8, 0.15], [0.15, 0.05, 0.8], [0.48, 0.5, 0.02]])


def drawn(probabilities, seed, number):
    """Chains of 10 tokens, the first after a 0."""
    random = np.random.default_rng(seed)
    tokens = np.zeros((number, 11), np.int32)
    for t in range(10):
        below = np.cumsum(probabilities, axis=1)[tokens[:, t]]
        tokens[:, t + 1] = (random.random((number, 1)) > below).sum(axis=1)
    return Sequences(tokens[:, 1:], np.ones((number, 10), bool))


def frequencies_nll(train, scored):
    """NLL of `scored` under the bigram frequencies of `train`: the maximum of the likelihood."""

    def pairs(samples):
        tokens, mask = samples
        before = np.pad(tokens[:, :-1], ((0, 0), (1, 0)))
        counts = np.zeros((V, V))
        np.add.at(counts, (before[mask], tokens[mask]), 1)
        return counts

    counts = pairs(train)
    log_probabilities = np.log(counts / counts.sum(axis=1, keepdims=True))
    return -(pairs(scored) * log_probabilities).sum() / pairs(scored).sum()


def shortened(samples, seed):
    """The same with rows of random length, of which the rest is no data."""
    lengths = np.random.default_rng(seed).integers(1, 11, len(samples.tokens))
    mask = np.arange(10)[None, :] < lengths[:, None]
    # Behind the end stands the likeliest mistake of all: whoever counts it is far off.
    return Sequences(np.where(mask, samples.tokens, 0), mask)


@pytest.mark.parametrize("cut", [lambda samples, seed: samples, shortened])
def test_a_bigram_model_finds_the_frequencies_of_its_data(cut):
    train = cut(drawn(BROAD, 1, 3000), 1)
    scored = cut(drawn(SHARP, 2, 1000), 2)
    score = lms.language_model_score(FRESH, train, scored, jax.random.key(0), max_epochs=8)
    # One tenth is held out and Adam does not settle wholly: a percent of 1.2 nats.
    np.testing.assert_allclose(score, frequencies_nll(train, scored), rtol=0.01)


def test_quality_and_diversity_are_told_apart():
    """Sharp samples of broad data: likely under the data's model, a poor model of the data."""
    real, held_out, samples = drawn(BROAD, 1, 2000), drawn(BROAD, 2, 2000), drawn(SHARP, 3, 2000)

    def score(train, scored):
        key = jax.random.key(0)
        return lms.language_model_score(FRESH, train, scored, key, max_epochs=8)

    floor = score(real, held_out)
    entropy = negative_log_likelihood(FRESH, jnp.log(BROAD), Samples(*held_out))
    np.testing.assert_allclose(floor, entropy, rtol=0.01)
    assert score(real, samples) < floor - 0.1
    assert score(samples, held_out) > floor + 0.1


def test_it_stops_where_held_out_sequences_say_so():
    """Half of what there is to learn is noise, learnt by heart in the end."""
    random = np.random.default_rng(0)
    tokens = random.integers(0, 30, (40, 10))
    follows = random.random((40, 10)) < 0.5
    for t in range(1, 10):
        tokens[:, t] = np.where(follows[:, t], (tokens[:, t - 1] + 1) % 30, tokens[:, t])
    data = Sequences(tokens.astype(np.int32), np.ones((40, 10), bool))
    shares = []

    def fit(seed, max_epochs, progress=None):
        return lms.fit(
            bigram_of_30, data, jax.random.key(seed), max_epochs=max_epochs, progress=progress
        )

    bigram_of_30 = bigram(30)
    fitted = fit(1, 40, shares.append)
    assert 1 < fitted.epochs < 39
    assert fitted.nll < np.log(30) - 0.1
    assert shares == [*((index + 1) / 40 for index in range(fitted.epochs)), 1.0]
    # The best of them, not the last; the same again under the same key, another under another.
    again = fit(1, fitted.epochs)
    assert (again.nll, again.epochs) == (fitted.nll, fitted.epochs)
    np.testing.assert_array_equal(again.params, fitted.params)
    assert fit(1, fitted.epochs - 1).nll > fitted.nll
    assert fit(2, fitted.epochs).nll != fitted.nll


def test_what_is_judged_in_parts_is_judged_alike(monkeypatch):
    samples, params = shortened(drawn(BROAD, 4, 70), 4), jnp.log(SHARP)
    before = np.pad(samples.tokens[:, :-1], ((0, 0), (1, 0)))
    expected = -np.log(SHARP[before, samples.tokens])[samples.mask].mean()
    np.testing.assert_allclose(lms.mean_nll(FRESH, params, samples), expected, rtol=1e-5)
    monkeypatch.setattr(lms, "_JUDGED", 32)
    np.testing.assert_allclose(lms.mean_nll(FRESH, params, samples), expected, rtol=1e-5)


def test_too_little_is_refused():
    with pytest.raises(ValueError, match="1 sequences, 3 epochs: needs at least 2 and 1"):
        lms.fit(FRESH, drawn(BROAD, 0, 1), jax.random.key(0), max_epochs=3)
    with pytest.raises(ValueError, match="0 epochs"):
        lms.fit(FRESH, drawn(BROAD, 0, 9), jax.random.key(0), max_epochs=0)
