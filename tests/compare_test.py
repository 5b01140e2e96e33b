"""The comparison that trains: its runs, what they share, and what it refuses."""

import dataclasses
import io
import json
import subprocess
import sys

import pytest
import rich.console
import toy_target as toy
from method_table_test import lines_of
from report_test import ROOT, write_run
from tiny_run import TINY

from seqgan_jax import hparams as hp
from seqgan_jax.checked import ConfigError
from seqgan_jax.data_hparams import TextDataHParams
from seqgan_jax.methods.mle import pretrain_generator_step
from seqgan_jax.methods.registry import METHODS as METHODS_BY_NAME
from seqgan_jax.reporting import compare, groups, method_table, reading, table
from seqgan_jax.training import trained

pytestmark = pytest.mark.usefixtures("shared_programs")
TRAINING = hp.TrainingHParams(baseline="leave_one_out")
METHODS = ["mle", "seqgan"]
SHORT = dataclasses.replace(
    TINY,
    schedule=dataclasses.replace(
        TINY.schedule, g_pretrain_epochs=2, g_patience=2, d_pretrain_steps=1, rounds=1, g_steps=1,
        d_steps=1, d_epochs=1,
    ),
    evaluation=dataclasses.replace(TINY.evaluation, checkpoint_seconds=1e9),
)  # fmt: skip


@pytest.fixture
def few_temperatures(monkeypatch):
    monkeypatch.setattr(compare, "_TEMPERATURES", [1.0, 0.5])


def compare_run(out, methods=METHODS, number=2):
    console = rich.console.Console(file=io.StringIO(), width=400)
    compare.run(SHORT, methods, number, str(out), console)
    return console.file.getvalue()


def test_text_too_is_kept_with_every_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(compare.sweep, "run", lambda *_: None)
    path = tmp_path / "text.txt"
    path.write_text("".join(f"a b {'c ' * (n % 4)}d{n % 3}\n" for n in range(60)))
    data = TextDataHParams(path=str(path), max_length=8, test_fraction=0.4)
    hparams = dataclasses.replace(SHORT, data=data)
    console = rich.console.Console(file=io.StringIO(), width=200)
    compare.run(hparams, ["mle", "scheduled_sampling"], 2, str(tmp_path / "out"), console)
    path.unlink()  # each folder has what it needs
    for name in ("mle-0", "mle-1", "scheduled_sampling-0", "scheduled_sampling-1"):
        assert (
            trained.draw(trained.read(str(tmp_path / "out" / name)), number=3).tokens.shape[0] == 3
        )
    parts = groups.parts(reading.read_runs([str(tmp_path / "out" / f"mle-{i}") for i in (0, 1)]))
    assert [[group.name for group in part.groups] for part in parts] == [["mle"]]
    table = method_table.make(
        groups.parts(reading.read_runs([str(f) for f in (tmp_path / "out").glob("*-?")]))[0]
    )[0]
    assert table.head[2:4] == ["BLEU-4 ↑", "self-BLEU-4 ↓"]
    assert table.rows[0][0] == "real, training"
    assert 0.0 < float(table.rows[0][2]) <= 1.0


