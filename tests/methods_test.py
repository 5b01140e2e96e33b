"""What holds for every method: its shape, its run, its resume; and where the plain ones move."""

import dataclasses

import enumerated
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy_target as toy
from tiny_run import TINY, StoppedError, metric_lines, run

from seqgan_jax import hparams as hp
from seqgan_jax.hparams import METHODS as NAMES
from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.registry import METHODS
from seqgan_jax.models.discriminator import text_cnn
from seqgan_jax.training import trained

PLAIN = TrainingHParams(
    num_rollouts=4, rollout_chunk=4, baseline="leave_one_out", d_learning_rate=5e-3, d_l2=0.0
)
WITHOUT_DISCRIMINATOR = {
    "mle", "scheduled_sampling", "pg_bleu", "constant_reward", "random_reward"
}  # fmt: skip
pytestmark = pytest.mark.usefixtures("shared_programs")
SHORT = dataclasses.replace(
    TINY,
    schedule=dataclasses.replace(
        TINY.schedule, g_pretrain_epochs=1, d_pretrain_steps=1, rounds=2, g_steps=1, d_steps=1,
        d_epochs=1,
    ),
)  # fmt: skip


# The others run in training_test.py, shared_start_test.py and compare_test.py. Some of these are in
# bfloat16, which no method sees, one with keys of the kind rbg.
RUNS = {
    "pg_bleu": {"precision": "bfloat16"},
    "reinforce": {
        "precision": "bfloat16",
        "model": hp.ModelHParams(cell="gru", embed_dim=4, hidden_dim=5),
        "discriminator": hp.DiscriminatorHParams(kind="bigru", embed_dim=4, hidden_dim=3),
    },
    "maligan": {},
    "rankgan": {},
    "gumbel_softmax": {"precision": "bfloat16", "prng": "rbg"},
    "wgan": {},
    "wgan_gp": {"precision": "bfloat16"},
}
# A state of their own: each method's optimiser, or what it reads from one.
RESUMED = {"gumbel_softmax", "wgan"}


@pytest.mark.parametrize("name", RUNS)
def test_methods_run_and_resume_to_the_bit(tmp_path, monkeypatch, name):
    hparams = dataclasses.replace(SHORT, method=name, **RUNS[name])
    run(hparams, tmp_path / "whole")
    lines = metric_lines(tmp_path / "whole")
    has_discriminator = name not in WITHOUT_DISCRIMINATOR
    phases = ["g_pretrain", *["d_pretrain"] * has_discriminator, "adversarial", "adversarial"]
    assert [line["phase"] for line in lines] == phases
    last = lines[-1]
    assert last["generator_updates"] == 5 + 2
    assert (last["discriminator_updates"] > 0) == has_discriminator
    state = trained.read(str(tmp_path / "whole")).state
    if name == "reinforce":
        assert state.generator["recurrent_kernel"].shape == (5, 3 * 5)
        assert state.discriminator["forward"]["cell"]["in"]["kernel"].shape == (4, 3)
    if name not in RESUMED:
        return
    # In the middle of the first round, where there is a d-step after the g-step.
    with pytest.raises(StoppedError):
        run(hparams, tmp_path / "killed", 3, monkeypatch)
    monkeypatch.undo()
    run(hparams, tmp_path / "killed")
    assert metric_lines(tmp_path / "killed") == lines
    other = trained.read(str(tmp_path / "killed")).state
    written = [(tmp_path / part / "samples.txt").read_text() for part in ("whole", "killed")]
    assert written[0] == written[1]
    assert str(jax.random.key_impl(state.key)) == hparams.prng
    assert {leaf.dtype for leaf in jax.tree.leaves(state.generator)} == {jnp.dtype(jnp.float32)}
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(other), strict=True):
        if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", NAMES)
def test_every_method_is_of_one_shape(name):
    method = METHODS[name](toy.GENERATOR, toy.CNN, PLAIN, toy.real(64))
    assert isinstance(method, Method)
    assert method.uses_discriminator == (name not in WITHOUT_DISCRIMINATOR)
    drawn = method.drawn(8, 4)
    searched = {"seqgan", "rankgan", "pg_bleu", "constant_reward", "random_reward"}
    # A batch of 8, and of each sequence 4 completions of each of 3 prefixes.
    expected = 8 * (1 + 4 * 3) if name in searched else 8
    assert drawn.sequences == (0 if name in ("mle", "scheduled_sampling") else expected)


# Where the plain ones move. The others' own tests say it of them.


def test_maximum_likelihood_finds_the_target():
    before, after = toy.distances(METHODS["mle"](toy.GENERATOR, toy.CNN, PLAIN))
    assert before.min() > 0.75
    assert after.max() < 0.2  # measured: 0.119 to 0.149


def test_seqgan_moves_toward_the_target():
    before, after = toy.distances(METHODS["seqgan"](toy.GENERATOR, toy.CNN, PLAIN))
    assert (after < before - 0.25).all()  # measured: 0.765 to 0.306-0.398


@pytest.mark.parametrize("name", ["constant_reward", "random_reward"])
def test_controls_go_nowhere(name):
    """Their expected gradient is 0, so that what moves them is noise."""
    before, after = toy.distances(METHODS[name](toy.GENERATOR, toy.CNN, PLAIN))
    assert (after > before - 0.1).all()  # measured: at most 0.02 nearer
    assert (np.abs(after - before) > 1e-4).all()  # but each has moved


@pytest.mark.parametrize("name", ["constant_reward", "random_reward"])
def test_controls_expect_no_gradient_and_follow_one(name):
    hparams = TrainingHParams(num_rollouts=1, rollout_chunk=1, g_clip_norm=enumerated.UNCLIPPED)
    classifier = text_cnn(enumerated.V, 2, ((1, 2),))
    method = METHODS[name](enumerated.TABLE, classifier, hparams)
    state = method.init_state(jax.random.key(0))
    gradients = enumerated.step_gradients(method.generator_step, state, 4, 4000)
    assert np.linalg.norm(gradients, axis=1).min() > 0.1
    # 39 components; chance exceeds 4.5 in one of 4,000 such tests.
    assert enumerated.standard_errors_away(gradients, 0.0) < 4.5


# Options of maximum likelihood.


def test_weight_decay_is_apart_from_the_gradient():
    """AdamW: what it adds to a step is -rate * decay * parameter, whatever the gradient is."""
    decaying = dataclasses.replace(PLAIN, mle_weight_decay=0.3)
    states = []
    for hparams in (PLAIN, decaying):
        method = METHODS["mle"](toy.GENERATOR, toy.CNN, hparams)
        before = jax.jit(method.init_state)(jax.random.key(0))
        after, _ = jax.jit(method.pretrain_generator_step)(before, toy.real(64))
        states.append(after.generator)
    jax.tree.map(
        lambda plain, decayed, start: np.testing.assert_allclose(
            decayed - plain, -0.01 * 0.3 * start, rtol=1e-3, atol=1e-6
        ),
        *states, before.generator,
    )  # fmt: skip
    assert optax.tree.norm(states[1]) < optax.tree.norm(states[0])
