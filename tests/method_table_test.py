"""The tables and the picture of methods side by side, by hand, of runs written by hand."""

import numpy as np
import pytest
from report_test import line, made, write_run, written

from seqgan_jax import hparams as hp
from seqgan_jax.reporting import courses, method_table, statistics
from seqgan_jax.training.plan import BUDGET

BUDGETS = dict(zip(BUDGET, (30, 40, 1500, 9000), strict=True))
LIMITS = {"nll_oracle_floor": 3.0, "nll_oracle_ceiling": 9.0}


def lines_of(start, end, nll_test=6.5, **judged):
    both = {"entropy": 5.0, "distinct": 0.9, "copied": 0.1, **LIMITS, **BUDGETS, "together": 3}
    return [
        line("g_pretrain", "epoch", 2, 1.0, nll_oracle=start, nll_test=6.0, **both),
        line("adversarial", "round", 2, 12.0, nll_oracle=end, nll_test=nll_test,
             training_seconds=8.0, **judged, **both),
    ]  # fmt: skip


def swept(*points):
    """An evaluation that holds the sweep of maximum likelihood, (temperature, test, oracle).

    Its entropy is 2 below its NLL_oracle.
    """
    listed = [
        {"temperature": t, "metrics": {"nll_test": x, "nll_oracle": y, "entropy": y - 2}}
        for t, x, y in points
    ]
    sweep = {"x": "nll_test", "y": "nll_oracle", "real": {"nll_oracle": 3.0}, "num_samples": 100,
             "curves": [{"name": "MLE", "points": listed}]}  # fmt: skip
    return {"version": 1, "num_samples": 100, "seed": 0, "rows": [], "sweep": sweep}


CURVE = ((1.0, 6.0, 8.0), (0.8, 6.4, 7.0), (0.7, 6.5, 6.75), (0.6, 6.8, 6.0))


