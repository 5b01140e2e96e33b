"""Sequences that end: the same run with every sequence padded further has the same losses."""

import dataclasses
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rich.console

import seqgan_jax as sg
from seqgan_jax import hparams as hp
from seqgan_jax.data.dataset import Dataset
from seqgan_jax.data.text import load_text
from seqgan_jax.data_hparams import TextDataHParams
from seqgan_jax.losses import mle_loss
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.training import real_data, writers
from seqgan_jax.training.loop import Trainer
from seqgan_jax.types import Sequences

CLOCKS = {"seconds", "training_seconds", "tokens_per_second"}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Lines of one to six words of ten; the first word decides much of the rest."""
    rng = np.random.default_rng(0)
    words = np.array(list("abcdefghij"))
    lines = [" ".join(np.sort(rng.choice(words, rng.integers(1, 7)))) for _ in range(120)]
    path = tmp_path_factory.mktemp("text") / "lines.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def settings(path, **training):
    return hp.HParams(
        data=TextDataHParams(path=path, level="whitespace", max_length=6, test_fraction=0.25),
        model=hp.ModelHParams(embed_dim=6, hidden_dim=8),
        discriminator=hp.DiscriminatorHParams(
            kind=training.pop("kind"), embed_dim=6, hidden_dim=8, filters=((1, 4), (3, 4))
        ),
        training=hp.TrainingHParams(
            num_rollouts=3, rollout_chunk=2, mle_dropout_rate=0.2, mle_learning_rate=0.05,
            d_learning_rate=0.01, **training
        ),
        schedule=hp.ScheduleHParams(
            batch_size=16, g_pretrain_epochs=12, d_pretrain_steps=2, rounds=2, g_steps=2, d_steps=1,
            d_epochs=1, d_samples=32, d_batch_size=16,
        ),
        evaluation=hp.EvaluationHParams(eval_every=12, eval_samples=30, num_written=10),
    )  # fmt: skip


def padded_further(dataset, more):
    def wider(part):
        width = ((0, 0), (0, more))
        return Sequences(
            np.pad(part.tokens, width, constant_values=dataset.codec.pad_token),
            np.pad(part.mask, width),
        )

    return Dataset(wider(dataset.train), wider(dataset.test), dataset.codec, dataset.notes)


PLAYERS = {
    "density": {
        "kind": "density", "reward": "likelihood_ratio", "d_l2": 0.0, "baseline": "prefix",
        "reward_entropy": 0.7, "reward_min_nll": 1.0, "reward_per_token": True,
    },
    "text_cnn": {"kind": "text_cnn", "reward": "probability", "baseline": "leave_one_out"},
}  # fmt: skip


@pytest.mark.parametrize("players", PLAYERS)
def test_padding_further_changes_no_loss(text, tmp_path, monkeypatch, players):
    """All phases, on the very same draws: a position's random number does not depend on T."""
    hparams = settings(text, **PLAYERS[players])
    dataset = load_text(hparams.data)
    lines = []
    for more in (8, 13):
        wider = padded_further(dataset, more)
        monkeypatch.setattr(real_data, "load", lambda *_, wider=wider: wider)
        folder = tmp_path / str(more)
        Trainer(hparams, str(folder), rich.console.Console(file=io.StringIO())).run()
        lines.append(writers.read_metrics(str(folder)))
    short, long = lines
    assert len(short) == 16
    for one, other in zip(short, long, strict=True):
        assert one.keys() == other.keys()
        # After one epoch samples still run on to whatever T is; from the twelfth on none does.
        learnt = one["step"] >= 60
        # Completions of a prefix behind the end are counted as drawn, as every position is.
        drawn = {"sequences_drawn", "tokens_drawn"}
        names = one.keys() - CLOCKS - drawn - {"phase", "copied", "copied_heldout"}
        for name in names if learnt else ("mle_loss", "mle_grad_norm"):
            # Of 30 sequences of each kind, rounding may swap two in rank: 1/900 of an AUC.
            tolerance = 3e-3 if "auc" in name else 2e-4
            close = pytest.approx(other[name], rel=tolerance, abs=tolerance)
            assert one[name] == close, (one["step"], name)
    assert short[-1]["mean_length"] < 6.0
    assert short[-1]["d_loss"] > 0.0


def test_likelihood_of_real_tokens_is_that_without_packing():
    model = sg.lstm(30, 8, 8, end_token=1)
    params = model.init(jax.random.key(0))
    drawn = sg.sample(model, params, jax.random.key(1), batch_size=300, length=9)
    assert not drawn.mask.all()

    def loss(params, mask):
        return mle_loss(log_probs(model, params, drawn.tokens, mask=mask), drawn.mask)

    packed, plain = (jax.jit(jax.value_and_grad(loss))(params, mask) for mask in (drawn.mask, None))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), packed, plain)
    behind = log_probs(model, params, drawn.tokens, mask=drawn.mask)[~np.asarray(drawn.mask)]
    np.testing.assert_array_equal(behind, 0.0)


def test_draws_are_those_of_a_model_without_packing():
    """`step` alone, as a user's own model has it, draws from all rows; the tokens are the same."""
    model = sg.lstm(30, 8, 8, end_token=1)
    plain = dataclasses.replace(model, features=None, output=None)
    params = model.init(jax.random.key(0))
    one, other = (
        sg.sample(m, params, jax.random.key(2), batch_size=600, length=9) for m in (model, plain)
    )
    np.testing.assert_array_equal(one.tokens, other.tokens)
    np.testing.assert_array_equal(one.mask, other.mask)


def test_the_mean_reward_of_a_token_does_not_favour_short_sequences():
    """With per_token, a sequence of twice the tokens and the same ratio each earns the same."""
    vocab = 4
    uniform = sg.LanguageModel(
        vocab_size=vocab,
        init=lambda key: {"logits": jnp.zeros((vocab,))},
        initial_state=lambda params, batch: jnp.zeros((batch, 0)),
        step=lambda params, state, token: (
            state, jnp.broadcast_to(params["logits"], (token.shape[0], vocab))
        ),
        end_token=1,
    )  # fmt: skip
    params = uniform.init(None)
    tokens = jnp.array([[2, 1, 0, 0, 0, 0], [2, 2, 2, 1, 0, 0]])
    mask = jnp.arange(6)[None] < jnp.array([[2], [4]])
    for per_token, expected in (
        # log P - 0.5 log G = -0.5 ln 4 a token.
        (False, [-0.5 * np.log(4) * 2, -0.5 * np.log(4) * 4]),
        (True, [-0.5 * np.log(4)] * 2),
    ):
        reward = sg.likelihood_ratio_reward(
            sg.density(uniform), params, uniform, params, entropy=0.5, per_token=per_token
        )
        np.testing.assert_allclose(reward(tokens, mask), expected, rtol=1e-6)
