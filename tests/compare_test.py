"""Methods side by side: the statistics by hand, the table of runs written by hand, the program."""

import dataclasses
import io
import json
import subprocess
import sys

import numpy as np
import pytest
import rich.console
from report_test import ROOT, line, made, write_run, written
from tiny_run import TINY

from seqgan_jax import hparams as hp
from seqgan_jax.checked import ConfigError
from seqgan_jax.data_hparams import TextDataHParams
from seqgan_jax.reporting import compare, groups, method_table, reading, statistics
from seqgan_jax.training import trained
from seqgan_jax.training.plan import BUDGET

pytestmark = pytest.mark.usefixtures("compilation_cache")
BUDGETS = dict(zip(BUDGET, (30, 40, 1500), strict=True))
LIMITS = {"nll_oracle_floor": 3.0, "nll_oracle_ceiling": 9.0}


def lines_of(start, end, nll_test=6.5):
    both = {"entropy": 5.0, "distinct": 0.9, "copied": 0.1, **LIMITS, **BUDGETS, "together": 3}
    return [
        line("g_pretrain", "epoch", 2, 1.0, nll_oracle=start, nll_test=6.0, **both),
        line("adversarial", "round", 2, 12.0, nll_oracle=end, nll_test=nll_test,
             training_seconds=8.0, **both),
    ]  # fmt: skip


def swept(*points):
    """An evaluation that holds the sweep of maximum likelihood, (temperature, test, oracle)."""
    listed = [{"temperature": t, "metrics": {"nll_test": x, "nll_oracle": y}} for t, x, y in points]
    sweep = {"x": "nll_test", "y": "nll_oracle", "real": {}, "num_samples": 100,
             "curves": [{"name": "MLE", "points": listed}]}  # fmt: skip
    return {"version": 1, "num_samples": 100, "seed": 0, "rows": [], "sweep": sweep}


CURVE = ((1.0, 6.0, 8.0), (0.8, 6.4, 7.0), (0.6, 6.8, 6.0))


def compared(tmp_path):
    """Three seeds each of two methods from one start; SeqGAN ends lower."""
    folders = []
    for method, ends in (("mle", (7.9, 8.0, 8.1)), ("seqgan", (6.0, 6.5, 7.0))):
        for seed, end in enumerate(ends):
            scores = swept(*CURVE) if method == "mle" else None
            folders.append(
                write_run(tmp_path / f"{method}-{seed}", seed=seed, method=method,
                          lines=lines_of(8.0, end, 6.5 if method == "seqgan" else 6.0),
                          scores=scores)
            )  # fmt: skip
    return folders


def test_interval_by_hand():
    # Standard deviation 1; the 97.5 % point of Student's t with 2 degrees is 4.3027.
    assert statistics.interval([1.0, 2.0, 3.0]) == pytest.approx(4.302653 / np.sqrt(3), rel=1e-5)
    assert statistics.interval([1.0]) is None


def test_welch_by_hand():
    # t = -3 / sqrt(1/3 + 1/3) = -3.674 with 4 degrees of freedom, for which the distribution is
    # F(t) = 1/2 + 3/8 * t / sqrt(1 + t^2/4) * (1 - t^2 / (12 (1 + t^2/4))).
    t = 3 / np.sqrt(2 / 3)
    root = np.sqrt(1 + t**2 / 4)
    below = 0.5 + 3 / 8 * t / root * (1 - t**2 / (12 * root**2))
    assert statistics.welch([1, 2, 3], [4, 5, 6]) == pytest.approx(2 * (1 - below), rel=1e-6)
    assert statistics.welch([1.0, 1.0], [1.0, 1.0]) is None
    assert statistics.welch([1.0], [1.0, 2.0]) is None
    assert statistics.welch([1.0, 1.0], [2.0, 2.0]) is None


def test_the_table_by_hand(tmp_path):
    comparison, budgets = method_table.make(made(*compared(tmp_path))[0])
    rows = {row[0]: dict(zip(comparison.head, row, strict=True)) for row in comparison.rows}
    assert [*rows] == [
        "real data (floor)", "start: MLE, epoch 2", "MLE, continued", "SeqGAN",
        "uniform tokens (ceiling)",
    ]  # fmt: skip
    assert rows["real data (floor)"]["NLL_oracle ↓"] == "3.000"
    assert rows["uniform tokens (ceiling)"]["NLL_oracle ↓"] == "9.000"
    # Of 6, 6.5, 7: standard deviation 0.5, so 4.3027 * 0.5 / sqrt(3).
    assert rows["SeqGAN"]["NLL_oracle ↓"] == "6.500 ± 1.242"
    assert rows["SeqGAN"]["NLL_test ↓"] == "6.500 ± 0.000"
    assert rows["MLE, continued"]["NLL_oracle ↓"] == "8.000 ± 0.248"
    assert rows["SeqGAN"]["p, NLL_oracle"] == "-"
    p = statistics.welch([7.9, 8.0, 8.1], [6.0, 6.5, 7.0])
    assert rows["MLE, continued"]["p, NLL_oracle"] == f"{p:.2g}"
    # At NLL_test 6.5 the curve between (6.4, 7) and (6.8, 6) has 6.75: 0.25 above 6.5 on average.
    assert rows["SeqGAN"]["swept MLE"] == "6.750 ± 0.000"
    assert rows["SeqGAN"]["below swept MLE ↑"] == "0.250 ± 1.242"
    assert rows["MLE, continued"]["below swept MLE ↑"] == "0.000 ± 0.248"
    assert budgets.rows == [
        [name, "30", "40", "1,500", "3", "4"] for name in ("MLE, continued", "SeqGAN")
    ]


