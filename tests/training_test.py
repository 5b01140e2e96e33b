"""The loop in one process: files, resume to the bit, refusal of other settings."""

import dataclasses
import itertools
import json

import jax
import numpy as np
import pytest
from tiny_run import TINY, StoppedError, metric_lines, run

from seqgan_jax import hparams as hp
from seqgan_jax import log_probs
from seqgan_jax.checked import ConfigError, from_mapping
from seqgan_jax.training import checkpoint, experiment, workdir, writers
from seqgan_jax.training.divergence import DivergedError
from seqgan_jax.training.loop import Trainer
from seqgan_jax.training.run_folder import RunFolder
from seqgan_jax.training.summary import summarise

pytestmark = pytest.mark.usefixtures("shared_programs")
NUM_CALLS = 3 + 2 + 3 * (1 + 2)
# For runs that nobody resumes: a checkpoint a call is most of what they cost.
SELDOM = dataclasses.replace(
    TINY, evaluation=dataclasses.replace(TINY.evaluation, checkpoint_seconds=1e6)
)


def final_state(folder):
    """Every array of the last checkpoint."""
    saved = checkpoint.Checkpoints(str(folder / "checkpoints"), workdir.identity(TINY))
    assert saved.newest(pytest.fail) == NUM_CALLS
    like = jax.eval_shape(experiment.build_models(TINY).method.init_state, jax.random.key(0))
    state, progress = saved.restore(like, NUM_CALLS)
    saved.close()
    assert progress.pending == {}
    return jax.device_get(dataclasses.replace(state, key=jax.random.key_data(state.key)))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    return folder, run(TINY, folder)


