"""Runs on files, as a user runs them: train, resume, sample with a prefix, refusals."""

import dataclasses
import io
import itertools
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import rich.console

from seqgan_jax import hparams as hp
from seqgan_jax.checked import ConfigError, DataError
from seqgan_jax.data_hparams import MusicDataHParams, TextDataHParams
from seqgan_jax.training import outputs, trained
from seqgan_jax.training.loop import Trainer

CLOCKS = {"seconds", "training_seconds", "tokens_per_second"}


def settings(data):
    return hp.HParams(
        data=data,
        model=hp.ModelHParams(embed_dim=6, hidden_dim=8),
        discriminator=hp.DiscriminatorHParams(kind="density", embed_dim=6, hidden_dim=8),
        training=hp.TrainingHParams(
            num_rollouts=2, reward="likelihood_ratio", reward_entropy=0.8, d_l2=0.0,
            baseline="prefix", reward_per_token=True, mle_learning_rate=0.05,
        ),
        schedule=hp.ScheduleHParams(
            batch_size=8, g_pretrain_epochs=6, d_pretrain_steps=1, rounds=1, d_steps=1, d_epochs=1,
            d_samples=500, d_batch_size=16,
        ),
        evaluation=hp.EvaluationHParams(eval_every=6, eval_samples=40, num_written=9),
    )  # fmt: skip


def run(hparams, folder):
    output = io.StringIO()
    Trainer(hparams, str(folder), rich.console.Console(file=output, width=250)).run()
    return output.getvalue()


LETTERS = "abcde"
LINES = [
    " ".join(words)
    for some in ((LETTERS,), (LETTERS, LETTERS), ("ab", "cde", LETTERS))
    for words in itertools.product(*some)
]