@pytest.mark.parametrize(
    ("nll_test", "words"), [(5.9, "never so low"), (7.5, "outside the sweep"), (5.9995, "8.000")]
)
def test_what_no_temperature_reaches_is_said(tmp_path, nll_test, words):
    folders = [
        write_run(tmp_path / "mle-0", method="mle", lines=lines_of(8, 8), scores=swept(*CURVE)),
        write_run(tmp_path / "seqgan-0", lines=lines_of(8, 6, nll_test)),
    ]
    comparison = method_table.make(made(*folders)[0])[0]
    assert comparison.rows[-2][0] == "seqgan-0: SeqGAN"
    assert comparison.rows[-2][-4:-2] == [words, "2.000" if words == "8.000" else "-"]


def test_seeds_without_a_sweep_are_left_out_and_counted(tmp_path):
    folders = compared(tmp_path)
    (tmp_path / "mle-1" / "evaluation.json").unlink()
    comparison = method_table.make(made(*folders)[0])[0]
    assert comparison.rows[-2][-4:-2] == ["not swept (1 of 3)", "-"]


def test_a_start_of_fewer_seeds_is_one_of_more(tmp_path):
    folders = compared(tmp_path)[:-1]
    comparison = method_table.make(made(*folders)[0])[0]
    starts = [row for row in comparison.rows if row[0].startswith("start")]
    assert [row[1] for row in starts] == ["3"]
    assert starts[0][-4:-2] == ["", ""]


def test_a_sweep_of_another_pretraining_is_not_held_against_a_run(tmp_path):
    folders = [
        write_run(tmp_path / "mle-0", method="mle", lines=lines_of(8, 8), scores=swept(*CURVE),
                  training=hp.TrainingHParams(mle_learning_rate=0.5)),
        write_run(tmp_path / "seqgan-0", lines=lines_of(8, 6)),
    ]  # fmt: skip
    comparison = method_table.make(made(*folders)[0])[0]
    assert comparison.rows[-2][-4:-2] == ["not swept", "-"]


def test_one_method_is_no_comparison(tmp_path):
    folders = [write_run(tmp_path / f"seqgan-{seed}", seed=seed) for seed in range(2)]
    assert method_table.make(made(*folders)[0]) == []


def test_runs_without_budgets_are_compared_all_the_same(tmp_path):
    folders = [write_run(tmp_path / "mle-0", method="mle"), write_run(tmp_path / "seqgan-0")]
    grids = method_table.make(made(*folders)[0])
    assert [grid.title for grid in grids] == ["Methods"]


def test_the_report_holds_both_tables(tmp_path):
    written(compared(tmp_path), tmp_path / "out")
    markdown = (tmp_path / "out" / "report.md").read_text()
    page = (tmp_path / "out" / "report.html").read_text()
    for words in ("What each has spent", "6.500 ± 1.242", "Welch's t-test against SeqGAN"):
        assert words in markdown
        assert words.replace("'", "&#x27;") in page


# The comparison that trains.

METHODS = ["mle", "seqgan"]


def compare_run(out, **kept):
    console = rich.console.Console(file=io.StringIO(), width=200)
    compare.run(TINY, kept.get("methods", METHODS), 2, str(out), console)
    return console.file.getvalue()


def test_text_too_is_kept_with_every_seed(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("".join(f"a b {'c ' * (n % 4)}d{n % 3}\n" for n in range(60)))
    data = TextDataHParams(path=str(path), max_length=8, test_fraction=0.4)
    hparams = dataclasses.replace(TINY, data=data)
    console = rich.console.Console(file=io.StringIO(), width=200)
    compare.run(hparams, ["mle", "pg_bleu"], 2, str(tmp_path / "out"), console)
    path.unlink()  # each folder has what it needs
    for name in ("mle-0", "mle-1", "pg_bleu-0", "pg_bleu-1"):
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


def test_trains_sweeps_and_reports_and_does_nothing_twice(tmp_path):
    output = compare_run(tmp_path)
    assert "seqgan, 2 of 2" in output
    assert "What each has spent" in output
    names = {f"{method}-{seed}" for method in METHODS for seed in (0, 1)}
    assert {path.name for path in tmp_path.iterdir()} == names | {"report"}
    assert (tmp_path / "report" / "report.html").exists()
    curves = json.loads((tmp_path / "mle-1" / "evaluation.json").read_text())["sweep"]["curves"]
    assert [curve["name"] for curve in curves] == ["MLE"]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/metrics.jsonl")}
    again = compare_run(tmp_path)
    assert again.count("this run is finished") == 4
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/metrics.jsonl")}
    # Another method joins those that are there.
    more = compare_run(tmp_path, methods=[*METHODS, "maligan"])
    assert "maligan, 3 of 3" in more
    assert compare_run(tmp_path, methods=["mle"]).count("MaliGAN") > 0  # what is there is shown
    assert len(reading.read_runs([str(tmp_path / "maligan-0")])[0].lines) == 8
    # And another seed joins the others.
    console = rich.console.Console(file=io.StringIO(), width=200)
    compare.run(TINY, ["mle"], 3, str(tmp_path), console)
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
        (["mle"], 0, "--num_seeds=0: must be at least 1"),
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
