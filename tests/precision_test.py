"""Products in bfloat16 beside float32: what is rounded, what never is, and what comes of it."""

import dataclasses
import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from tiny_run import TINY

from seqgan_jax import hparams as hp
from seqgan_jax import losses
from seqgan_jax.methods.critic import score
from seqgan_jax.methods.registry import METHODS
from seqgan_jax.methods.wgan_gp import gradient_penalty
from seqgan_jax.models.bigru import bigru
from seqgan_jax.models.density import density
from seqgan_jax.models.discriminator import text_cnn
from seqgan_jax.models.generator import LSTMState, gru, lstm
from seqgan_jax.models.linear_output import features_dtype
from seqgan_jax.models.products import product
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.search.relaxed import one_hots, softmax_outputs
from seqgan_jax.search.sampling import sample
from seqgan_jax.training import experiment
from seqgan_jax.types import LabelledBatch, Samples

B, T, V, E, H = 16, 6, 11, 5, 7
FILTERS = ((1, 6), (3, 5))
FLOAT32 = jnp.dtype(jnp.float32)
LANGUAGE_MODELS = {"lstm": lstm, "gru": gru}


def language_model(name, precision, **changes):
    return LANGUAGE_MODELS[name](V, E, H, precision=precision, **{"init_scale": 0.7} | changes)


def classifier(name, precision):
    if name == "density":
        return density(lstm(V, E + 1, H + 1, precision=precision))
    if name == "bigru":
        return bigru(V, E, H, precision=precision)
    return text_cnn(V, E, FILTERS, precision=precision)


def random_batch(seed=0):
    """Tokens `[B, T]` of lengths 3 to T, and labels of both kinds."""
    rng = np.random.default_rng(seed)
    tokens = jnp.asarray(rng.integers(0, V, (B, T)), jnp.int32)
    mask = jnp.asarray(np.arange(T)[None] < rng.integers(3, T + 1, (B, 1)))
    return LabelledBatch(tokens, mask, jnp.asarray(np.arange(B) % 2, jnp.float32))


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def rounded(x):
    return np.asarray(jnp.asarray(x).astype(jnp.bfloat16), np.float64)


# The product.


def test_in_float32_the_product_is_the_plain_one():
    left, right = normal(3, 4, 5), normal(5, 2, seed=1)
    np.testing.assert_array_equal(product(left, right, jnp.float32), left @ right)
    made = [jax.make_jaxpr(way)(left, right)
            for way in (lambda a, b: product(a, b, jnp.float32), jnp.matmul)]  # fmt: skip
    assert str(made[0]) == str(made[1])


def test_in_bfloat16_operands_and_cotangent_are_rounded_and_sums_are_not():
    left, right, cotangent = normal(3, 4, 300), normal(300, 2, seed=1), normal(3, 4, 2, seed=2)
    result, back = jax.vjp(functools.partial(product, dtype=jnp.bfloat16), left, right)
    expected = rounded(left) @ rounded(right)
    # 300 addends of order 1: float32 sums err by some 1e-6, bfloat16 ones by 0.1.
    np.testing.assert_allclose(result, expected, atol=2e-5)
    assert np.abs(result - np.asarray(left, np.float64) @ np.asarray(right)).max() > 1e-3
    d_left, d_right = back(cotangent)
    assert result.dtype == d_left.dtype == d_right.dtype == jnp.float32
    np.testing.assert_allclose(d_left, rounded(cotangent) @ rounded(right).T, atol=1e-6)
    np.testing.assert_allclose(
        d_right, np.einsum("abk,abn->kn", rounded(left), rounded(cotangent)), atol=1e-5
    )


