"""Rows of an evaluation by hand and by NLTK, on tiny runs; and the file that they go to."""

import dataclasses
import io
import itertools
import json
import math
import pathlib
import re
import shutil
import zlib

import jax
import numpy as np
import pytest
import rich.console
from kept_run import TINY, keep_run
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from seqgan_jax.checked import ConfigError, DataError
from seqgan_jax.data.pitch_codec import PitchCodec, pitches
from seqgan_jax.data_hparams import DataSizes, TextDataHParams
from seqgan_jax.metrics.lm_score import language_model_score
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.reporting import evaluation_models
from seqgan_jax.reporting.columns import BY_KEY
from seqgan_jax.reporting.evaluate import Evaluation, Options, evaluate
from seqgan_jax.reporting.evaluation_file import EvaluationFile
from seqgan_jax.reporting.evaluation_table import table
from seqgan_jax.reporting.reading import Row
from seqgan_jax.search.sampling import sample
from seqgan_jax.training import trained
from seqgan_jax.training.experiment import Experiment
from seqgan_jax.types import Sequences

LM_EPOCHS = 2
NUMBER = 20
SIZES = DataSizes(vocab_size=5, length=4, num_train=40, num_test=30)


def quiet():
    return rich.console.Console(file=io.StringIO(), width=250)


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    """Lines of one to six words of eight: 36 to train with and 24 to test with."""
    folder = tmp_path_factory.mktemp("evaluate")
    random = np.random.default_rng(0)
    lines = [" ".join(random.choice(list("abcdefgh"), random.integers(1, 7))) for _ in range(60)]
    (folder / "lines.txt").write_text("\n".join(lines))
    data = TextDataHParams(path=str(folder / "lines.txt"), test_fraction=0.4)
    return keep_run(folder / "run", dataclasses.replace(TINY, data=data))


@pytest.fixture(scope="module")
def oracle_run(tmp_path_factory):
    return keep_run(tmp_path_factory.mktemp("evaluate_oracle") / "run", TINY)


@pytest.fixture(scope="module")
def rows(text_run):
    evaluation = Evaluation(text_run, Options(num=NUMBER, lm_epochs=LM_EPOCHS), quiet())
    return evaluation, {row.name: row for row in evaluation.rows()}


def sentences(evaluation, sequences):
    """Words of each sequence, as a person reads them."""
    codec = evaluation.experiment.codec
    rows = zip(np.asarray(sequences.tokens), np.asarray(sequences.mask), strict=True)
    return [codec.decode(row[real].tolist()).split() for row, real in rows]


def nltk_bleu(hypotheses, references_of, order):
    smoothing = SmoothingFunction().method1
    weights = (1.0 / order,) * order
    scores = [
        sentence_bleu(references_of(index), words, weights, smoothing_function=smoothing)
        if words
        else 0.0
        for index, words in enumerate(hypotheses)
    ]
    return np.mean(scores)


def drawn_by(evaluation, run, number=NUMBER):
    return sample(
        evaluation.experiment.models.language_model, run.state.generator,
        jax.random.fold_in(run.state.subkey("evaluate"), 0), batch_size=number,
        length=evaluation.experiment.sizes.length,
    )  # fmt: skip


def test_every_row_has_what_applies_to_it(rows):
    _, found = rows
    assert [(row.name, row.source) for row in found.values()] == [
        ("real, held out", "test"), ("real, training", "train"), ("MLE", "pretrained"),
        ("SeqGAN", "generator"),
    ]  # fmt: skip
    # All that can be measured of text, by its name in tables; no oracle, no pitches.
    everything = BY_KEY.keys() - {"nll_oracle", "pitch_mse", "nearest_pitch_mse"}
    of_model = {"nll_test", "entropy"}
    against_test = {"length_distance", *(f"jsd_{n}" for n in (1, 2, 3, 4))}
    backward = {f"backward_bleu_{n}" for n in (2, 3, 4, 5)}
    copied = {"copied_sequences", "copied_ngrams"}
    for name in ("MLE", "SeqGAN"):
        assert found[name].metrics.keys() == everything
    assert found["real, training"].metrics.keys() == everything - of_model - copied - {"lm_score"}
    no_use = of_model | against_test | backward | {"reverse_lm_score"}
    assert found["real, held out"].metrics.keys() == everything - no_use


