"""The programs on real text, poems and melodies: processes, flags, exit codes."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from seqgan_jax.data.midi import read_melody

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINES = 600  # of a published file
BRIEF = [
    "--config.schedule.g_pretrain_epochs=1", "--config.schedule.d_pretrain_steps=1",
    "--config.schedule.rounds=1", "--config.schedule.d_samples=64",
    "--config.evaluation.eval_samples=64", "--config.evaluation.num_written=20",
]  # fmt: skip


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """One compilation cache for the module's processes, a new one."""
    return os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled"))}


def run(environment, program, *flags):
    return subprocess.run(
        [sys.executable, str(ROOT / "bin" / program), *flags], cwd=ROOT, env=environment,
        capture_output=True, text=True, encoding="utf-8", timeout=300, check=False,
    )  # fmt: skip


def published(data_folder, name):
    path = data_folder / name
    if not path.is_file():
        pytest.skip(f"nothing published at {path}; set SEQGAN_DATA to the folder that holds it")
    return path


def first_lines(source, folder):
    """The beginning of a published file, in a file of its own."""
    with source.open(encoding="utf-8") as file:
        lines = [next(file) for _ in range(LINES)]
    path = folder / source.name
    path.write_text("".join(lines), encoding="utf-8")
    return path


def trained(environment, folder, config, data, *flags):
    """A smoke run, and what it printed."""
    workdir = folder / "run"
    result = run(
        environment, "train.py", f"--config=configs/{config}.py:smoke", f"--workdir={workdir}",
        f"--config.data.path={data}", *BRIEF, *flags,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return workdir, result.stdout


@pytest.fixture(scope="module")
def text_run(data_folder, environment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    data = first_lines(published(data_folder, "text/image_coco.txt"), folder)
    return trained(environment, folder, "text", data, "--config.data.max_size=300")


@pytest.fixture(scope="module")
def poems_run(data_folder, environment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("poems")
    data = first_lines(published(data_folder, "poems/shi.txt"), folder)
    return trained(environment, folder, "poems", data, "--config.data.max_size=300")


@pytest.fixture(scope="module")
def music_run(data_folder, environment, tmp_path_factory):
    if importlib.util.find_spec("mido") is None:
        pytest.skip("music needs mido: pip install -e '.[music]'")
    data = published(data_folder, "music/nottingham_melody.tar.gz")
    folder = tmp_path_factory.mktemp("music")
    return trained(environment, folder, "music", data, "--config.data.stride=256")


def test_captions_are_learnt_from(text_run):
    workdir, output = text_run
    # A tenth of 600 lines is held out; all of them are short enough to be used.
    assert "540 sequences to learn from, 60 held out, 300 tokens" in output
    for words in ("real data", "after MLE, epoch 1", "after round 1"):
        assert words in output
    assert len((workdir / "samples.txt").read_text(encoding="utf-8").splitlines()) == 20
    last = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"bleu_4", "self_bleu_4", "nll_test", "entropy"} <= last.keys()


def test_lines_begin_with_the_prefix(text_run, environment):
    flags = [f"--workdir={text_run[0]}", "--num=3", "--prefix=a"]
    result = run(environment, "sample.py", *flags)
    assert result.returncode == 0, result.stderr
    lines = [line.split(" ") for line in result.stdout.splitlines()]
    assert [words[0] for words in lines] == ["a"] * 3


def test_a_prefix_of_no_known_word_is_refused(text_run, environment):
    result = run(environment, "sample.py", f"--workdir={text_run[0]}", "--prefix=zzzz")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: --prefix='zzzz': the vocabulary lacks 'zzzz'")
    assert len(result.stderr.splitlines()) == 1


def test_an_evaluation_and_a_report(text_run, environment, tmp_path):
    workdir, _ = text_run
    flags = [f"--workdir={workdir}", f"--samples={workdir}/samples.txt", "--lm_epochs=0"]
    # Of 20 lines written there are no 50: the program says so and asks for what there is.
    few = run(environment, "evaluate.py", *flags, "--num=50")
    assert (few.returncode, "--num=20" in few.stderr) == (2, True), few.stderr
    assert not (workdir / "evaluation.json").exists()

    samples = tmp_path / "lines.txt"
    samples.write_text((workdir / "samples.txt").read_text(encoding="utf-8") * 3, encoding="utf-8")
    result = run(environment, "evaluate.py", *flags, f"--samples={samples}", "--num=50")
    assert result.returncode == 0, result.stderr
    content = json.loads((workdir / "evaluation.json").read_text())
    assert (content["data"]["kind"], content["num_samples"]) == ("text", 50)
    metrics = {row["name"]: row["metrics"] for row in content["rows"]}
    names = ["real, held out", "real, training", "MLE", "SeqGAN", "lines.txt"]
    assert list(metrics) == names
    assert not any("lm_score" in row or "nll_oracle" in row for row in metrics.values())
    assert "copied_sequences" not in metrics["real, training"]  # of itself it says nothing
    # The first 50 of three times 20 lines: at least 30 stand there before.
    assert metrics["lines.txt"]["duplicates"] >= 0.6
    # One epoch over 540 captions teaches nobody to write them.
    assert metrics["SeqGAN"]["bleu_4"] < metrics["real, training"]["bleu_4"]

    out = tmp_path / "report"
    report = run(environment, "report.py", str(workdir), f"--out={out}")
    assert report.returncode == 0, report.stderr
    markdown, page = ((out / name).read_text() for name in ("report.md", "report.html"))
    for name in ("MLE", "SeqGAN", "lines.txt"):
        assert name in markdown
        assert name in page
    assert [path for path in out.iterdir() if path.suffix == ".png"]


def test_poems_are_printed_as_stanzas(poems_run, environment, tmp_path):
    workdir, output = poems_run
    assert "20 positions" in output
    out = tmp_path / "poems.txt"
    flags = [f"--workdir={workdir}", "--num=3"]
    printed = run(environment, "sample.py", *flags)
    assert printed.returncode == 0, printed.stderr
    stanzas = [stanza.splitlines() for stanza in printed.stdout.split("\n\n")]
    assert [[len(line) for line in stanza] for stanza in stanzas] == [[5] * 4] * 3
    written = run(environment, "sample.py", *flags, f"--out={out}")
    assert (written.stdout, out.read_text(encoding="utf-8")) == ("", printed.stdout)


def test_melodies_are_written_to_be_played_and_seen(music_run, environment, tmp_path):
    workdir, output = music_run
    assert "89 tokens, 32 positions" in output
    out = tmp_path / "melodies"
    flags = [f"--workdir={workdir}", "--num=3", "--prefix=C4 D4"]
    result = run(environment, "sample.py", *flags, f"--out={out}")
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    names = [f"sample-{number}.mid" for number in (1, 2, 3)]
    assert sorted(path.name for path in out.iterdir()) == ["piano_roll.png", *names]
    assert (out / "piano_roll.png").read_bytes().startswith(b"\x89PNG")
    printed = run(environment, "sample.py", *flags).stdout.splitlines()
    for name, line in zip(names, printed, strict=True):
        melody = read_melody((out / name).read_bytes(), name, 0.4)
        # C4 is the MIDI number 60, 39 above A0, which token 1 stands for.
        np.testing.assert_array_equal(melody[:2], [40, 42])
        assert len(melody) == len(line.rstrip(" -").split())  # rests at the end are not written


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (None, "lines.txt: no such file"),
        (b"one line\ncaf\xe9 au lait\nthird\n", "lines.txt:2: not UTF-8 (byte 0xe9"),
        (b"a line of words\n", "lines.txt: only one line can be used"),
    ],
    ids=["missing", "latin_1", "one_line"],
)
def test_bad_data_end_in_one_sentence(environment, tmp_path, contents, words):
    path = tmp_path / "lines.txt"
    if contents is not None:
        path.write_bytes(contents)
    before = sorted(tmp_path.rglob("*"))
    result = run(
        environment, "train.py", "--config=configs/text.py:smoke",
        f"--config.data.path={path}", f"--workdir={tmp_path / 'run'}",
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {tmp_path}/{words}")
    assert len(result.stderr.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before
