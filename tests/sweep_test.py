"""The sweep against likelihoods taken by hand, on a tiny trained run."""

import io
import json

import jax
import numpy as np
import pytest
import rich.console

from seqgan_jax import hparams as hp
from seqgan_jax.checked import ConfigError, from_mapping, to_dict
from seqgan_jax.data_hparams import OracleDataHParams
from seqgan_jax.metrics.diversity import CopiedFraction
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.search.sampling import sample
from seqgan_jax.training import experiment, sweep, trained
from seqgan_jax.training.loop import Trainer

TINY = hp.HParams(
    data=OracleDataHParams(
        vocab_size=12, length=4, num_train=40, num_test=32, oracle_embed_dim=4, oracle_hidden_dim=4
    ),
    model=hp.ModelHParams(embed_dim=4, hidden_dim=5),
    discriminator=hp.DiscriminatorHParams(kind="density", embed_dim=4, hidden_dim=4),
    training=hp.TrainingHParams(
        num_rollouts=2, reward="likelihood_ratio", mle_dropout_rate=0.2, d_l2=0.0
    ),
    schedule=hp.ScheduleHParams(
        batch_size=8, g_pretrain_epochs=2, d_pretrain_steps=1, rounds=1, d_steps=1, d_epochs=1,
        d_samples=16, d_batch_size=8,
    ),
    evaluation=hp.EvaluationHParams(eval_every=1, eval_samples=32, num_written=1),
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with the density for a discriminator, trained to its end."""
    folder = tmp_path_factory.mktemp("sweep") / "tiny-s0"
    Trainer(TINY, str(folder), rich.console.Console(file=io.StringIO())).run()
    return str(folder)


def test_each_temperature_by_hand(run):
    built, state = experiment.build(TINY), trained.read(run).state
    model = built.models.language_model
    (point,) = sweep.Sweep([run]).temperatures(run, [0.5])
    drawn = sample(
        model, state.generator, jax.random.fold_in(state.subkey("sweep"), 0), batch_size=32,
        length=4, temperature=0.5,
    )  # fmt: skip
    sharp = state.generator | {
        name: 2.0 * state.generator[name] for name in ("output_kernel", "output_bias")
    }
    oracle = built.oracle
    expected = [
        -log_probs(lm, params, tokens).mean()
        for lm, params, tokens in (
            (oracle.language_model, oracle.params, drawn.tokens),
            (model, sharp, built.test.tokens),
            (model, sharp, drawn.tokens),
        )
    ]
    np.testing.assert_allclose(point[1:4], expected, rtol=1e-5)
    np.testing.assert_allclose(point.reverse_kl, expected[0] - expected[2], rtol=1e-3)
    copied = CopiedFraction(np.asarray(built.train.tokens), np.asarray(built.train.mask))
    assert point.copied == copied(np.asarray(drawn.tokens), np.asarray(drawn.mask))


def test_a_mixture_lies_between_its_components(run):
    sweeper = sweep.Sweep([run])
    low, one = sweeper.temperatures(run, [0.5, 1.0])[::-1]
    none, half, all_low = sweeper.mixtures(run, 0.5, [1e-9, 0.5, 1.0 - 1e-9])
    # Held-out data are the same; samples are others, 32 of them.
    np.testing.assert_allclose(
        [none.nll_test, all_low.nll_test], [one.nll_test, low.nll_test], rtol=1e-5
    )
    np.testing.assert_allclose(
        [none.entropy, all_low.entropy], [one.entropy, low.entropy], atol=0.3
    )
    assert half.nll_oracle == pytest.approx((none.nll_oracle + all_low.nll_oracle) / 2)
    # log(p / 2 + q / 2) is at least log p - log 2: at most log(2) / T more than the better of both.
    assert half.nll_test <= min(one.nll_test, low.nll_test) + np.log(2.0) / 4 + 1e-6
    test = experiment.build(TINY).test.tokens
    params, model = trained.read(run).state.generator, experiment.build_models(TINY).language_model
    sharp = params | {name: 2.0 * params[name] for name in ("output_kernel", "output_bias")}
    likely = [np.exp(np.asarray(log_probs(model, p, test).sum(axis=1))) for p in (params, sharp)]
    expected = -np.log((likely[0] + likely[1]) / 2).mean() / 4
    np.testing.assert_allclose(half.nll_test, expected, rtol=1e-5)


def test_crossing_is_interpolated():
    curve = [sweep.Point(1.0, 9.0, 7.0, 6.0, 0.0), sweep.Point(0.9, 8.0, 7.4, 5.0, 0.0)]
    assert sweep.nll_test_at(curve, 8.5) == pytest.approx(7.2)
    assert sweep.nll_test_at(curve, 8.0) == pytest.approx(7.4)
    assert sweep.nll_test_at(curve, 9.1) is None


def test_other_data_are_refused(run, tmp_path):
    other = json.loads(json.dumps(to_dict(TINY)))
    other["data"]["seed"] = 1
    hparams = from_mapping(hp.HParams, other)
    folder = str(tmp_path / "other")
    Trainer(hparams, folder, rich.console.Console(file=io.StringIO())).run()
    with pytest.raises(ConfigError, match=r"on other data than .*data\.seed: 0 != 1"):
        sweep.Sweep([run, folder])


def test_what_is_written_and_printed(run, tmp_path):
    sweeper = sweep.Sweep([run])
    curve = sweeper.temperatures(run, [0.5, 1.0])
    assert [point.temperature for point in curve] == [1.0, 0.5]
    sweep.write(sweeper.real, {"a-1": curve, "a-2": curve, "b": curve}, str(tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["sweep.json", "sweep.png"]
    written = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert written["curves"]["b"][0]["nll_oracle"] == curve[0].nll_oracle
    assert written["curves"]["b"][0]["reverse_kl"] == pytest.approx(curve[0].reverse_kl)
    built = experiment.build(TINY)
    oracle, test = built.oracle, built.test
    floor = -log_probs(oracle.language_model, oracle.params, test.tokens).mean()
    assert written["real"]["floor"] == pytest.approx(float(floor), rel=1e-5)
    screen = rich.console.Console(file=io.StringIO(), width=150)
    screen.print(sweep.table(sweeper.real, {"b": curve}, curve[0].nll_oracle))
    for figure in (floor, curve[1].nll_test - floor, curve[1].reverse_kl):
        assert f"{figure:.3f}" in screen.file.getvalue()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--out="):
        sweep.write(sweeper.real, {"a": curve}, str(tmp_path / "file"))


def test_dropout_of_maximum_likelihood_is_drawn_from_the_step(run):
    models = experiment.build_models(TINY)
    state = models.method.init_state(jax.random.key(0))
    data = experiment.build(TINY).train
    batch = type(data)(data.tokens[:8], data.mask[:8])
    step = jax.jit(models.method.pretrain_generator_step)
    one, again = step(state, batch)[1]["mle_loss"], step(state, batch)[1]["mle_loss"]
    expected = -log_probs(
        models.language_model, state.generator, batch.tokens, 0.2, state.subkey("mle_dropout")
    ).mean()
    assert one == again
    np.testing.assert_allclose(one, expected, rtol=1e-5)
    without = -log_probs(models.language_model, state.generator, batch.tokens).mean()
    assert abs(one - without) > 1e-6