def test_real_data_by_nltk(rows):
    evaluation, found = rows
    test = sentences(evaluation, evaluation.experiment.test)
    train = sentences(evaluation, evaluation.experiment.train)
    for order in (2, 5):
        others = nltk_bleu(test, lambda i: test[:i] + test[i + 1 :], order)
        assert found["real, held out"].metrics[f"bleu_{order}"] == pytest.approx(others)
    # N training sequences, each once; which of them, the seed says.
    metrics = found["real, training"].metrics
    some = sentences(
        evaluation,
        evaluation_models.chosen(Sequences(*evaluation.experiment.train), NUMBER, 0, "train"),
    )
    assert len(some) == NUMBER
    rest = list(train)
    for words in some:
        rest.remove(words)
    assert metrics["bleu_2"] == pytest.approx(nltk_bleu(some, lambda _: test, 2))
    assert metrics["self_bleu_2"] == pytest.approx(
        nltk_bleu(some, lambda i: some[:i] + some[i + 1 :], 2)
    )
    assert metrics["backward_bleu_2"] == pytest.approx(nltk_bleu(test, lambda _: some, 2))
    assert metrics["mean_length"] == pytest.approx(np.mean([len(words) for words in some]))


@pytest.mark.parametrize(("name", "pretrained"), [("MLE", True), ("SeqGAN", False)])
def test_a_generator_by_hand(rows, text_run, name, pretrained):
    evaluation, found = rows
    metrics, built = found[name].metrics, evaluation.experiment
    run = trained.read(text_run, pretrained)
    drawn = drawn_by(evaluation, run)
    assert not drawn.mask.all()
    for key, samples in (("nll_test", built.test), ("entropy", drawn)):
        each = log_probs(built.models.language_model, run.state.generator, samples.tokens)
        expected = -np.asarray(each)[np.asarray(samples.mask)].mean()
        assert metrics[key] == pytest.approx(expected, rel=1e-5)
    words = sentences(evaluation, drawn)
    test, train = (sentences(evaluation, x) for x in (built.test, built.train))
    assert metrics["bleu_3"] == pytest.approx(nltk_bleu(words, lambda _: test, 3))
    pairs = [pair for each in words for pair in itertools.pairwise(each)]
    assert metrics["distinct_2"] == pytest.approx(len(set(pairs)) / len(pairs))
    assert metrics["copied_sequences"] == np.mean([each in train for each in words])


def test_language_model_scores_are_of_the_right_pair(rows, text_run):
    evaluation, found = rows
    built = evaluation.experiment
    model = built.models.language_model
    drawn = drawn_by(evaluation, trained.read(text_run))

    def key(use):
        return jax.random.fold_in(jax.random.key(0), zlib.crc32(use.encode()))

    quality = language_model_score(model, built.train, drawn, key("real"), max_epochs=LM_EPOCHS)
    diversity = language_model_score(model, drawn, built.test, key("reverse"), max_epochs=LM_EPOCHS)
    metrics = found["SeqGAN"].metrics
    assert metrics["lm_score"] == pytest.approx(quality, rel=1e-5)
    assert metrics["reverse_lm_score"] == pytest.approx(diversity, rel=1e-5)
    assert metrics["reverse_lm_score"] != found["MLE"].metrics["reverse_lm_score"]


def test_a_file_of_unknown_tokens_alone_is_refused(text_run, tmp_path):
    (tmp_path / "other.txt").write_text("x y\nz\n")
    options = Options(lm_epochs=0, samples=str(tmp_path / "other.txt"))
    with pytest.raises(ConfigError, match=r"other\.txt: the run's vocabulary has none of its tok"):
        Evaluation(text_run, options, quiet())


