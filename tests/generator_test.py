import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqgan_jax.models import generator
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.search.sampling import sample

V, E, H = 7, 3, 4
TOKENS = np.array([[0, 6, 2, 2, 5], [3, 1, 0, 4, 6]])  # [B, T]


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def large_params(gates, seed):
    # Ten times the usual initial scale, so that the gates leave the linear range.
    rng = np.random.default_rng(seed)
    shapes = {
        "embedding": (V, E),
        "input_kernel": (E, gates * H),
        "recurrent_kernel": (H, gates * H),
        "bias": (gates * H,),
        "output_kernel": (H, V),
        "output_bias": (V,),
    }
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def lstm_reference(params, tokens):
    """Logits [B, T, V] of an LSTM with gates i, f, o, c, one matrix product a gate."""
    p = {name: np.asarray(value, np.float64) for name, value in params.items()}
    cell = hidden = np.zeros((len(tokens), H))
    logits = []
    for token in tokens.T:
        x = p["embedding"][token]
        gates = []
        for k in range(4):
            columns = slice(k * H, (k + 1) * H)
            gates.append(
                x @ p["input_kernel"][:, columns]
                + hidden @ p["recurrent_kernel"][:, columns]
                + p["bias"][columns]
            )
        i, f, o, c = gates
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
        hidden = sigmoid(o) * np.tanh(cell)
        logits.append(hidden @ p["output_kernel"] + p["output_bias"])
    return np.stack(logits, axis=1)


def gru_reference(params, tokens):
    """Logits [B, T, V] of a GRU with gates update, reset, candidate.

    The reset gate multiplies the projected state, r * (h U), not r * h before the projection.
    """
    p = {name: np.asarray(value, np.float64) for name, value in params.items()}
    W, U, b = p["input_kernel"], p["recurrent_kernel"], p["bias"]
    hidden = np.zeros((len(tokens), H))
    logits = []
    for token in tokens.T:
        x = p["embedding"][token]
        update = sigmoid(x @ W[:, :H] + b[:H] + hidden @ U[:, :H])
        reset = sigmoid(x @ W[:, H : 2 * H] + b[H : 2 * H] + hidden @ U[:, H : 2 * H])
        candidate = np.tanh(x @ W[:, 2 * H :] + b[2 * H :] + reset * (hidden @ U[:, 2 * H :]))
        hidden = (1 - update) * candidate + update * hidden
        logits.append(hidden @ p["output_kernel"] + p["output_bias"])
    return np.stack(logits, axis=1)