def compared(tmp_path):
    """Three seeds each of two methods from one start; SeqGAN ends lower."""
    folders = []
    for method, ends in (("mle", (7.9, 8.0, 8.1)), ("seqgan", (6.0, 6.5, 7.0))):
        for seed, end in enumerate(ends):
            scores = swept(*CURVE) if method == "mle" else None
            folders.append(
                write_run(tmp_path / f"{method}-{seed}", seed=seed, method=method,
                          lines=lines_of(8.0, end, 6.5, d_auc_heldout=0.7) if method == "seqgan"
                          else lines_of(8.0, end, 6.0),
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


def grids(folders):
    """The grids of a part, by their titles; rows as dicts, by their first column."""
    return {
        grid.title: [dict(zip(grid.head, row, strict=True)) for row in grid.rows]
        for grid in method_table.make(made(*folders)[0])
    }


AGAINST = "Against maximum likelihood at another temperature"


def test_the_table_by_hand(tmp_path):
    found = grids(compared(tmp_path))
    assert [*found] == ["Methods", AGAINST, "What each has spent"]
    rows = {row[""]: row for row in found["Methods"]}
    assert [*rows] == [
        "real data (floor)", "start: MLE, epoch 2", "MLE, continued", "SeqGAN",
        "uniform tokens (ceiling)",
    ]  # fmt: skip
    assert rows["real data (floor)"]["NLL_oracle ↓"] == "3.000"
    assert rows["uniform tokens (ceiling)"]["NLL_oracle ↓"] == "9.000"
    # Of 6, 6.5, 7: standard deviation 0.5, so 4.3027 * 0.5 / sqrt(3).
    assert rows["SeqGAN"]["NLL_oracle ↓"] == "6.500 ± 1.242"
    assert rows["SeqGAN"]["NLL_test ↓"] == "6.500 ± 0.000"
    assert rows["SeqGAN"]["KL(G || oracle) ↓"] == "1.500 ± 1.242"  # entropy 5
    assert rows["SeqGAN"]["D's AUC"] == "0.700 ± 0.000"
    assert rows["MLE, continued"]["D's AUC"] == "-"
    assert rows["MLE, continued"]["NLL_oracle ↓"] == "8.000 ± 0.248"
    assert rows["SeqGAN"]["p, NLL_oracle"] == "-"
    p = statistics.welch([7.9, 8.0, 8.1], [6.0, 6.5, 7.0])
    assert rows["MLE, continued"]["p, NLL_oracle"] == f"{p:.2g}"
    assert [[*row.values()] for row in found["What each has spent"]] == [
        [name, "30", "40", "1,500", "9,000", "3", "4"] for name in ("MLE, continued", "SeqGAN")
    ]


def test_against_swept_maximum_likelihood_by_hand(tmp_path):
    mle, seqgan = grids(compared(tmp_path))[AGAINST]
    assert (seqgan[""], seqgan["round"]) == ("SeqGAN", "2")
    # From 8 to 6, 6.5, 7; and from 6 to 6.5.
    assert seqgan["NLL_oracle, from start ↓"] == "-1.500 ± 1.242"
    assert seqgan["NLL_test, from start ↓"] == "+0.500 ± 0.000"
    # The curve has 6.75 at NLL_test 6.5, of which 6.5 lies 0.25 below on average.
    assert seqgan["swept MLE"] == "6.750 ± 0.000"
    assert seqgan["below swept MLE ↑"] == "+0.250 ± 1.242"
    # Its KL is 2 there, and SeqGAN's 1, 1.5 and 2.
    assert seqgan["KL below swept MLE ↑"] == "+0.500 ± 1.242"
    assert mle["below swept MLE ↑"] == "+0.000 ± 0.248"


def test_between_temperatures_no_chord_flatters_a_method(tmp_path):
    """NLL_test = 6 + x^2 and NLL_oracle = 8 - 2 x, x = log(1 / T): chords lie above the curve."""
    curve = [(t, 6 + np.log(1 / t) ** 2, 8 - 2 * np.log(1 / t)) for t in (1.0, 0.8, 0.6, 0.4, 0.2)]
    x = np.log(1 / 0.5)  # at a temperature that was not tried
    folders = [
        write_run(tmp_path / "mle-0", method="mle", lines=lines_of(8, 8), scores=swept(*curve)),
        write_run(tmp_path / "seqgan-0", lines=lines_of(8, 6, 6 + x**2)),
    ]
    found = float(grids(folders)[AGAINST][-1]["swept MLE"])
    chord = np.interp(x**2, [test - 6 for _, test, _ in curve], [y for *_, y in curve])
    assert found == pytest.approx(8 - 2 * x, abs=0.01)
    assert chord > 8 - 2 * x + 0.02


def test_the_round_that_lies_lowest_has_a_row_of_its_own(tmp_path):
    both = {"entropy": 5.0, **LIMITS}
    folders = []
    for seed in range(2):
        # Round 1 is 0.2 above the curve, round 2 by 0.5 + seed below it, round 3 by 0.1.
        rounds = [(6.4, 7.2), (6.8, 5.5 - seed), (6.4, 6.9)]
        lines = [line("g_pretrain", "epoch", 2, 1.0, nll_oracle=8, nll_test=6.0, **both)] + [
            line("adversarial", "round", n, n + 1.0, nll_oracle=y, nll_test=x, **both)
            for n, (x, y) in enumerate(rounds, 1)
        ]
        folders += [
            write_run(tmp_path / f"{method}-{seed}", seed=seed, method=method, lines=lines,
                      scores=swept(*CURVE))
            for method in ("mle", "seqgan")
        ]  # fmt: skip
    last, best = grids(folders)[AGAINST][2:]
    assert (last["round"], last["below swept MLE ↑"][:6]) == ("3", "+0.100")
    assert (best["round"], best["below swept MLE ↑"][:6]) == ("2", "+1.000")


@pytest.mark.parametrize(
    ("nll_test", "words"), [(5.9, "never so low"), (7.5, "outside the sweep"), (5.9995, "8.000")]
)
def test_what_no_temperature_reaches_is_said(tmp_path, nll_test, words):
    folders = [
        write_run(tmp_path / "mle-0", method="mle", lines=lines_of(8, 8), scores=swept(*CURVE)),
        write_run(tmp_path / "seqgan-0", lines=lines_of(8, 6, nll_test)),
    ]
    row = grids(folders)[AGAINST][-1]
    assert row[""] == "seqgan-0: SeqGAN"
    assert row["swept MLE"] == words
    assert row["below swept MLE ↑"] == ("+2.000" if words == "8.000" else "-")


def test_seeds_without_a_sweep_are_left_out_and_counted(tmp_path):
    folders = compared(tmp_path)
    (tmp_path / "mle-1" / "evaluation.json").unlink()
    row = grids(folders)[AGAINST][-1]
    assert (row["swept MLE"], row["below swept MLE ↑"]) == ("not swept (1 of 3)", "-")


def test_a_start_of_fewer_seeds_is_one_of_more(tmp_path):
    rows = grids(compared(tmp_path)[:-1])["Methods"]
    assert [row["runs"] for row in rows if row[""].startswith("start")] == ["3"]


def test_a_sweep_of_another_pretraining_is_not_held_against_a_run(tmp_path):
    folders = [
        write_run(tmp_path / "mle-0", method="mle", lines=lines_of(8, 8), scores=swept(*CURVE),
                  training=hp.TrainingHParams(mle_learning_rate=0.5)),
        write_run(tmp_path / "seqgan-0", lines=lines_of(8, 6)),
    ]  # fmt: skip
    row = grids(folders)[AGAINST][-1]
    assert (row["swept MLE"], row["below swept MLE ↑"]) == ("not swept", "-")


def test_a_users_own_pretraining_is_not_called_maximum_likelihood(tmp_path):
    """Nor is its sweep held against others, however its curve is called."""
    own = lines_of(7, 7)
    own[0]["nll_test"] = 5.5
    folders = [
        write_run(tmp_path / "own-0", method="own.py", lines=own, scores=swept(*CURVE)),
        write_run(tmp_path / "seqgan-0", lines=lines_of(8, 6)),
    ]
    found = grids(folders)
    starts = [row[""] for row in found["Methods"] if row[""].startswith("start")]
    assert sorted(starts) == ["start: MLE, epoch 2", "start: own.py, pre-trained, epoch 2"]
    assert AGAINST not in found


def test_a_users_own_method_that_begins_as_ours_has_our_start(tmp_path):
    folders = [
        write_run(tmp_path / "own-0", method="own.py", lines=lines_of(8, 7)),
        write_run(tmp_path / "seqgan-0", lines=lines_of(8, 6)),
    ]
    starts = [row[""] for row in grids(folders)["Methods"] if row[""].startswith("start")]
    assert starts == ["start: MLE, epoch 2"]


def test_methods_are_drawn_from_their_start(tmp_path):
    part = made(*compared(tmp_path))[0]
    (picture,) = courses.picture(part)
    assert picture.name == "methods.png"
    assert picture.png.startswith(b"\x89PNG")
    assert "Dashed" in picture.caption
    for path in tmp_path.glob("mle-*"):
        (path / "evaluation.json").unlink()
    (unswept,) = courses.picture(made(*(str(p) for p in sorted(tmp_path.iterdir())))[0])
    assert "Dashed" not in unswept.caption
    assert courses.picture(made(*(str(p) for p in sorted(tmp_path.glob("mle-*"))))[0]) == []


def test_one_method_is_no_comparison(tmp_path):
    folders = [write_run(tmp_path / f"seqgan-{seed}", seed=seed) for seed in range(2)]
    assert method_table.make(made(*folders)[0]) == []


def test_runs_without_budgets_are_compared_all_the_same(tmp_path):
    folders = [write_run(tmp_path / "mle-0", method="mle"), write_run(tmp_path / "seqgan-0")]
    assert [*grids(folders)] == ["Methods"]


def test_the_report_holds_both_tables(tmp_path):
    written(compared(tmp_path), tmp_path / "out")
    markdown = (tmp_path / "out" / "report.md").read_text()
    page = (tmp_path / "out" / "report.html").read_text()
    for words in ("What each has spent", "6.500 ± 1.242", "Welch's t-test against SeqGAN"):
        assert words in markdown
        assert words.replace("'", "&#x27;") in page