def test_a_file_is_measured_on_all_that_it_has(text_run, tmp_path):
    evaluation = Evaluation(text_run, Options(lm_epochs=0), quiet())
    assert evaluation.number == 24  # of 36 and 24
    train = sentences(evaluation, evaluation.experiment.train)
    # Six different ones of the training data, an unknown word, and one line twice.
    copies = [list(words) for words in dict.fromkeys(map(tuple, train))][:6]
    lines = [*copies, ["a", "zzz"], ["h"] * 6, ["h"] * 6]
    (tmp_path / "mine.txt").write_text("\n".join(map(" ".join, lines)) + "\n\n")
    console = quiet()
    options = Options(lm_epochs=0, samples=str(tmp_path / "mine.txt"))
    evaluation = Evaluation(text_run, options, console)
    assert evaluation.number == 24
    *others, row = evaluation.rows()
    assert [other.num_samples for other in others] == [24] * 4
    assert (row.name, row.source, row.num_samples) == ("mine.txt", "file", len(lines))
    assert row.metrics["copied_sequences"] == pytest.approx(6 / 9)
    assert row.metrics["duplicates"] == pytest.approx(1 / 9)
    test = sentences(evaluation, evaluation.experiment.test)
    assert row.metrics["bleu_2"] == pytest.approx(nltk_bleu(lines, lambda _: test, 2))
    assert not row.metrics.keys() & {"nll_test", "entropy", "lm_score", "reverse_lm_score"}
    told = console.file.getvalue()
    assert "1 of 10 lines blank: skipped" in told
    assert "tokens unknown" in told
    assert "mine.txt: measuring 9 sequences" in told
    assert re.search(r"self-BLEU, distinct-n and backward BLEU .* equal numbers .* --num=9 ", told)
    # Of more than N, the first N.
    console = quiet()
    *others, row = Evaluation(text_run, options._replace(num=7), console).rows()
    assert {each.num_samples for each in (*others, row)} == {7}
    assert row.metrics["copied_sequences"] == pytest.approx(6 / 7)
    assert "equal numbers" not in console.file.getvalue()


def test_an_oracle_judges_all(oracle_run, tmp_path):
    (tmp_path / "ids.txt").write_text("1 2 3 4\n5 6 7\n11 11 11 11\n")
    options = Options(lm_epochs=0, samples=str(tmp_path / "ids.txt"))
    evaluation = Evaluation(oracle_run, options, quiet())
    found = {row.name: row.metrics for row in evaluation.rows()}
    oracle, test = evaluation.experiment.oracle, evaluation.experiment.test

    def nlls(tokens):
        return -np.asarray(log_probs(oracle.language_model, oracle.params, tokens))

    assert found["real, held out"]["nll_oracle"] == pytest.approx(
        nlls(test.tokens).mean(), rel=1e-5
    )
    mine = nlls(np.array([[1, 2, 3, 4], [5, 6, 7, 0], [11, 11, 11, 11]]))
    expected = (mine.sum() - mine[1, 3]) / 11  # the second is of three
    assert found["ids.txt"]["nll_oracle"] == pytest.approx(expected, rel=1e-5)
    drawn = drawn_by(evaluation, trained.read(oracle_run), 32)
    assert found["SeqGAN"]["nll_oracle"] == pytest.approx(nlls(drawn.tokens).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("rounds", "phase", "name"),
    [(0, None, "MLE"), (1, "g_pretrain", "MLE"), (1, "adversarial", "SeqGAN")],
)
def test_one_generator_is_called_by_how_it_was_trained(tmp_path, rounds, phase, name):
    folder = tmp_path / "run"
    schedule = dataclasses.replace(TINY.schedule, rounds=rounds)
    keep_run(folder, dataclasses.replace(TINY, schedule=schedule), pretrained=False)
    if phase:
        (folder / "metrics.jsonl").write_text(json.dumps({"phase": phase}) + "\n")
    assert [model[:2] for model in evaluation_models.models(str(folder))] == [(name, "generator")]