@pytest.fixture(scope="module")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("lines") / "lines.txt"
    path.write_text("\n".join(LINES) + "\n\na b c d e a b\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def text_settings(text_file):
    return settings(
        TextDataHParams(path=str(text_file), level="whitespace", max_length=5, test_fraction=0.2)
    )


@pytest.fixture(scope="module")
def text_run(text_settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "text"
    return folder, run(text_settings, folder)


def test_a_run_on_text_tells_of_its_data_and_leaves_readable_samples(text_run):
    folder, told = text_run
    assert "48 sequences to learn from, 12 held out, 8 tokens, 4 positions" in told
    assert "1 of 62 lines of the file without a token" in told
    assert "1 of 62 lines of the file of more than max_length=5 tokens: dropped" in told
    assert "schedule.d_samples lowered from 500 to 48" in told
    assert "real data" in told
    lines = (folder / "samples.txt").read_text(encoding="utf-8").splitlines()
    assert "<pad>" not in " ".join(lines)
    assert len(lines) == 9
    assert {word for line in lines for word in line.split()} <= set("abcde") | {"<unk>", "<pad>"}
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    last = metrics[-1]
    assert {f"{b}_{n}" for b in ("bleu", "self_bleu") for n in (2, 3, 4, 5)} <= last.keys()
    assert {"bleu_4_real", "self_bleu_4_real", "mean_length", "nll_test"} <= last.keys()
    assert "nll_oracle" not in last
    # Four sentences, each of probability 1/4: ln 4 nats in 3 tokens, the end among them; learnt.
    pretrained = metrics[5]
    assert pretrained["nll_test"] < 1.6  # the lines have 1.2 nats a token, uniform tokens 2.1
    assert (folder / "pretrained").is_dir()
    assert (folder / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    summary = json.loads((folder / "summary.json").read_text())
    bleus = [line["bleu_4"] for line in metrics if "bleu_4" in line]
    assert summary["metrics"]["bleu_4"]["best"] == max(bleus)


def test_settings_kept_are_those_given_not_those_lowered(text_run, text_settings):
    config = json.loads((text_run[0] / "config.json").read_text())
    assert config["schedule"]["d_samples"] == 500
    assert "finished" in run(text_settings, text_run[0])


def test_a_prefix_is_continued(text_run):
    loaded = trained.read(str(text_run[0]))
    drawn = trained.draw(loaded, number=30, prefix="d e")
    lines = outputs.decoded(drawn, loaded.outline.codec)
    assert all(line.startswith("d e") for line in lines)
    assert (drawn.mask.sum(axis=1) > 2).all()  # a word or the end follows
    for prefix, words in (("a z", "lacks 'z'"), ("a a a a a", "5 tokens"), ("  ", "0 tokens")):
        with pytest.raises(ConfigError, match=words):
            trained.draw(loaded, number=1, prefix=prefix)


def test_mle_and_seqgan_are_both_kept(text_run):
    folder = str(text_run[0])
    assert trained.has_pretrained(folder)
    before, after = (trained.read(folder, pretrained) for pretrained in (True, False))
    assert int(before.state.step) == 6 * 6  # epochs of 48 // 8 batches
    assert int(after.state.step) > int(before.state.step)


def test_a_run_needs_its_source_only_once(text_run, text_settings, tmp_path, text_file):
    folder = tmp_path / "moved"
    shutil.copytree(text_run[0], folder)
    text = text_file.read_bytes()
    text_file.unlink()
    try:
        assert "finished" in run(text_settings, folder)
        assert trained.draw(trained.read(str(folder)), number=2).tokens.shape == (2, 4)
        text_file.write_bytes(text.replace(b"a b c", b"a b d"))
        with pytest.raises(DataError, match=r"changed since the run in .* began"):
            run(text_settings, folder)
    finally:
        text_file.write_bytes(text)
    (folder / "data.npz").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"data\.npz: damaged"):
        trained.read(str(folder))


def test_bad_data_leaves_no_folder(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(DataError, match=r"nothing\.txt: no such file"):
        run(settings(TextDataHParams(path=str(tmp_path / "nothing.txt"))), folder)
    with pytest.raises(DataError, match=r"--config\.data\.path=FILE"):
        run(settings(TextDataHParams()), folder)
    assert not folder.exists()


def test_what_a_refused_start_read_is_not_taken_for_another_file(tmp_path, text_file):
    """Read, then refused for its settings: no run has begun, so nothing kept there counts."""
    folder = tmp_path / "run"
    data = TextDataHParams(path=str(text_file), level="whitespace", max_length=5)
    wide = hp.DiscriminatorHParams(filters=((9, 2),))
    refused = dataclasses.replace(settings(data), discriminator=wide, training=hp.TrainingHParams())
    with pytest.raises(ConfigError, match="filters"):
        run(refused, folder)
    with pytest.raises(DataError, match=r"typo\.txt: no such file"):
        run(settings(TextDataHParams(path=str(tmp_path / "typo.txt"))), folder)


def test_poems_are_printed_on_four_lines(tmp_path):
    rng = np.random.default_rng(0)
    poems = ["".join(rng.choice(list("春江花月夜山水"), 20)) for _ in range(40)]
    comma, stop = "\uff0c", "\u3002"  # the marks of real poems
    marked = [f"{p[:5]}{comma}{p[5:10]}{stop}{p[10:15]}{comma}{p[15:]}{stop}" for p in poems]
    path = tmp_path / "poems.txt"
    path.write_text("\n".join(" ".join(poem) for poem in marked), encoding="utf-8")
    data = TextDataHParams(
        path=str(path), level="character", drop_punctuation=True, drop_spaces=True, min_length=20,
        max_length=20, tokens_per_line=5,
    )  # fmt: skip
    run(settings(data), tmp_path / "run")
    loaded = trained.read(str(tmp_path / "run"))
    assert loaded.outline.codec.end_token is None
    drawn = trained.draw(loaded, number=2, prefix="春江花")
    stanzas = outputs.laid_out(drawn, loaded.outline.codec).split("\n\n")
    assert len(stanzas) == 2
    assert all(stanza.startswith("春江花") for stanza in stanzas)
    assert [len(line) for line in stanzas[0].splitlines()] == [5, 5, 5, 5]
    lines = (tmp_path / "run" / "samples.txt").read_text(encoding="utf-8").splitlines()
    assert {len(line) for line in lines} == {20}


def test_music_is_written_to_be_played_and_seen(tmp_path):
    midi = pytest.importorskip("seqgan_jax.data.midi")
    rng = np.random.default_rng(0)
    (tmp_path / "tunes").mkdir()
    for number in range(12):
        melody = rng.integers(40, 50, 20)
        midi.write_midi(str(tmp_path / "tunes" / f"{number}.mid"), melody, 0.4)
    data = MusicDataHParams(path=str(tmp_path / "tunes"), length=8, stride=4, test_fraction=0.2)
    run(settings(data), tmp_path / "run")
    names = sorted(os.listdir(tmp_path / "run" / "music"))
    assert names == ["piano_roll.png", *(f"sample-{n}.mid" for n in range(1, 9))]
    loaded = trained.read(str(tmp_path / "run"))
    first = (tmp_path / "run" / "samples.txt").read_text().splitlines()[0]
    tokens = np.array(loaded.outline.codec.encode(first))
    written = pathlib.Path(tmp_path / "run" / "music" / "sample-1.mid").read_bytes()
    played = midi.read_melody(written, "sample-1.mid", 0.4)
    sounding = np.flatnonzero(tokens)
    np.testing.assert_array_equal(played, tokens[sounding[0] : sounding[-1] + 1])
    drawn = trained.draw(loaded, number=3, prefix="C4 62 -")
    assert drawn.tokens[:, :3].tolist() == [[40, 42, 0]] * 3