def test_derivatives_of_every_order_are_the_product_s():
    """Of small integers, which bfloat16 holds exactly, so that nothing is rounded."""
    rng = np.random.default_rng(0)
    left, right, weight = (
        jnp.asarray(rng.integers(-2, 3, shape), jnp.float32) for shape in ((2, 3, 4), (4, 5), (5,))
    )

    def derivatives(dtype):
        def cubic(pair):
            return ((product(*pair, dtype) ** 3) * weight[None, None, :]).sum() / 6

        def slope(pair):
            return sum((leaf**2).sum() for leaf in jax.grad(cubic)(pair)) / 4

        return jax.jit(lambda pair: (jax.grad(cubic)(pair), jax.grad(slope)(pair)))((left, right))

    first, second = derivatives(jnp.float32)
    assert min(np.abs(leaf).max() for leaf in (*first, *second)) > 1
    found = derivatives(jnp.bfloat16)
    jax.tree.map(np.testing.assert_array_equal, found[0], first)
    # A second derivative multiplies first ones, some of more than bfloat16's 8 bits.
    for leaf, expected in zip(found[1], second, strict=True):
        assert np.linalg.norm(leaf - expected) < 0.01 * np.linalg.norm(expected)


def test_seeds_can_be_mapped():
    left, rights = normal(3, 4), normal(2, 4, 5, seed=1)
    total = jax.jit(jax.grad(lambda b: jnp.sum(product(left, b, jnp.bfloat16) ** 2)))
    np.testing.assert_allclose(
        jax.vmap(total)(rights), jnp.stack([total(right) for right in rights]), rtol=1e-6
    )


# Models.


def test_float32_is_the_default_and_the_formula_to_the_bit():
    for make in (lstm, gru):
        assert make(V, E, H) is make(V, E, H, precision="float32")
    assert text_cnn(V, E, FILTERS) is text_cnn(V, E, FILTERS, precision="float32")
    assert bigru(V, E, H) is bigru(V, E, H, precision="float32")
    model = language_model("lstm", "float32")
    params, token = jax.jit(model.init)(jax.random.key(0)), jnp.arange(V)
    state = LSTMState(normal(V, H), normal(V, H, seed=1))

    def formula(p, state, token):
        gates = p["embedding"][token] @ p["input_kernel"] + p["bias"][None]
        i, f, o, c = jnp.split(gates + state.hidden @ p["recurrent_kernel"], 4, axis=-1)
        cell = jax.nn.sigmoid(f) * state.cell + jax.nn.sigmoid(i) * jnp.tanh(c)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
        return LSTMState(cell, hidden), hidden @ p["output_kernel"] + p["output_bias"][None]

    results = [jax.jit(way)(params, state, token) for way in (model.step, formula)]
    jax.tree.map(np.testing.assert_array_equal, *results)


@pytest.mark.parametrize("make", [
    *(functools.partial(make, V, E, H) for make in (lstm, gru, bigru)),
    functools.partial(text_cnn, V, E, FILTERS),
])  # fmt: skip
def test_other_precisions_are_refused(make):
    with pytest.raises(ValueError, match="'float16': must be one of float32, bfloat16"):
        make(precision="float16")


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_language_models_round_products_and_nothing_else(name):
    model, batch = language_model(name, "bfloat16"), random_batch()
    init = jax.jit(model.init)
    params = init(jax.random.key(0))
    assert features_dtype(model, params) == jnp.bfloat16

    @jax.jit
    def results(params):
        state = model.initial_state(params, V)
        words = jnp.arange(V, dtype=jnp.int32)
        # After one token, so that the state is not zero.
        state, _ = model.step(params, state, words)
        steps = [model.step(params, state, token) for token in (words, jnp.eye(V))]
        start = model.step(params, model.initial_state(params, 1), jnp.zeros(1, jnp.int32))[1][0]
        each = log_probs(model, params, words[:, None])[:, 0]
        return steps, start, each, softmax_outputs(model, params, batch.tokens, batch.mask)

    (by_id, by_one_hot), start, each, softmax = results(params)
    floats = jax.tree.leaves((params, by_id, start, each, softmax))
    assert {leaf.dtype for leaf in floats} == {FLOAT32}
    # What is carried on has more bits than bfloat16's.
    assert all((leaf != rounded(leaf)).mean() > 0.9 for leaf in jax.tree.leaves(by_id))
    # A relaxed token that is a one-hot is its token.
    jax.tree.map(np.testing.assert_array_equal, by_id, by_one_hot)
    # A step and the likelihood round alike.
    np.testing.assert_allclose(each, jax.nn.log_softmax(start), atol=2e-6)
    assert np.exp(np.asarray(each, np.float64)).sum() == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(softmax.sum(axis=-1), batch.mask, atol=1e-6)


