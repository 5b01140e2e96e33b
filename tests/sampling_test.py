import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqgan_jax.models import generator, teacher_forcing
from seqgan_jax.search import drawing, sampling
from seqgan_jax.types import LanguageModel, mask_until_end

# Neither 1, 2 and 7 nor 101 and 250 fill whole blocks of 100 tokens.
VOCAB_SIZES = [1, 2, 7, 100, 101, 250, 5000]
HIGHEST = np.nextafter(np.float32(1), np.float32(0))  # the greatest uniform below 1

draw_token = jax.jit(drawing.draw_token)
draw_filtered_token = jax.jit(drawing.draw_filtered_token, static_argnums=(2, 3))


def softmax(logits):
    weights = np.exp(np.asarray(logits, np.float64) - np.max(logits))
    return weights / weights.sum()


def random_logits(vocab_size, seed=0, spread=1.5):
    """Random logits; where there are at least 7, the first, the last and some others are -inf."""
    logits = spread * np.random.default_rng(seed).normal(size=vocab_size)
    if vocab_size >= 7:
        logits[[0, 2, -1]] = -np.inf
    return logits.astype(np.float32)


def rows(logits, count):
    return np.broadcast_to(logits, (count, len(logits)))


def grid(count):
    return ((np.arange(count) + 0.5) / count).astype(np.float32)


def assert_distributed(indices, probabilities):
    """Chi-square of counts against probabilities, below its mean plus 5 standard deviations."""
    n = len(indices)
    counts = np.bincount(indices, minlength=len(probabilities))
    assert len(counts) == len(probabilities)
    assert counts[probabilities == 0].sum() == 0
    expected = n * probabilities
    rare = expected < 5  # too rare for the chi-square approximation: one cell together
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    counts, expected = counts[expected > 0], expected[expected > 0]
    degrees = len(expected) - 1
    statistic = ((counts - expected) ** 2 / expected).sum()
    # Chi-square has mean `degrees` and variance 2 * `degrees`; 0 is exact for a single cell.
    assert statistic <= degrees + 5 * np.sqrt(2 * degrees) + 1e-9


def fixed_logits_model(logits, **kwargs):
    """Every token has the same distribution, whatever came before."""
    logits = jnp.asarray(logits, jnp.float32)
    return LanguageModel(
        vocab_size=len(logits),
        init=lambda key: {},
        initial_state=lambda params, batch_size: jnp.zeros((batch_size, 1)),
        step=lambda params, state, token: (state, jnp.tile(logits[None], (len(token), 1))),
        **kwargs,
    )


def chain_model(vocab_size, **kwargs):
    """The params `[V, V]` are the logits of each token's successor."""
    return LanguageModel(
        vocab_size=vocab_size,
        init=lambda key: jnp.zeros((vocab_size, vocab_size)),
        initial_state=lambda params, batch_size: jnp.zeros((batch_size, 1)),
        step=lambda params, state, token: (state, params[token]),
        **kwargs,
    )


# --- draw_token


@pytest.mark.parametrize("vocab_size", VOCAB_SIZES)
def test_draws_follow_the_softmax(vocab_size):
    logits = random_logits(vocab_size)
    uniform = np.random.default_rng(1).random(10_000, np.float32)
    tokens = draw_token(rows(logits, 10_000), uniform)
    assert tokens.dtype == jnp.int32
    assert_distributed(np.asarray(tokens), softmax(logits))


@pytest.mark.parametrize("vocab_size", VOCAB_SIZES)
def test_draws_invert_the_cumulative_distribution(vocab_size):
    count = 10_000
    logits = random_logits(vocab_size, seed=2)
    uniform = grid(count)
    tokens = np.asarray(draw_token(rows(logits, count), uniform))
    probabilities = softmax(logits)
    # An interval of length p holds p * M grid points, give or take one. Its two ends are float32
    # sums, wrong by less than 1e-6 each: another 2e-6 * M = 0.02 points.
    counts = np.bincount(tokens, minlength=vocab_size)
    assert np.abs(counts - count * probabilities).max() <= 1.02
    # And they are the right intervals, except where a grid point lies on an end.
    cumulative = np.cumsum(probabilities)
    clear = np.abs(cumulative[None, :] - uniform[:, None]).min(axis=1) > 1e-6
    assert clear.mean() > 0.9
    expected = np.searchsorted(cumulative, uniform.astype(np.float64), side="right")
    np.testing.assert_array_equal(tokens[clear], expected[clear])