def test_writes_all_files(uninterrupted):
    folder, output = uninterrupted
    lines = writers.read_metrics(str(folder))
    assert [(line["phase"], line.get("epoch") or line.get("round") or line.get("d_step"))
            for line in lines] == [
        *[("g_pretrain", i) for i in (1, 2, 3)],
        *[("d_pretrain", i) for i in (1, 2)], *[("adversarial", i) for i in (1, 2, 3)],
    ]  # fmt: skip
    # Steps: 5 batches of 8 an epoch; 2 epochs of 4 batches a d-step; a round has 2 g-steps too.
    assert [line["step"] for line in lines] == [5, 10, 15, 23, 31, 49, 67, 85]
    evaluated = [i for i, line in enumerate(lines) if "nll_oracle" in line]
    assert evaluated == [0, 1, 2, 5, 6, 7]  # the first, the second and the last of each phase
    assert ["d_auc_heldout" in line for line in lines] == [i > 2 for i in range(8)]
    for i in evaluated:
        assert {"nll_test", "entropy", "distinct", "copied", "copied_heldout", "nll_oracle_floor",
                "nll_oracle_ceiling"} <= lines[i].keys()  # fmt: skip
        # The floor is the entropy rate of the oracle: no sampler can be judged above the ceiling
        # by more than noise, nor is the oracle itself worse than uniform tokens.
        assert lines[i]["nll_oracle_floor"] < lines[i]["nll_oracle_ceiling"]
    last = lines[-1]
    names = "d_accuracy_train d_accuracy_heldout d_auc_train d_auc_heldout reward_mean reward_std"
    assert set(names.split()) | {"g_grad_norm", "d_grad_norm", "tokens_per_second"} <= last.keys()
    assert all(a["seconds"] <= b["seconds"] for a, b in itertools.pairwise(lines))

    config = json.loads((folder / "config.json").read_text())
    assert from_mapping(hp.HParams, config) == TINY
    samples = [line.split() for line in (folder / "samples.txt").read_text().splitlines()]
    assert len(samples) == 7
    assert all(len(s) == 4 and all(0 <= int(t) < 12 for t in s) for s in samples)
    assert (folder / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert list((folder / "tensorboard").iterdir())
    summary = json.loads((folder / "summary.json").read_text())
    values = [line["nll_oracle"] for line in lines if "nll_oracle" in line]
    assert summary["metrics"]["nll_oracle"]["last"] == values[-1]
    assert summary["metrics"]["nll_oracle"]["best"] == min(values)
    assert summary["metrics"]["distinct"]["best"] == max(
        line["distinct"] for line in lines if "distinct" in line
    )
    assert summary["seconds"].keys() == {"g_pretrain", "d_pretrain", "adversarial"}
    assert sum(summary["seconds"].values()) == pytest.approx(lines[-1]["seconds"])
    assert "left" in output
    assert "floor" in output
    assert "warning" not in output


def test_limits_are_those_of_the_oracle(uninterrupted):
    """Uniform tokens' NLL, computed here from the oracle's own conditional distributions."""
    folder, _ = uninterrupted
    oracle = experiment.build_oracle(TINY.data)
    # Exact over all 12^4 sequences would be 20,736 rows: small enough.
    grid = np.stack(np.meshgrid(*[np.arange(12)] * 4, indexing="ij"), -1).reshape(-1, 4)
    exact = -np.asarray(log_probs(oracle.language_model, oracle.params, grid.astype(np.int32)))
    line = writers.read_metrics(str(folder))[0]
    per_sequence = exact.mean(axis=1)
    # 32 samples: five standard errors.
    tolerance = 5 * per_sequence.std() / np.sqrt(32)
    assert line["nll_oracle_ceiling"] == pytest.approx(per_sequence.mean(), abs=tolerance)
    probability = np.exp(-exact.sum(axis=1))
    assert probability.sum() == pytest.approx(1.0, abs=1e-4)
    entropy = (probability * per_sequence).sum()
    spread = np.sqrt((probability * (per_sequence - entropy) ** 2).sum())
    assert line["nll_oracle_floor"] == pytest.approx(entropy, abs=5 * spread / np.sqrt(32))


@pytest.mark.parametrize("stops", [[0], [2, 2, 3], [6, 1], [NUM_CALLS - 1]])
def test_resumes_to_the_bit(uninterrupted, tmp_path, monkeypatch, stops):
    """Killed at calls of every phase, in the middle of a round too, and started again."""
    folder, _ = uninterrupted
    monkeypatch.setattr(RunFolder, "draw_curve", lambda self: None)  # half a second each
    for stop in stops:
        with pytest.raises(StoppedError):
            run(TINY, tmp_path, stop, monkeypatch)
    output = run(TINY, tmp_path)
    assert ("resuming" in output) == (sum(stops) > 0)
    jax.tree.map(np.testing.assert_array_equal, final_state(tmp_path), final_state(folder))
    assert metric_lines(tmp_path) == metric_lines(folder)
    assert (tmp_path / "samples.txt").read_text() == (folder / "samples.txt").read_text()


def test_lines_of_undone_work_are_dropped(uninterrupted, tmp_path, monkeypatch):
    """A kill between a line and the next checkpoint leaves the line once, not twice."""
    with pytest.raises(StoppedError):
        run(SELDOM, tmp_path, 9, monkeypatch)
    assert len(metric_lines(tmp_path)) > 1
    run(SELDOM, tmp_path)
    assert metric_lines(tmp_path) == metric_lines(uninterrupted[0])


def test_finished_run_says_so(uninterrupted):
    folder, _ = uninterrupted
    before = {path: path.stat().st_mtime_ns for path in folder.glob("[!.]*") if path.is_file()}
    assert "finished" in run(TINY, folder)
    after = {path: path.stat().st_mtime_ns for path in folder.glob("[!.]*") if path.is_file()}
    assert after == before


def test_killed_while_finishing(uninterrupted, tmp_path, monkeypatch):
    """All calls are done but not the files after them: the next start writes the files."""
    folder, _ = uninterrupted
    monkeypatch.setattr(Trainer, "_finish", lambda self: (_ for _ in ()).throw(StoppedError))
    with pytest.raises(StoppedError):
        run(SELDOM, tmp_path)
    monkeypatch.undo()
    run(SELDOM, tmp_path)
    assert (tmp_path / "samples.txt").read_text() == (folder / "samples.txt").read_text()
    assert (tmp_path / "summary.json").exists()


def test_other_config_is_refused(uninterrupted):
    folder, _ = uninterrupted
    other = dataclasses.replace(TINY, seed=1, model=dataclasses.replace(TINY.model, hidden_dim=6))
    with pytest.raises(ConfigError, match=r"(?s)model.hidden_dim: 5 != 6.*seed: 0 != 1"):
        run(other, folder)


def test_damaged_config_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json: .*damaged"):
        workdir.claim(str(tmp_path), TINY)


def test_seeds_differ_but_not_their_data(uninterrupted, tmp_path):
    folder, _ = uninterrupted
    run(dataclasses.replace(SELDOM, seed=1), tmp_path)
    one, other = metric_lines(folder), metric_lines(tmp_path)
    assert one[-1]["nll_oracle"] != other[-1]["nll_oracle"]
    for name in ("nll_oracle_floor", "nll_oracle_ceiling", "copied_heldout"):
        assert one[-1][name] == other[-1][name]


@pytest.mark.parametrize("method", ["constant_reward", "random_reward"])
def test_controls_run_without_a_discriminator(tmp_path, method):
    run(dataclasses.replace(SELDOM, method=method), tmp_path)
    lines = metric_lines(tmp_path)
    assert not any(name.startswith("d_") for line in lines for name in line)
    last = lines[-1]
    if method == "constant_reward":
        assert (last["reward_mean"], last["reward_std"]) == (1.0, 0.0)
    else:
        assert last["reward_mean"] == pytest.approx(0.5, abs=0.5)
        assert last["reward_std"] > 0


def test_phases_can_be_left_out(tmp_path):
    schedule = dataclasses.replace(
        TINY.schedule, g_pretrain_epochs=0, d_pretrain_steps=0, rounds=1, d_steps=0
    )
    run(dataclasses.replace(SELDOM, schedule=schedule), tmp_path)
    assert [line["phase"] for line in metric_lines(tmp_path)] == ["adversarial"]


def test_not_a_number_stops_the_run_and_spoils_no_checkpoint(tmp_path):
    """With a learning rate that overflows float32, the error names phase, step and metric."""
    training = dataclasses.replace(TINY.training, mle_learning_rate=1e38, g_clip_norm=1e9)
    hparams = dataclasses.replace(TINY, training=training)
    for _ in range(2):  # the same again after resuming
        with pytest.raises(DivergedError, match=r"g_pretrain epoch \d, step \d+: .*mle_loss.* is"):
            run(hparams, tmp_path)
    assert all(np.isfinite(line.get("mle_loss", 0.0)) for line in metric_lines(tmp_path))


def test_summary_keeps_different_quantities_apart():
    lines = [
        {"step": 1, "phase": "g_pretrain", "epoch": 1, "seconds": 2.0, "mle_loss": 5.0,
         "nll_test": 6.0, "tokens_per_second": 50.0},
        {"step": 2, "phase": "adversarial", "round": 1, "seconds": 5.0, "g_loss": 900.0,
         "nll_test": 5.5, "distinct": 0.5, "tokens_per_second": 7.0},
        {"step": 3, "phase": "adversarial", "round": 2, "seconds": 9.0, "g_loss": 950.0,
         "nll_test": 5.7, "distinct": 0.4, "self_bleu_4": 0.3, "tokens_per_second": 8.0},
    ]  # fmt: skip
    second = {"phase": "adversarial", "round": 1}
    assert summarise(lines) == {
        "metrics": {
            "mle_loss": {"best": 5.0, "best_at": {"phase": "g_pretrain", "epoch": 1}, "last": 5.0},
            "nll_test": {"best": 5.5, "best_at": second, "last": 5.7},
            "g_loss": {"best": 900.0, "best_at": second, "last": 950.0},
            "distinct": {"best": 0.5, "best_at": second, "last": 0.4},
            "self_bleu_4": {"last": 0.3},
        },
        "seconds": {"g_pretrain": 2.0, "adversarial": 7.0},
        "total_seconds": 9.0,
        "tokens_per_second": {"g_pretrain": 50.0, "adversarial": 8.0},
    }