def test_melodies_are_measured_in_pitch():
    random = np.random.default_rng(0)
    train, test, mine = (random.integers(0, 30, (n, 5)) for n in (6, 7, 4))
    samples = [Sequences(x.astype(np.int32), np.ones(x.shape, bool)) for x in (train, test, mine)]
    built = Experiment(None, None, None, PitchCodec(0.4), None, samples[0], samples[1], ())
    measures = evaluation_models.Measures(built)

    def squares(one, other):
        return np.square(one[:, None] - other[None, :])  # [B, R, T], NaN where either rests

    real, own = pitches(test), pitches(mine)
    metrics = measures.of(samples[2])
    assert metrics["pitch_mse"] == pytest.approx(np.nanmean(squares(own, real)))
    nearest = np.nanmean(squares(own, real), axis=2).min(axis=1).mean()
    assert metrics["nearest_pitch_mse"] == pytest.approx(nearest)
    pairs = squares(real, real)
    pairs[np.arange(7), np.arange(7)] = np.nan
    assert measures.of_held_out(samples[1])["pitch_mse"] == pytest.approx(np.nanmean(pairs))


# The file and the table.


def read(folder):
    return json.loads((pathlib.Path(folder) / "evaluation.json").read_text())


def test_rows_are_kept_replaced_and_ordered(tmp_path):
    file = EvaluationFile(str(tmp_path), "text", SIZES, 10, 0)
    file.add(Row("MLE", "generator", {"bleu_2": 0.5, "jsd_4": math.nan}))
    file.add(Row("MLE", "file", {"bleu_2": 0.1}))
    file.set_sweep({"x": "self_bleu_5", "y": "bleu_5", "curves": []})
    again = EvaluationFile(str(tmp_path), "text", SIZES, 20, 3, 7)
    again.add(Row("real, held out", "test", {"bleu_2": 0.9}))
    again.add(Row("MLE", "pretrained", {"bleu_2": 0.6}, step=5))
    content = read(tmp_path)
    sizes = {"num_train": 40, "num_test": 30, "vocab_size": 5, "length": 4}
    assert content["data"] == {"kind": "text"} | sizes
    assert (content["version"], content["num_samples"], content["seed"]) == (1, 20, 3)
    assert content["sweep"]["num_samples"] == 10
    of_second, of_first = (
        {"num_samples": number, "seed": seed, "lm_epochs": epochs}
        for number, seed, epochs in ((20, 3, 7), (10, 0, 0))
    )
    assert content["rows"] == [
        {"name": "real, held out", "source": "test", **of_second, "metrics": {"bleu_2": 0.9}},
        {"name": "MLE", "source": "pretrained", **of_second, "step": 5, "metrics": {"bleu_2": 0.6}},
        {"name": "MLE", "source": "file", **of_first, "metrics": {"bleu_2": 0.1}},
    ]
    console = quiet()
    console.print(table(content))
    printed = console.file.getvalue()
    assert "20 sequences each" in printed
    assert "MLE (10 sequences)" in printed
    assert re.search(r"BLEU-2 ↑ +│ +0\.900 │ +0\.600 │ +0\.100", printed)
    assert "JSD" not in printed


def test_what_is_measured_is_kept_when_the_rest_fails(oracle_run, monkeypatch):
    (pathlib.Path(oracle_run) / "evaluation.json").unlink(missing_ok=True)

    def fail(_):
        raise RuntimeError("killed")

    monkeypatch.setattr(Evaluation, "_training", fail)
    with pytest.raises(RuntimeError, match="killed"):
        evaluate(oracle_run, Options(lm_epochs=0), quiet())
    assert [row["name"] for row in read(oracle_run)["rows"]] == ["real, held out"]
    monkeypatch.undo()
    console = quiet()
    evaluate(oracle_run, Options(lm_epochs=0), console)
    names = [row["name"] for row in read(oracle_run)["rows"]]
    assert names == ["real, held out", "real, training", "MLE", "SeqGAN"]
    assert "32 sequences each" in console.file.getvalue()
    assert f"{read(oracle_run)['rows'][3]['metrics']['nll_oracle']:.3f}" in console.file.getvalue()