def test_draws_do_not_depend_on_a_common_offset():
    logits = random_logits(250, seed=3)
    uniform = grid(1000)
    expected = draw_token(rows(logits, 1000), uniform)
    for offset in (-256.0, 256.0):  # exp(256) overflows; a power of 2 rounds alike
        shifted = draw_token(rows(logits + np.float32(offset), 1000), uniform)
        # The offset rounds the logits to 2^-16, which moves the ends of a few intervals.
        assert np.mean(np.asarray(shifted) == np.asarray(expected)) > 0.99


def finite_only(vocab_size, *tokens):
    logits = np.full(vocab_size, -np.inf, np.float32)
    logits[list(tokens)] = np.linspace(-1, 1, len(tokens))
    return logits


def all_but(vocab_size, *removed, value=-np.inf):
    logits = np.random.default_rng(4).normal(size=vocab_size).astype(np.float32)
    for where in removed:
        logits[where] = value
    return logits


EDGE_LOGITS = {
    "first": all_but(250, 0),
    "last": all_but(250, -1),
    "first and last": all_but(250, 0, -1),
    "block ends": all_but(250, 99, 100, 199, 200),
    "first block": all_but(250, slice(0, 100)),
    "middle block": all_but(250, slice(100, 200)),
    "last block": all_but(250, slice(200, 250)),
    "all but the middle block": all_but(250, slice(0, 100), slice(200, 250)),
    "only 0": finite_only(250, 0),
    "only 99": finite_only(250, 99),
    "only 100": finite_only(250, 100),
    "only 137": finite_only(250, 137),
    "only 249": finite_only(250, 249),
    "only two": finite_only(250, 3, 248),
    # exp(-200) is 0 in float32, though the logit is finite.
    "underflow around one": all_but(250, slice(0, 137), slice(138, 250), value=-200.0),
    "underflow in the last block": all_but(250, slice(200, 250), value=-200.0),
    "underflow of all but the first": all_but(250, slice(1, 250), value=-200.0),
}


@pytest.mark.parametrize("uniform", [0.0, 2.0**-24, 0.5, HIGHEST])
def test_edges_never_give_a_token_of_probability_zero(uniform):
    logits = np.stack(list(EDGE_LOGITS.values()))
    tokens = np.asarray(draw_token(logits, np.full(len(logits), uniform, np.float32)))
    weights = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float32)
    assert tokens.min() >= 0
    assert tokens.max() < 250
    for name, token, weight in zip(EDGE_LOGITS, tokens, weights, strict=True):
        assert weight[token] > 0, name
        if uniform in (0.0, HIGHEST):
            # The ends of [0, 1) belong to the first and to the last token that has a chance
            # that float32 can see.
            seen = np.flatnonzero(weight)
            assert token == (seen[0] if uniform == 0.0 else seen[-1]), name