def of_likelihood(name):
    def loss_of(precision):
        model, batch = language_model(name, precision), random_batch()
        return model.init, lambda p: losses.mle_loss(
            log_probs(model, p, batch.tokens), batch.mask
        )  # fmt: skip

    return loss_of


def of_verdict(name):
    def loss_of(precision):
        judge, batch = classifier(name, precision), random_batch()

        def loss(p):
            logits = judge.apply(p, judge.embed(p, batch.tokens), batch.mask, None)
            return losses.discriminator_loss(logits, batch.labels)

        return judge.init, loss

    return loss_of


def of_slope(name):
    """The gradient penalty, whose gradient is of second order."""

    def loss_of(precision):
        judge, batch = classifier(name, precision), random_batch()
        real = one_hots(batch.tokens, batch.mask, V)
        fake = jax.nn.softmax(normal(B, T, V), axis=-1)

        def loss(p):
            def score_of(x):
                return score(judge, p, x, jnp.ones((B, T), bool))

            return gradient_penalty(score_of, real, fake, jnp.full((B,), 0.3)).mean()

        return judge.init, loss

    return loss_of


LOSSES = {
    "lstm": of_likelihood("lstm"),
    "gru": of_likelihood("gru"),
    "text_cnn": of_verdict("text_cnn"),
    "bigru": of_verdict("bigru"),
    "penalty of text_cnn": of_slope("text_cnn"),
    "penalty of bigru": of_slope("bigru"),
}


@pytest.mark.parametrize("name", ["lstm", "text_cnn", "penalty of text_cnn"])
def test_loss_and_gradient_are_near_those_of_float32(name):
    results = []
    for precision in hp.PRECISIONS:
        init, loss = LOSSES[name](precision)

        @jax.jit
        def evaluate(key):
            # Biases begin at zero; here nothing does.
            params = jax.tree.map(lambda leaf: leaf + 0.05, init(key))
            value, gradient = jax.value_and_grad(loss)(params)
            return value, gradient, ravel_pytree(gradient)[0]

        *typed, flat = evaluate(jax.random.key(1))
        assert {leaf.dtype for leaf in jax.tree.leaves(typed)} == {FLOAT32}
        results.append((float(typed[0]), np.asarray(flat)))
    (exact, slope), (near, other) = results
    assert near != exact
    # Measured: at most 0.0008, and cosines of at least 0.99995.
    assert near == pytest.approx(exact, rel=5e-3)
    length = np.linalg.norm(slope)
    assert slope @ other > 0.999 * length * np.linalg.norm(other)
    assert np.linalg.norm(other) == pytest.approx(length, rel=0.02)


# Programs.


def operands(lowered):
    """The kinds of every product of matrices in a lowered program, such as `bf16 bf16 f32`.

    The discriminators' output layer, a single column, is a matrix by a vector.
    """
    text = lowered.as_text()
    assert "stablehlo.convolution" not in text
    lines = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    types = [re.findall(r"tensor<([x\d]+)x(b?f\d+)>", line.rsplit(" : ", 1)[1]) for line in lines]
    assert all(len(kinds) == 3 for kinds in types)
    return [
        " ".join(kind for _, kind in kinds)
        for kinds in types
        if not any(shape.endswith("x1") for shape, _ in kinds)
    ]


@pytest.mark.parametrize("name", LOSSES)
def test_every_product_is_of_bfloat16_summed_in_float32(name):
    for precision, kind in (("bfloat16", "bf16 bf16 f32"), ("float32", "f32 f32 f32")):
        init, loss = LOSSES[name](precision)
        params = jax.eval_shape(init, jax.random.key(0))
        found = operands(jax.jit(jax.grad(loss)).lower(params))
        assert len(found) >= 4
        assert set(found) == {kind}


