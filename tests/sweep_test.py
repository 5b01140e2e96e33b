"""The sweep against likelihoods taken by hand, on tiny runs."""

import dataclasses
import io
import json
import pathlib

import jax
import numpy as np
import pytest
import rich.console
from kept_run import TINY, keep_run

from seqgan_jax.checked import ConfigError
from seqgan_jax.data_hparams import TextDataHParams
from seqgan_jax.metrics.diversity import CopiedFraction
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.reporting import sweep, sweep_output
from seqgan_jax.reporting.reading import Point
from seqgan_jax.reporting.sweep_output import Swept
from seqgan_jax.search.sampling import sample
from seqgan_jax.training import experiment, trained


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on an oracle, with a generator of maximum likelihood beside the newest."""
    return keep_run(tmp_path_factory.mktemp("sweep") / "tiny-s0", TINY)


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    """Maximum likelihood alone, on lines of different lengths."""
    folder = tmp_path_factory.mktemp("sweep_text")
    random = np.random.default_rng(0)
    lines = [" ".join(random.choice(list("abcdef"), random.integers(1, 7))) for _ in range(60)]
    (folder / "lines.txt").write_text("\n".join(lines))
    data = TextDataHParams(path=str(folder / "lines.txt"), test_fraction=0.4)
    schedule = dataclasses.replace(TINY.schedule, rounds=0)
    hparams = dataclasses.replace(TINY, data=data, schedule=schedule)
    return keep_run(folder / "text", hparams, pretrained=False)


def quiet():
    return rich.console.Console(file=io.StringIO(), width=250)


def sharper(params, factor):
    """Of a generator at temperature 1 / factor: its logits times the factor."""
    return params | {name: factor * params[name] for name in ("output_kernel", "output_bias")}


def newest(sweeper, folder):
    return sweeper.models[folder][-1]


def test_each_temperature_by_hand(run):
    built, state = experiment.build(TINY, run), trained.read(run).state
    model = built.models.language_model
    sweeper = sweep.Sweep([run])
    assert [each.name for each in sweeper.models[run]] == ["MLE", "SeqGAN"]
    (point,) = sweeper.temperatures(newest(sweeper, run), [0.5])
    drawn = sample(
        model, state.generator, jax.random.fold_in(state.subkey("sweep"), 0), batch_size=32,
        length=4, temperature=0.5,
    )  # fmt: skip
    sharp, oracle = sharper(state.generator, 2.0), built.oracle
    expected = {
        name: float(-log_probs(lm, params, tokens).mean())
        for name, lm, params, tokens in (
            ("nll_oracle", oracle.language_model, oracle.params, drawn.tokens),
            ("nll_test", model, sharp, built.test.tokens),
            ("entropy", model, sharp, drawn.tokens),
        )
    }
    copied = CopiedFraction(np.asarray(built.train.tokens), np.asarray(built.train.mask))
    expected["copied_ngrams"] = copied(np.asarray(drawn.tokens), np.asarray(drawn.mask))
    assert point.metrics == pytest.approx(expected, rel=1e-5)
    kl = expected["nll_oracle"] - expected["entropy"]
    assert sweep_output.reverse_kl(point.metrics) == pytest.approx(kl, rel=1e-3)
    other_seed = sweep.Sweep([run], seed=1).temperatures(newest(sweeper, run), [0.5])[0].metrics
    assert other_seed["nll_test"] == point.metrics["nll_test"]
    assert other_seed["nll_oracle"] != point.metrics["nll_oracle"]


def test_padding_is_no_data_where_lengths_differ(text_run):
    sweeper = sweep.Sweep([text_run], num=20)
    (model,) = sweeper.models[text_run]
    assert (model.name, model.source) == ("MLE", "generator")
    (point,) = sweeper.temperatures(model, [0.5])
    state, built = model.run.state, sweeper.experiment
    language_model, length = built.models.language_model, built.sizes.length
    drawn = sample(
        language_model, state.generator, jax.random.fold_in(state.subkey("sweep"), 0),
        batch_size=20, length=length, temperature=0.5,
    )  # fmt: skip
    for name, samples in (("nll_test", built.test), ("entropy", drawn)):
        likelihoods, total = np.zeros(samples.tokens.shape), 0
        params = sharper(state.generator, 2.0)
        hidden, token = language_model.initial_state(params, len(likelihoods)), None
        token = np.full(len(likelihoods), language_model.start_token)
        for t in range(length):
            hidden, logits = language_model.step(params, hidden, token)
            token = samples.tokens[:, t]
            each = jax.nn.log_softmax(logits)[np.arange(len(token)), token]
            likelihoods[:, t] = np.where(samples.mask[:, t], each, 0.0)
            total += int(samples.mask[:, t].sum())
        assert not samples.mask.all()
        assert point.metrics[name] == pytest.approx(-likelihoods.sum() / total, rel=1e-5)
    # Words, not tokens: the end token is none.
    lengths = np.asarray(drawn.mask).sum(1) - (np.asarray(drawn.tokens) == 1).sum(1)
    assert built.codec.end_token == 1
    assert point.metrics["mean_length"] == pytest.approx(lengths.mean())
    assert {"bleu_5", "self_bleu_5"} <= point.metrics.keys() & sweeper.real.keys()
    with pytest.raises(ConfigError, match=r"--mixture=0\.5: a control for NLL_oracle"):
        sweep.run([text_run], sweep.Settings([1.0], mixture=0.5), quiet())


def test_a_mixture_lies_between_its_components(run):
    sweeper = sweep.Sweep([run])
    model = newest(sweeper, run)
    one, low = (point.metrics for point in sweeper.temperatures(model, [1.0, 0.5]))
    none, half, all_low = (
        point.metrics for point in sweeper.mixtures(model, 0.5, [1e-9, 0.5, 1.0 - 1e-9])
    )
    # Held-out data are the same; samples are others, 32 of them.
    assert none["nll_test"] == pytest.approx(one["nll_test"], rel=1e-5)
    assert all_low["nll_test"] == pytest.approx(low["nll_test"], rel=1e-5)
    assert none["entropy"] == pytest.approx(one["entropy"], abs=0.3)
    assert all_low["entropy"] == pytest.approx(low["entropy"], abs=0.3)
    middle = (none["nll_oracle"] + all_low["nll_oracle"]) / 2
    assert half["nll_oracle"] == pytest.approx(middle)
    # log(p / 2 + q / 2) is at least log p - log 2: at most log(2) / T more than the better of both.
    assert half["nll_test"] <= min(one["nll_test"], low["nll_test"]) + np.log(2.0) / 4 + 1e-6
    test = experiment.build(TINY, run).test.tokens
    params, language_model = model.run.state.generator, model.run.outline.models.language_model
    likely = [
        np.exp(np.asarray(log_probs(language_model, p, test).sum(axis=1)))
        for p in (params, sharper(params, 2.0))
    ]
    expected = -np.log((likely[0] + likely[1]) / 2).mean() / 4
    assert half["nll_test"] == pytest.approx(expected, rel=1e-5)


def test_crossing_is_interpolated():
    curve = [
        Point(t, {"nll_oracle": y, "nll_test": x}) for t, y, x in ((1.0, 9.0, 7.0), (0.9, 8.0, 7.4))
    ]
    assert sweep_output.crossing(curve, sweep.ON_ORACLE, 8.5) == pytest.approx(7.2)
    assert sweep_output.crossing(curve, sweep.ON_ORACLE, 8.0) == pytest.approx(7.4)
    assert sweep_output.crossing(curve, sweep.ON_ORACLE, 9.1) is None


def test_other_data_are_refused(run, text_run, tmp_path):
    data = dataclasses.replace(TINY.data, seed=1)
    folder = keep_run(tmp_path / "other", dataclasses.replace(TINY, data=data))
    with pytest.raises(ConfigError, match=r"on other data than .*data\.seed: 0 != 1"):
        sweep.Sweep([run, folder])
    with pytest.raises(ConfigError, match=r"on other data than .*\(data\."):
        sweep.Sweep([text_run, run])


@pytest.mark.parametrize(
    ("text", "words"),
    [("cold", "--temperatures=cold"), *((word, "from 0.000001") for word in ("0", "nan", "-1"))],
)
def test_no_temperature_is_refused(text, words):
    with pytest.raises(ConfigError, match=words):
        sweep.temperature_of("temperatures", text)


def test_settings_that_make_no_sense_are_refused(run):
    for folders in ([run, run], [run, run + "/"], [run, "elsewhere/mixture"]):
        with pytest.raises(ConfigError, match="different last names"):
            sweep.named(folders)
    with pytest.raises(ConfigError, match="--temperatures=: give at least one"):
        sweep.run([run], sweep.Settings([]), quiet())
    with pytest.raises(ConfigError, match=r"--num=33: must be in 2\.\.32, the number of test"):
        sweep.Sweep([run], num=33)


def test_what_is_written_and_printed(run, tmp_path):
    evaluation = pathlib.Path(run) / "evaluation.json"
    evaluation.unlink(missing_ok=True)
    console, out = quiet(), str(tmp_path / "out")
    sweep.run([run], sweep.Settings([0.5, 1.0, 1.0], mixture=0.5, at=2.4, out=out), console)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["sweep.json", "sweep.png"]
    assert (pathlib.Path(run) / "quality_diversity.png").read_bytes().startswith(b"\x89PNG")
    everything = json.loads((tmp_path / "out" / "sweep.json").read_text())
    curves = {curve["name"]: curve["points"] for curve in everything["curves"]}
    assert list(curves) == ["tiny-s0 MLE", "tiny-s0 SeqGAN", "mixture"]
    sweeper = sweep.Sweep([run])
    expected = sweeper.temperatures(newest(sweeper, run), [1.0, 0.5])
    for point, written in zip(expected, curves["tiny-s0 SeqGAN"], strict=True):
        kl = {"reverse_kl": sweep_output.reverse_kl(point.metrics)}
        assert written["metrics"] == pytest.approx(point.metrics | kl)
        assert written["temperature"] == point.temperature
    kept = json.loads(evaluation.read_text())
    assert (kept["rows"], kept["num_samples"]) == ([], 32)
    assert (kept["sweep"]["x"], kept["sweep"]["y"]) == ("nll_test", "nll_oracle")
    assert [curve["name"] for curve in kept["sweep"]["curves"]] == ["MLE", "SeqGAN"]
    assert kept["sweep"]["curves"][1]["points"] == curves["tiny-s0 SeqGAN"]
    built = experiment.build(TINY, run)
    oracle, test = built.oracle, built.test
    floor = float(-log_probs(oracle.language_model, oracle.params, test.tokens).mean())
    assert everything["real"]["nll_oracle"] == pytest.approx(floor, rel=1e-5)
    printed = console.file.getvalue()
    metrics = expected[1].metrics
    for figure in (floor, metrics["nll_test"] - floor, sweep_output.reverse_kl(metrics)):
        assert f"{figure:.3f}" in printed
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--out="):
        sweep_output.write(Swept(sweep.ON_ORACLE, everything["real"], {}), str(tmp_path / "file"))


def test_the_picture_shows_real_data_and_the_curves():
    def drawn(real):
        curve = [Point(t, {"nll_test": 5 - t, "nll_oracle": 8 + t}) for t in (1.0, 0.5)]
        real = {"nll_test": real, "nll_oracle": real + 4}
        swept = Swept(sweep.ON_ORACLE, real, {"a-0 MLE": curve, "a-1 MLE": curve, "b-0 MLE": curve})
        return sweep_output.figure(swept)

    near, far = drawn(4.4).axes, drawn(0.0).axes
    assert (len(near), len(far)) == (1, 2)
    labels = ["a MLE", "b MLE", "the oracle itself"]
    assert near[0].get_legend_handles_labels()[1] == far[0].get_legend_handles_labels()[1] == labels
    assert near[0].get_xlabel() == "NLL_test, nats per token (lower: more diverse)"
    assert near[0].get_ylabel() == "NLL_oracle, nats per token (lower: better)"
    # The second panel leaves real data out, so that it shows the curves and little else.
    assert far[0].get_xlim()[0] < 0.0 < 3.9 < far[1].get_xlim()[0]


def test_dropout_of_maximum_likelihood_is_drawn_from_the_step(run):
    models = experiment.build_models(TINY)
    state = models.method.init_state(jax.random.key(0))
    data = experiment.build(TINY, run).train
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