@pytest.fixture
def measured(oracle_run, tmp_path):
    """A run that has been evaluated, and a file of three sequences."""
    shutil.copytree(oracle_run, tmp_path / "run")
    (tmp_path / "run" / "evaluation.json").unlink(missing_ok=True)
    (tmp_path / "ids.txt").write_text("1 2 3 4\n5 6 7\n11 11 11 11\n")
    evaluate(str(tmp_path / "run"), Options(lm_epochs=0), quiet())
    return str(tmp_path / "run"), Options(lm_epochs=0, samples=str(tmp_path / "ids.txt"))


def rewrite(folder, **fields):
    """Changes fields of every row."""
    content = read(folder)
    content["rows"] = [row | fields for row in content["rows"]]
    (pathlib.Path(folder) / "evaluation.json").write_text(json.dumps(content))
    return content["rows"]


def measured_again(folder, options):
    """Which rows are measured, with the number of their sequences, and what is said."""
    console = quiet()
    evaluate(folder, options, console)
    told = console.file.getvalue()
    found = re.findall(r"^(.*): measuring (\d+) sequences$", told, flags=re.MULTILINE)
    return {name: int(number) for name, number in found}, told


ALL = ("real, held out", "real, training", "MLE", "SeqGAN")


def test_scoring_a_small_file_leaves_good_rows_alone(measured):
    folder, options = measured
    before = rewrite(folder, mark="before")
    again, told = measured_again(folder, options)
    assert again == {"ids.txt": 3}
    *rows, row = read(folder)["rows"]
    assert rows == before
    assert (row["name"], row["num_samples"]) == ("ids.txt", 3)
    assert "SeqGAN: kept as measured before, on 32 sequences" in told
    assert re.search(r"comparable only at equal numbers of sequences: --num=3 ", told)
    assert "ids.txt (3 sequences)" in told
    # The file is measured every time, a row that is missing once, and all where N is asked for.
    content = read(folder)
    del content["rows"][2]
    (pathlib.Path(folder) / "evaluation.json").write_text(json.dumps(content))
    assert measured_again(folder, options)[0] == {"MLE": 32, "ids.txt": 3}
    again, told = measured_again(folder, options._replace(num=3))
    assert again == dict.fromkeys((*ALL, "ids.txt"), 3)
    assert "equal numbers" not in told
    assert {row["num_samples"] for row in read(folder)["rows"]} == {3}
    # Those are too few to be kept.
    assert measured_again(folder, options)[0] == {**dict.fromkeys(ALL, 32), "ids.txt": 3}


def test_rows_of_another_seed_or_without_the_scores_asked_for_are_measured_again(measured):
    folder, options = measured
    everything = {**dict.fromkeys(ALL, 32), "ids.txt": 3}
    assert measured_again(folder, options._replace(seed=1))[0] == everything
    options = options._replace(seed=1, lm_epochs=1)
    again, told = measured_again(folder, options)
    assert again == everything
    assert told.count("training sequences: training a language model") == 1
    assert measured_again(folder, options)[0] == {"ids.txt": 3}
    # Without a file of samples all is measured, as ever.
    options = Options(lm_epochs=0, seed=1)
    assert measured_again(folder, options)[0] == dict.fromkeys(ALL, 32)


def test_no_row_is_replaced_by_one_of_fewer_unless_asked(measured):
    folder, options = measured
    evaluate(folder, options, quiet())
    before = rewrite(folder, num_samples=50, seed=7)
    again, told = measured_again(folder, Options(lm_epochs=1))
    assert again == {}
    assert read(folder)["rows"] == before
    assert "SeqGAN: kept as measured before, on 50 sequences" in told
    assert "training a language model" not in told  # no row needs the judge
    assert measured_again(folder, Options(lm_epochs=0, num=20))[0] == dict.fromkeys(ALL, 20)
    assert [row["num_samples"] for row in read(folder)["rows"]] == [20, 20, 20, 20, 50]


