"""A model at a temperature against the softmax of its divided logits."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqgan_jax.models.generator import lstm
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.models.tempered import tempered
from seqgan_jax.search.sampling import sample

MODEL = lstm(7, 3, 4, init_scale=1.0)
# The same model without its linear output, which takes the other path.
PLAIN = dataclasses.replace(MODEL, features=None, output=None)


@pytest.mark.parametrize("model", [MODEL, PLAIN], ids=["linear", "step"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_logits_are_divided(model, temperature):
    params = MODEL.init(jax.random.key(0))
    tokens = jax.random.randint(jax.random.key(1), (5, 6), 0, 7)
    state, fed, expected = MODEL.initial_state(params, 5), jnp.zeros(5, jnp.int32), []
    for token in tokens.T:
        state, logits = MODEL.step(params, state, fed)
        expected.append(jax.nn.log_softmax(logits / temperature)[jnp.arange(5), token])
        fed = token
    result = log_probs(tempered(model), (params, temperature), tokens)
    np.testing.assert_allclose(result, np.stack(expected, axis=1), rtol=1e-4, atol=1e-5)


def test_it_draws_what_sample_draws_at_that_temperature():
    params = MODEL.init(jax.random.key(0))
    options = {"batch_size": 50, "length": 6}
    one = sample(tempered(MODEL), (params, 0.5), jax.random.key(2), **options)
    other = sample(MODEL, params, jax.random.key(2), temperature=0.5, **options)
    np.testing.assert_array_equal(one.tokens, other.tokens)


def test_it_starts_at_temperature_1_and_is_one_record_a_model():
    params, temperature = tempered(MODEL).init(jax.random.key(0))
    assert temperature == 1.0
    assert params.keys() == MODEL.init(jax.random.key(0)).keys()
    assert tempered(MODEL) is tempered(MODEL)