def method_of(name, kind):
    settings, batch = hp.TrainingHParams(num_rollouts=2, d_l2=0.0), random_batch()
    return METHODS[name](
        language_model("lstm", "bfloat16"), classifier(kind, "bfloat16"), settings,
        Samples(batch.tokens, batch.mask),
    )  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), [
    ("seqgan", "density"), ("gumbel_softmax", "text_cnn"), ("wgan_gp", "text_cnn"),
])  # fmt: skip
def test_every_product_of_a_step_is_of_bfloat16(name, kind):
    method, batch = method_of(name, kind), random_batch()
    state = jax.eval_shape(method.init_state, jax.random.key(0))
    found = [
        *operands(jax.jit(method.generator_step).lower(state, Samples(batch.tokens, batch.mask))),
        *operands(jax.jit(method.discriminator_step).lower(state, batch)),
    ]
    # Monte Carlo search adds up rewards, a sum that is written as a product.
    assert found.count("f32 f32 f32") == (name == "seqgan")
    assert set(found) - {"f32 f32 f32"} == {"bf16 bf16 f32"}


KINDS = {"seqgan": "density", "gumbel_softmax": "bigru", "rankgan": "bigru"}


@pytest.mark.parametrize("name", hp.METHODS)
def test_states_of_every_method_stay_float32(name):
    """Parameters, moments and metrics."""
    method, batch = method_of(name, KINDS.get(name, "text_cnn")), random_batch()
    state = jax.eval_shape(method.init_state, jax.random.key(0))
    samples = Samples(batch.tokens, batch.mask)
    pairs = [(method.pretrain_generator_step, samples), (method.generator_step, samples)]
    if method.uses_discriminator:
        pairs.append((method.discriminator_step, batch))
    for step, data in pairs:
        after, metrics = jax.eval_shape(step, state, data)
        dtypes = {leaf.dtype for leaf in jax.tree.leaves((after, metrics))}
        assert {dtype for dtype in dtypes if jnp.issubdtype(dtype, jnp.floating)} == {FLOAT32}
        chex.assert_trees_all_equal_shapes_and_dtypes(after, state)


def test_draws_are_from_the_rounded_model_and_not_from_the_exact_one():
    """Chi-square of 25 cells; chance exceeds 51.2 once in a thousand seeds."""
    number, size = 200_000, 5
    models = [lstm(size, 3, 4, init_scale=1.0, precision=name) for name in hp.PRECISIONS]
    params = models[0].init(jax.random.key(2))
    # What all logits have in common does not count, but costs bfloat16 its bits.
    params = {**params, "output_kernel": params["output_kernel"] + 20.0}
    drawn = sample(models[1], params, jax.random.key(3), batch_size=number, length=2).tokens
    counts = np.bincount(np.asarray(drawn) @ [size, 1], minlength=size**2)
    pairs = jnp.asarray(np.indices((size, size)).reshape(2, -1).T, jnp.int32)
    statistics = []
    for model in models:
        expected = number * np.exp(np.asarray(log_probs(model, params, pairs)).sum(axis=1))
        assert expected.min() > 5
        statistics.append(((counts - expected) ** 2 / expected).sum())
    exact, own = statistics
    assert own < 51.2
    assert exact > 100


# Runs in bfloat16 are in methods_test.py, beside the others; here is what one is built of.


def test_precision_reaches_both_players_and_never_the_oracle():
    hparams = dataclasses.replace(TINY, precision="bfloat16")
    models = experiment.build_models(hparams)
    oracle = experiment.build_oracle(hparams.data).language_model
    assert oracle is lstm(12, 4, 4, init_scale=1.0)
    judge = jax.eval_shape(models.classifier.init, jax.random.key(0))
    batch = normal(3, 4, 4), jnp.ones((3, 4), bool)
    verdict = jax.jit(models.classifier.apply).lower(judge, *batch, None)
    assert set(operands(verdict)) == {"bf16 bf16 f32"}
    kinds = [
        features_dtype(model, jax.eval_shape(model.init, jax.random.key(0)))
        for model in (models.language_model, oracle)
    ]
    assert kinds == [jnp.bfloat16, jnp.float32]