def test_a_file_of_the_same_name_is_another(measured):
    folder, options = measured
    evaluate(folder, options, quiet())
    (pathlib.Path(options.samples)).write_text("9 9 9 9\n9 9 9 9\n")
    again, told = measured_again(folder, options)
    assert again == {"ids.txt": 2}
    assert "ids.txt: kept" not in told
    assert read(folder)["rows"][-1]["metrics"]["duplicates"] == 0.5


def test_a_model_that_has_learnt_on_is_another(measured):
    """Whatever the number of sequences that its row is of."""
    folder, options = measured
    evaluate(folder, options, quiet())
    rows = rewrite(folder, num_samples=50)
    steps = [row.get("step") for row in rows]
    assert steps[:2] == [None, None]
    assert None not in steps[2:4]
    content = read(folder)
    content["rows"][3]["step"] += 1
    (pathlib.Path(folder) / "evaluation.json").write_text(json.dumps(content))
    assert measured_again(folder, options)[0] == {"SeqGAN": 32, "ids.txt": 3}
    assert [row.get("step") for row in read(folder)["rows"]] == steps


def test_judges_of_other_epochs_are_others(measured):
    folder, options = measured
    options = options._replace(lm_epochs=1)
    evaluate(folder, options, quiet())
    assert measured_again(folder, options)[0] == {"ids.txt": 3}
    again, _ = measured_again(folder, options._replace(lm_epochs=2))
    assert again == {**dict.fromkeys(ALL, 32), "ids.txt": 3}


def test_rows_of_the_first_files_take_the_number_of_their_call(tmp_path):
    row = {"name": "MLE", "source": "generator", "metrics": {"bleu_2": 0.5}}
    content = {"version": 1, "num_samples": 10, "seed": 4, "rows": [row], "sweep": None}
    (tmp_path / "evaluation.json").write_text(json.dumps(content))
    file = EvaluationFile(str(tmp_path), "text", SIZES, 20, 0)
    assert file.earlier("MLE", "generator") == {**row, "num_samples": 10, "seed": 4}
    assert file.earlier("MLE", "pretrained") is None  # another model, once the run went on
    file.add(Row("mine", "file", {}, 3))
    assert [each["num_samples"] for each in read(tmp_path)["rows"]] == [10, 3]


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"version": 2, "rows": []}', '{"version": 1, "rows": [{"name": "a"}]}']
)
def test_a_damaged_evaluation_is_refused(tmp_path, text):
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(DataError, match=r"evaluation\.json: (damaged|version 2).*remove it"):
        EvaluationFile(str(tmp_path), "text", SIZES, 10, 0)


def test_what_makes_no_sense_is_refused(oracle_run, tmp_path):
    (tmp_path / "one.txt").write_text("1 2 3 4\n")
    (tmp_path / "words.txt").write_text("1 2 3 4\nnone of these\n")

    def refused(error, words, folder=oracle_run, **options):
        with pytest.raises(error, match=words):
            Evaluation(str(folder), Options(**options), quiet())

    refused(ConfigError, "no run there", folder=tmp_path)
    for num in (-1, 0, 1, 33):
        refused(ConfigError, rf"--num={num}: must be in 2\.\.32, the number of test", num=num)
    one = str(tmp_path / "one.txt")
    refused(
        ConfigError, r"one\.txt: 1 sequence, and 2 are wanted of each kind; give more$", samples=one
    )
    refused(ConfigError, r"one\.txt: 1 sequence, and 9 are wanted", samples=one, num=9)
    refused(DataError, r"no\.txt: no such file", samples=str(tmp_path / "no.txt"))
    refused(DataError, r"words\.txt:2: 'none' is no id", samples=str(tmp_path / "words.txt"))