def test_trains_sweeps_and_reports_and_does_nothing_twice(tmp_path, few_temperatures, monkeypatch):
    output = compare_run(tmp_path)
    # SeqGAN pre-trains as maximum likelihood has done before it.
    start, other = (str(tmp_path / f"mle-{seed}") for seed in (0, 1))
    assert f"begins with the pre-training of {start}, {other}" in output
    assert "seqgan, 2 of 2" in output
    assert "What each has spent" in output
    names = {f"{method}-{seed}" for method in METHODS for seed in (0, 1)}
    assert {path.name for path in tmp_path.iterdir()} == names | {"report"}
    assert (tmp_path / "report" / "report.html").exists()
    curves = json.loads((tmp_path / "mle-1" / "evaluation.json").read_text())["sweep"]["curves"]
    assert [curve["name"] for curve in curves] == ["MLE"]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/metrics.jsonl")}
    # Both have been seen once.
    monkeypatch.setattr(compare.report, "write", lambda *_: None)
    monkeypatch.setattr(compare.jax, "clear_caches", lambda: None)
    again = compare_run(tmp_path)
    assert again.count("this run is finished") == 4
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/metrics.jsonl")}
    # Another method joins those that are there.
    more = compare_run(tmp_path, [*METHODS, "scheduled_sampling"])
    assert "scheduled_sampling, 3 of 3" in more
    assert more.count("begins with") == 0  # it pre-trains otherwise
    assert len(reading.read_runs([str(tmp_path / "scheduled_sampling-0")])[0].lines) == 3
    # And another seed joins the others; what is there is shown.
    assert "scheduled sampling" in compare_run(tmp_path, ["mle"], 3)
    assert json.loads((tmp_path / "mle-2" / "config.json").read_text())["seed"] == 2
    assert (
        before.items()
        <= {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/metrics.jsonl")}.items()
    )


@pytest.mark.parametrize(
    ("methods", "number", "message"),
    [
        ([], 1, "--methods=: name at least one"),
        (["mle", "mle"], 1, "two are called mle"),
        (["mle", "seqgam"], 1, "method='seqgam': did you mean seqgan"),
        (["mle"], 0, r"--num_seeds=0: must be in 1\.\.1000"),
    ],
)
def test_what_cannot_be_compared_is_named(tmp_path, methods, number, message):
    with pytest.raises(ConfigError, match=message):
        compare.entrants(TINY, methods, number, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_method_that_does_not_fit_is_refused_before_any_is_trained(tmp_path):
    training = dataclasses.replace(TINY.training, baseline="prefix")
    hparams = dataclasses.replace(TINY, training=training)
    with pytest.raises(ConfigError, match=r"reinforce.*prefix"):
        compare.entrants(hparams, ["mle", "reinforce"], 1, str(tmp_path / "out"))


def test_the_program_names_what_is_wrong(tmp_path):
    command = [sys.executable, "bin/compare.py", "--config=configs/oracle.py:compare",
               "--methods=mle,seqgam", f"--out={tmp_path / 'out'}"]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "seqgam" in done.stderr
    assert "Traceback" not in done.stderr


# Whose pre-training may be another's.


def test_what_pretrains_by_maximum_likelihood_is_called_so():
    """A start is shared by what it is called."""
    for name, make in METHODS_BY_NAME.items():
        step = make(toy.GENERATOR, toy.CNN, TRAINING, toy.real(64)).pretrain_generator_step
        is_mle = step.func is pretrain_generator_step
        assert (table.start_name(name) == table.MLE) == is_mle, name


def test_starts_are_those_of_other_methods_that_pretrain_alike(tmp_path):
    for method, seed in (("mle", 0), ("mle", 1), ("scheduled_sampling", 0), ("seqgan", 0)):
        folder = tmp_path / f"{method}-{seed}"
        write_run(folder, method=method, seed=seed, lines=lines_of(8, 7))
        (folder / "pretrained").mkdir()
    (tmp_path / "mle-1" / "pretrained").rmdir()
    settings = reading.read_runs([str(tmp_path / "mle-0")])[0].hparams

    def starts(method, *seeds):
        hparams = dataclasses.replace(settings, method=method, seed=seeds[0])
        folders = [str(tmp_path / f"{method}-{seed}") for seed in seeds]
        found = compare._starts(hparams, folders)
        return [folder.removeprefix(f"{tmp_path}/") for folder in found]

    assert starts("maligan", 0) == ["mle-0"]
    assert starts("mle", 0) == ["seqgan-0"]  # not itself
    assert starts("maligan", 0, 1) == []  # mle-1 has kept none
    assert starts("maligan", 1) == []
    assert starts("scheduled_sampling", 0) == []
    assert starts("own.py", 0) == []