@pytest.mark.parametrize(
    ("make", "gates", "reference"),
    [(generator.lstm, 4, lstm_reference), (generator.gru, 3, gru_reference)],
)
def test_steps_follow_the_numpy_reference(make, gates, reference):
    language_model = make(V, E, H)
    params = large_params(gates, seed=1)
    step = jax.jit(language_model.step)
    state = language_model.initial_state(params, len(TOKENS))
    logits = []
    for token in TOKENS.T:
        state, step_logits = step(params, state, jnp.asarray(token, jnp.int32))
        logits.append(step_logits)
    expected = reference(params, TOKENS)
    assert np.abs(expected).max() > 1.0  # the case is not all near zero
    np.testing.assert_allclose(np.stack(logits, axis=1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("make", "gates"), [(generator.lstm, 4), (generator.gru, 3)])
def test_features_and_output_compose_to_step(make, gates):
    language_model = make(V, E, H)
    params = jax.tree.map(jnp.asarray, large_params(gates, seed=2))

    @jax.jit
    def both(params):
        state = language_model.initial_state(params, 2)
        token = jnp.array([3, 5], jnp.int32)
        kernel, bias = language_model.output(params)
        featured_state, features = language_model.features(params, state, token)
        by_hand = featured_state, features @ kernel + bias[None, :]
        return language_model.step(params, state, token), by_hand

    stepped, by_hand = both(params)
    assert np.abs(stepped[1]).max() > 0.5
    chex.assert_trees_all_close(stepped, by_hand, rtol=1e-6)


@pytest.mark.parametrize(("make", "gates"), [(generator.lstm, 4), (generator.gru, 3)])
def test_every_initial_parameter_is_normal(make, gates):
    hidden, embed, vocab, scale = 256, 24, 400, 0.1
    language_model = make(vocab, embed, hidden)
    params = jax.jit(language_model.init)(jax.random.key(3))
    shapes = {name: leaf.shape for name, leaf in params.items()}
    assert shapes == {
        "embedding": (vocab, embed),
        "input_kernel": (embed, gates * hidden),
        "recurrent_kernel": (hidden, gates * hidden),
        "bias": (gates * hidden,),
        "output_kernel": (hidden, vocab),
        "output_bias": (vocab,),
    }
    for name, leaf in params.items():
        standard = np.asarray(leaf, np.float64).ravel() / scale
        n = standard.size
        # Five standard errors of a normal sample's mean, standard deviation, and share within one
        # standard deviation (0.6827; a uniform of equal variance has 0.577).
        assert abs(standard.mean()) < 5 / np.sqrt(n), name
        assert abs(standard.std() - 1) < 5 / np.sqrt(2 * n), name
        share = np.mean(np.abs(standard) < 1)
        assert abs(share - 0.6827) < 5 * np.sqrt(0.6827 * 0.3173 / n), name


def test_parameter_count():
    language_model = generator.lstm(V, E, H)
    params = jax.eval_shape(language_model.init, jax.random.key(0))
    # emb 7*3 + input 3*16 + recurrent 4*16 + bias 16 + output 4*7 + 7 = 21+48+64+16+28+7
    assert generator.parameter_count(params) == 184


@pytest.mark.parametrize("make", [generator.lstm, generator.gru])
def test_equal_arguments_give_the_same_record_and_do_not_retrace(make):
    chex.clear_trace_counter()

    @functools.partial(jax.jit, static_argnums=0)
    @chex.assert_max_traces(n=1)
    def start(language_model, params):
        return language_model.initial_state(params, 2)

    # However the arguments are spelled, they are the same arguments.
    records = [
        make(V, E, H),
        make(V, E, H),
        make(V, E, H, 0),
        make(V, E, H, start_token=0, pad_token=0),
        make(vocab_size=V, embed_dim=E, hidden_dim=H, init_scale=0.1),
    ]
    for record in records:
        start(record, jnp.zeros(1))
    assert all(record is records[0] for record in records)
    assert make(V, E, H, start_token=1) != records[0]


def test_cells_differ():
    assert generator.lstm(V, E, H) != generator.gru(V, E, H)


@pytest.mark.parametrize("make", [generator.lstm, generator.gru])
@pytest.mark.parametrize("name", ["start_token", "end_token", "pad_token"])
@pytest.mark.parametrize("token", [-1, V])
def test_token_outside_the_vocabulary_is_refused(make, name, token):
    with pytest.raises(ValueError, match=f"{name}={token}"):
        make(V, E, H, **{name: token})


def test_last_token_of_the_vocabulary_is_admitted():
    language_model = generator.lstm(V, E, H, V - 1, end_token=V - 1, pad_token=V - 1)
    assert language_model.end_token == V - 1


def test_empty_vocabulary_is_refused():
    with pytest.raises(ValueError, match="vocab_size=0"):
        generator.lstm(0, E, H)


@pytest.mark.parametrize("make", [generator.lstm, generator.gru])
def test_padding_that_is_no_token_is_never_drawn(make):
    """Of an untrained model, whose tokens are all about equally likely, at any temperature."""
    models = [
        make(V, E, H, 3, end_token=1, pad_token=0, draws_pad=draws) for draws in (True, False)
    ]
    params = models[1].init(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, params, models[0].init(jax.random.key(0)))
    for temperature, top_p in ((1.0, None), (50.0, None), (1e-6, None), (1.0, 0.95)):
        tokens, mask = sample(
            models[1], params, jax.random.key(1), batch_size=500, length=6,
            temperature=temperature, top_p=top_p,
        )  # fmt: skip
        assert not ((tokens == 0) & mask).any()
    open_samples = sample(models[0], params, jax.random.key(1), batch_size=500, length=6)
    assert ((open_samples.tokens == 0) & open_samples.mask).any()

    # What it had is the others', in proportion.
    drawn = sample(models[1], params, jax.random.key(2), batch_size=64, length=5)
    _, logits = models[0].step(params, models[0].initial_state(params, 64), jnp.full(64, 3))
    expected = jax.nn.log_softmax(logits[:, 1:])[jnp.arange(64), drawn.tokens[:, 0] - 1]

    def total(params):
        return log_probs(models[1], params, drawn.tokens, mask=drawn.mask).sum()

    first = log_probs(models[1], params, drawn.tokens, mask=drawn.mask)[:, 0]
    np.testing.assert_allclose(first, expected, rtol=1e-5)
    gradient = jax.grad(total)(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert gradient["output_bias"][0] == 0.0
    assert gradient["output_bias"][2] != 0.0