@pytest.mark.parametrize("vocab_size", [7, 101, 250, 1000])
def test_many_random_rows_never_give_a_token_of_probability_zero(vocab_size):
    # Sums of a thousand random weights round in every possible way, above and below the total.
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(3000, vocab_size)) * rng.choice([0.1, 1, 10], (3000, 1))
    logits[rng.random(logits.shape) < rng.choice([0.1, 0.5, 0.9], (3000, 1))] = -np.inf
    logits[:, -vocab_size // 4 :] = -np.inf
    logits[np.arange(3000), rng.integers(0, vocab_size // 2, 3000)] = 0.0
    logits = logits.astype(np.float32)
    for uniform in (0.0, HIGHEST):
        tokens = np.asarray(draw_token(logits, np.full(3000, uniform, np.float32)))
        assert tokens.min() >= 0
        assert np.isfinite(logits[np.arange(3000), tokens]).all()


# --- top_k and top_p


def support(logits, top_k, top_p):
    """Tokens drawn on a grid of uniforms, with their shares."""
    logits = np.asarray(logits, np.float32)
    tokens = np.asarray(draw_filtered_token(rows(logits, 1000), grid(1000), top_k, top_p))
    assert tokens.dtype == np.int32
    counts = np.bincount(tokens, minlength=len(logits))
    return {int(token): counts[token] / 1000 for token in np.flatnonzero(counts)}


# Probabilities .15, .5, .1, .25 of tokens 0..3; likeliest first: 1, 3, 0, 2.
HAND = np.log([0.15, 0.5, 0.1, 0.25])


@pytest.mark.parametrize(
    ("top_k", "top_p", "expected"),
    [
        (None, None, {0: 0.15, 1: 0.5, 2: 0.1, 3: 0.25}),
        (1, None, {1: 1.0}),
        (2, None, {1: 0.5 / 0.75, 3: 0.25 / 0.75}),
        (3, None, {0: 0.15 / 0.9, 1: 0.5 / 0.9, 3: 0.25 / 0.9}),
        (4, None, {0: 0.15, 1: 0.5, 2: 0.1, 3: 0.25}),
        (99, None, {0: 0.15, 1: 0.5, 2: 0.1, 3: 0.25}),
        # Cumulated, likeliest first: .5, .75, .9, 1. The smallest set that reaches top_p:
        (None, 1e-6, {1: 1.0}),
        (None, 0.49, {1: 1.0}),
        (None, 0.51, {1: 0.5 / 0.75, 3: 0.25 / 0.75}),
        (None, 0.74, {1: 0.5 / 0.75, 3: 0.25 / 0.75}),
        (None, 0.76, {0: 0.15 / 0.9, 1: 0.5 / 0.9, 3: 0.25 / 0.9}),
        (None, 0.89, {0: 0.15 / 0.9, 1: 0.5 / 0.9, 3: 0.25 / 0.9}),
        (None, 0.91, {0: 0.15, 1: 0.5, 2: 0.1, 3: 0.25}),
        (None, 1.0, {0: 0.15, 1: 0.5, 2: 0.1, 3: 0.25}),
        # After top_k=3 the likeliest has .5 / .9 = .556 and reaches .55; before it, it did not.
        (3, 0.55, {1: 1.0}),
        (3, 0.57, {1: 0.5 / 0.75, 3: 0.25 / 0.75}),
        (2, 1.0, {1: 0.5 / 0.75, 3: 0.25 / 0.75}),
    ],
)
def test_filters_keep_the_likeliest(top_k, top_p, expected):
    found = support(HAND, top_k, top_p)
    assert found.keys() == expected.keys()
    for token, share in expected.items():
        assert abs(found[token] - share) < 0.002  # a grid of 1000 is exact to 1 or 2 points


@pytest.mark.parametrize(
    ("top_k", "kept"), [(1, {1}), (2, {1, 2}), (3, {1, 2, 4}), (4, {0, 1, 2, 4})]
)
def test_of_equal_tokens_top_k_keeps_those_of_lower_id(top_k, kept):
    assert support([1.0, 3.0, 3.0, -1.0, 3.0, 0.0], top_k, None).keys() == kept


def test_filters_never_keep_a_token_of_probability_zero():
    logits = [-np.inf, 1.0, -np.inf, 2.0]
    for top_k, top_p in [(3, None), (None, 1.0), (4, 1.0)]:
        assert support(logits, top_k, top_p).keys() == {1, 3}


# --- sample


def draw_singles(seed=0, count=10_000, **kwargs):
    model = fixed_logits_model(HAND)
    samples = sampling.sample(model, {}, jax.random.key(seed), batch_size=count, length=1, **kwargs)
    return np.asarray(samples.tokens)[:, 0]


@pytest.mark.parametrize("temperature", [0.5, 1, 2.0])
def test_temperature_divides_the_logits(temperature):
    assert_distributed(draw_singles(temperature=temperature), softmax(HAND / temperature))


def test_temperature_acts_before_the_filters():
    # At temperature 1/2: p ~ .15^2, .5^2, .1^2, .25^2 = .0225, .25, .01, .0625, sum .345.
    # The likeliest has .725 and reaches .7; at temperature 1 it took two tokens.
    assert set(draw_singles(count=1000, temperature=0.5, top_p=0.7)) == {1}
    assert set(draw_singles(count=1000, top_p=0.7)) == {1, 3}
    assert set(draw_singles(count=1000, top_k=3)) == {0, 1, 3}


def test_whole_sequences_have_their_enumerated_probabilities():
    model = generator.lstm(3, 2, 3, start_token=1)
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    params = jax.tree.map(lambda s: jnp.asarray(3.0 * rng.normal(size=s.shape), s.dtype), shapes)
    every = np.array([[a, b] for a in range(3) for b in range(3)], np.int32)
    probabilities = np.exp(
        np.asarray(teacher_forcing.log_probs(model, params, every), np.float64).sum(axis=1)
    )
    # Far from a product of marginals, or independent draws would pass too.
    table = probabilities.reshape(3, 3)
    assert np.abs(table - table.sum(1, keepdims=True) * table.sum(0, keepdims=True)).max() > 0.02
    samples = sampling.sample(model, params, jax.random.key(1), batch_size=10_000, length=2)
    assert_distributed(np.asarray(samples.tokens) @ [3, 1], probabilities / probabilities.sum())


@pytest.mark.parametrize("pad", [0, 2, 3])
def test_end_token_freezes_the_sequence(pad):
    end = 2  # pad = 2 is the case of one token for both
    model = fixed_logits_model([0.0, 0.0, -1.0, 0.0], end_token=end, pad_token=pad)
    tokens, mask = sampling.sample(model, {}, jax.random.key(2), batch_size=200, length=9)
    assert tokens.shape == mask.shape == (200, 9)
    assert tokens.dtype == jnp.int32
    assert mask.dtype == bool
    lengths = []
    for row, real in zip(np.asarray(tokens), np.asarray(mask), strict=True):
        ends = np.flatnonzero(row == end)
        length = ends[0] + 1 if len(ends) else 9  # the end token itself is real
        np.testing.assert_array_equal(real, np.arange(9) < length)
        assert (row[length:] == pad).all()
        lengths.append(length)
    assert min(lengths) < 3
    assert max(lengths) == 9


def test_without_an_end_token_every_position_is_real():
    model = fixed_logits_model(HAND)
    tokens, mask = sampling.sample(model, {}, jax.random.key(3), batch_size=5, length=7)
    assert tokens.shape == (5, 7)
    assert mask.shape == (5, 7)
    assert mask.all()


@pytest.mark.parametrize("batch_size", [1, 1024, 1025, 2049])
def test_batches_of_more_than_a_block(batch_size):
    # The start token 4 goes anywhere; from there on each token is followed by the next one, so a
    # row that was put together from two shows.
    table = np.full((5, 5), -np.inf, np.float32)
    table[np.arange(4), [1, 2, 3, 0]] = 0.0
    table[4, :4] = 0.0
    model = chain_model(5, start_token=4)
    tokens, mask = sampling.sample(
        model, jnp.asarray(table), jax.random.key(4), batch_size=batch_size, length=6
    )
    assert tokens.shape == mask.shape == (batch_size, 6)
    tokens = np.asarray(tokens)
    assert tokens.min() >= 0
    np.testing.assert_array_equal(tokens, (tokens[:, :1] + np.arange(6)) % 4)
    if batch_size > 1000:
        assert_distributed(tokens[:, 0], np.full(4, 0.25))
        # Blocks have draws of their own: by chance a quarter of the rows agree.
        half = batch_size // 2
        assert np.mean(tokens[:half, 0] == tokens[-half:, 0]) < 0.35


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"length": 0}, "length=0"),
        ({"temperature": 0}, "temperature=0"),
        ({"temperature": -0.5}, "temperature=-0.5"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"temperature": float("inf")}, "temperature=inf"),
        ({"top_k": 0}, "top_k=0"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"top_p": -0.1}, "top_p=-0.1"),
        ({"top_p": 1.01}, "top_p=1.01"),
        ({"top_p": float("nan")}, "top_p=nan"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    model = fixed_logits_model(HAND)
    with pytest.raises(ValueError, match=message):
        sampling.sample(model, {}, jax.random.key(0), **{"batch_size": 2, "length": 3, **arguments})


def test_jit_and_vmap_agree_with_a_plain_call():
    table = np.random.default_rng(6).normal(size=(6, 6)).astype(np.float32)
    draw = functools.partial(
        sampling.sample, chain_model(6, end_token=5), jnp.asarray(table), batch_size=4, length=8
    )
    plain = [draw(jax.random.key(seed)) for seed in range(2)]
    assert not np.array_equal(plain[0].tokens, plain[1].tokens)
    jitted = [jax.jit(draw)(jax.random.key(seed)) for seed in range(2)]
    mapped = jax.jit(jax.vmap(draw))(jax.vmap(jax.random.key)(jnp.arange(2)))
    for seed in range(2):
        for field in ("tokens", "mask"):
            expected = getattr(plain[seed], field)
            np.testing.assert_array_equal(getattr(jitted[seed], field), expected)
            np.testing.assert_array_equal(getattr(mapped, field)[seed], expected)


def test_traced_temperature():
    model = fixed_logits_model(HAND)
    draw = jax.jit(
        lambda temperature: (
            sampling.sample(
                model, {}, jax.random.key(7), batch_size=50, length=2, temperature=temperature
            ).tokens
        )
    )
    # Very sharp: only the likeliest token is left.
    assert set(np.asarray(draw(0.01)).ravel()) == {1}
    assert set(np.asarray(draw(1.0)).ravel()) == {0, 1, 2, 3}


# --- the end of a sequence


def test_mask_until_end_by_hand():
    tokens = jnp.array([[1, 9, 2, 9], [9, 1, 1, 1], [1, 2, 3, 4], [1, 2, 3, 9]])
    expected = [[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]
    np.testing.assert_array_equal(mask_until_end(tokens, 9), np.array(expected, bool))
    assert mask_until_end(tokens, None).all()


def test_freeze_after_end_by_hand():
    model = dataclasses.replace(fixed_logits_model(HAND), end_token=2, pad_token=3)
    # Alive and goes on; alive and ends; ended and draws any token; ended and draws the end again.
    token, alive = sampling.freeze_after_end(
        model, jnp.array([0, 2, 1, 2]), jnp.array([True, True, False, False])
    )
    np.testing.assert_array_equal(token, [0, 2, 3, 3])
    np.testing.assert_array_equal(alive, [True, False, False, False])


def test_nucleus_of_one_cuts_nothing_at_a_large_vocabulary():
    """A float32 cumulative sum over 5000 tokens reaches 1 early; the tail must stay reachable."""
    logits = 3.0 * jax.random.normal(jax.random.key(0), (64, 5000))
    uniforms = jnp.full((64,), np.nextafter(np.float32(1), np.float32(0)))
    plain = drawing.draw_token(logits, uniforms)
    np.testing.assert_array_equal(drawing.draw_filtered_token(logits, uniforms, None, 1.0), plain)
    # Sorted, the last draw falls on the unlikeliest tokens; cut at 1.0 it could not.
    drawn = drawing.draw_filtered_token(logits, uniforms, 5000, 1.0)
    rank = (logits > jnp.take_along_axis(logits, drawn[:, None], axis=1)).sum(axis=1)
    assert rank.max() > 4900


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_row_without_any_probability_stays_inside_the_vocabulary(value):
    """Such rows have no right answer; an id of V or more would be read as another row's data."""
    tokens = drawing.draw_token(jnp.full((3, 250), value), jnp.array([0.0, 0.5, 0.99]))
    assert ((tokens >= 0) & (tokens < 250)).all()
