"""Language model scores of data whose entropies are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqgan_jax.metrics import language_model_score as lms
from seqgan_jax.metrics.likelihood import negative_log_likelihood
from seqgan_jax.models.generator import lstm
from seqgan_jax.search.sampling import sample
from seqgan_jax.types import LanguageModel, Samples

V = 3


def bigram(probabilities=None):
    """A table of logits; its maximum likelihood is the data's bigram frequencies."""
    start = jnp.zeros((V, V)) if probabilities is None else jnp.log(jnp.array(probabilities))
    return LanguageModel(
        vocab_size=V,
        init=lambda key: start,
        initial_state=lambda params, batch_size: jnp.zeros((batch_size, 1)),
        step=lambda params, state, token: (state, params[token]),
    )


FRESH = bigram()
BROAD = bigram([[0.2, 0.5, 0.3], [0.3, 0.1, 0.6], [0.4, 0.4, 0.2]])
SHARP = bigram([[0.02, 0.9, 0.08], [0.1, 0.05, 0.85], [0.9, 0.05, 0.05]])


def drawn(model, seed, number, length=10):
    key = jax.random.key(seed)
    return sample(model, model.init(None), key, batch_size=number, length=length)


def frequencies_nll(train, scored):
    """NLL of `scored` under the bigram frequencies of `train`: the maximum of the likelihood."""

    def pairs(samples):
        tokens, mask = np.asarray(samples.tokens), np.asarray(samples.mask)
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
    return Samples(jnp.where(mask, samples.tokens, 0), jnp.asarray(mask))


@pytest.mark.parametrize("cut", [lambda samples, seed: samples, shortened])
def test_a_bigram_model_finds_the_frequencies_of_its_data(cut):
    train = cut(drawn(BROAD, 1, 3000), 1)
    scored = cut(drawn(SHARP, 2, 1000), 2)
    score = lms.language_model_score(FRESH, train, scored, jax.random.key(0), max_epochs=8)
    # One tenth is held out and Adam does not settle wholly: a percent of 1.2 nats.
    np.testing.assert_allclose(score, frequencies_nll(train, scored), rtol=0.01)


def test_quality_and_diversity_are_told_apart():
    """Sharp samples of broad data: likely under the data's model, a poor model of the data."""
    sharper = bigram([[0.05, 0.8, 0.15], [0.15, 0.05, 0.8], [0.48, 0.5, 0.02]])
    real, held_out, samples = drawn(BROAD, 1, 2000), drawn(BROAD, 2, 1000), drawn(sharper, 3, 2000)

    def score(train, scored):
        key = jax.random.key(0)
        return lms.language_model_score(FRESH, train, scored, key, max_epochs=6)

    floor = score(real, held_out)
    entropy = negative_log_likelihood(BROAD, BROAD.init(None), held_out)
    np.testing.assert_allclose(floor, entropy, rtol=0.01)
    assert score(real, samples) < floor - 0.1
    assert score(samples, held_out) > floor + 0.1


def test_it_stops_where_held_out_sequences_say_so():
    """A model that learns twenty sequences by heart; held-out ones are of uniform tokens."""
    tokens = jax.random.randint(jax.random.key(0), (20, 6), 0, 50)
    data = Samples(tokens, jnp.ones((20, 6), bool))
    shares = []
    model = lstm(50, 8, 32)
    fitted = lms.fit(
        model, data, jax.random.key(1), max_epochs=200, learning_rate=0.01, progress=shares.append
    )
    assert 1 <= fitted.epochs < 199
    assert shares[-1] == 1.0
    assert shares[:-1] == [(index + 1) / 200 for index in range(fitted.epochs)]
    one_less = lms.fit(
        model, data, jax.random.key(1), max_epochs=fitted.epochs, learning_rate=0.01
    )
    assert one_less.nll == fitted.nll  # the best of them, not the last
    np.testing.assert_array_equal(
        one_less.params["output_kernel"], fitted.params["output_kernel"]
    )
    # Its own key, its own model.
    other = lms.fit(
        model, data, jax.random.key(2), max_epochs=fitted.epochs, learning_rate=0.01
    )
    assert other.nll != fitted.nll


def test_what_is_judged_in_parts_is_judged_alike(monkeypatch):
    samples = shortened(drawn(BROAD, 4, 70), 4)
    params = SHARP.init(None)
    whole = lms.mean_nll(SHARP, params, samples)
    np.testing.assert_allclose(whole, negative_log_likelihood(SHARP, params, samples), rtol=1e-6)
    monkeypatch.setattr(lms, "_JUDGED", 32)
    np.testing.assert_allclose(lms.mean_nll(SHARP, params, samples), whole, rtol=1e-6)


def test_too_little_is_refused():
    one = drawn(BROAD, 0, 1)
    with pytest.raises(ValueError, match="1 sequences, 3 epochs: needs at least 2 and 1"):
        lms.fit(FRESH, one, jax.random.key(0), max_epochs=3)
    with pytest.raises(ValueError, match="0 epochs"):
        lms.fit(FRESH, drawn(BROAD, 0, 9), jax.random.key(0), max_epochs=0)
