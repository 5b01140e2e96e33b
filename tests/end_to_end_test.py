"""The programs as a user runs them: processes, flags, exit codes, kill -9."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from identical import differences, metrics
from kill_often import kill_at, lines_in, saves, start, what_went_on

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Optimised as a user's; one compilation cache for the module's processes, a new one."""
    cache = str(tmp_path_factory.mktemp("compiled"))
    return os.environ | {
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
        "XLA_FLAGS": "",
        "JAX_COMPILATION_CACHE_DIR": cache,
    }


def command(program, *flags):
    return [sys.executable, str(ROOT / "bin" / program), *flags]


def run(environment, program, *flags):
    return subprocess.run(
        command(program, *flags), cwd=ROOT, env=environment, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip


def smoke(workdir):
    """The flags of a run with a checkpoint after every call."""
    flags = ["--config=configs/oracle.py:smoke", "--config.evaluation.checkpoint_seconds=0.0"]
    return [*flags, f"--workdir={workdir}"]


@pytest.fixture(scope="module")
def finished(environment, tmp_path_factory):
    """A smoke run by the README's program, and what it printed."""
    workdir = tmp_path_factory.mktemp("smoke") / "run"
    result = run(environment, "train.py", *smoke(workdir))
    assert result.returncode == 0, result.stderr
    return workdir, result.stdout


def test_smoke_run_tells_its_story(finished):
    workdir, output = finished
    for words in (
        *("floor", "ceiling", "g_pretrain epoch 1/4"),
        *("g_pretrain epoch 4/4", "d_pretrain d_step 2/2", "adversarial round 4/4"),
        *("after MLE, epoch 4", "after round 4"),
    ):
        assert words in output
    names = {path.name for path in workdir.iterdir()}
    assert names == {
        *(
            ".lock",
            ".saved",
            "config.json",
            "metrics.jsonl",
            "tensorboard",
            "checkpoints",
            "pretrained",
        ),
        *("samples.txt", "learning_curve.png", "summary.json"),
    }
    last = metrics(workdir)[-1]
    # Maximum likelihood learnt something: well below the untrained model's ln 200 = 5.30.
    assert last["nll_test"] < 5.1


def test_kill_9_and_the_same_command_again(finished, environment, tmp_path):
    """Killed as it writes a checkpoint, and among its rounds: the same run to the bit."""
    workdir, output = tmp_path / "run", tmp_path / "output.txt"
    words = command("train.py", *smoke(workdir))
    lines = len(metrics(finished[0]))
    for condition, during in (
        (lambda: saves(workdir), "g_pretrain, writing a checkpoint"),
        (lambda: lines_in(workdir) >= 7, "adversarial"),
    ):
        process = start(words, output, environment)
        assert kill_at(process, condition, 1, 0.0), output.read_text()
        assert what_went_on(workdir, output, lines).startswith(during)
    again = run(environment, "train.py", *smoke(workdir))
    assert again.returncode == 0, again.stderr
    assert "resuming after" in again.stdout
    assert differences(finished[0], workdir) == []


def test_signals_end_a_run_once_its_step_is_saved(finished, environment, tmp_path):
    """SIGTERM among the epochs, SIGINT among the rounds, which go on to the same run to the bit."""
    workdir, output = tmp_path / "run", tmp_path / "output.txt"
    words = command("train.py", *smoke(workdir))
    for signum, code, number in ((signal.SIGTERM, 143, 2), (signal.SIGINT, 130, 7)):
        process = start(words, output, environment)
        while lines_in(workdir) < number:
            assert process.poll() is None, output.read_text()
            time.sleep(0.01)
        process.send_signal(signum)
        asked = time.monotonic()
        assert process.wait(timeout=60) == code, output.read_text()
        assert time.monotonic() - asked < 30.0
        last = output.read_text().splitlines()[-1]
        assert f"{workdir}: stopped" in last
        assert "and saved; the same command goes on from there" in last
    again = run(environment, "train.py", *smoke(workdir))
    assert again.returncode == 0, again.stderr
    assert differences(finished[0], workdir) == []


def test_the_same_seed_gives_the_same_bits(finished, environment, tmp_path):
    """In other processes, which compile every program anew; a second signal has ended the first."""
    workdir, output = tmp_path / "run", tmp_path / "output.txt"
    own = environment | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled")}
    process = start(command("train.py", *smoke(workdir)), output, own)
    while ": adversarial, 4 rounds; the first one compiles" not in output.read_text():
        assert process.poll() is None, output.read_text()
        time.sleep(0.01)
    time.sleep(0.3)
    # It compiles for seconds now, which nothing can break off but the process's end.
    process.send_signal(signal.SIGTERM)
    time.sleep(1.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10.0) == 143, output.read_text()
    last = output.read_text().splitlines()[-1]
    assert last == "SIGTERM: again; the same command resumes from the newest checkpoint, if any"
    result = run(own, "train.py", *smoke(workdir))
    assert result.returncode == 0, result.stderr
    assert "resuming after" in result.stdout
    assert any((tmp_path / "compiled").iterdir())
    assert differences(finished[0], workdir) == []


def test_jax_debug_nans_ends_in_our_sentence(environment, tmp_path):
    """Of a learning rate that overflows, in the first epoch."""
    flags = [*smoke(tmp_path / "run"), "--jax_debug_nans", "--config.training.g_clip_norm=1e9"]
    quick = environment | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    result = run(quick, "train.py", *flags, "--config.training.mle_learning_rate=1e38")
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: g_pretrain epoch 1: invalid value (nan) encountered in ")
    assert f"the newest checkpoint in {tmp_path}/run, if any, is from before it" in last
    assert "Traceback" not in result.stderr


def test_again_says_finished(finished, environment):
    result = run(environment, "train.py", *smoke(finished[0]))
    assert result.returncode == 0
    assert "finished" in result.stdout


def test_an_evaluation(finished, environment, tmp_path):
    workdir, _ = finished
    flags = [f"--workdir={workdir}", "--num=50", "--lm_epochs=1"]
    result = run(environment, "evaluate.py", *flags, f"--samples={workdir}/samples.txt")
    assert result.returncode == 0, result.stderr
    content = json.loads((workdir / "evaluation.json").read_text())
    metrics = {row["name"]: row["metrics"] for row in content["rows"]}
    names = ["real, held out", "real, training", "MLE", "SeqGAN", "samples.txt"]
    assert list(metrics) == names
    for name in names:
        assert name in result.stdout
    assert f"{metrics['SeqGAN']['nll_test']:.3f}" in result.stdout
    # Maximum likelihood learnt something: below the untrained model's ln 200 = 5.30.
    assert metrics["MLE"]["nll_test"] < 5.1
    floor = metrics["real, held out"]["nll_oracle"]
    assert all(metrics[name]["nll_oracle"] > floor for name in ("MLE", "SeqGAN", "samples.txt"))
    for flag, words in (
        (f"--samples={tmp_path}/nothing.txt", "nothing.txt: no such file"),
        ("--num=1", "--num=1: must be in 2.."),
    ):
        wrong = run(environment, "evaluate.py", *flags, flag)
        assert (wrong.returncode, words in wrong.stderr) == (2, True), wrong.stderr


def test_a_sweep_over_temperatures(finished, environment, tmp_path):
    workdir, _ = finished
    flags = [f"--workdir={workdir}", "--sweep=temperature", "--temperatures=1,0.5"]
    flags += ["--mixture=0.5", f"--out={tmp_path}/out"]
    result = run(environment, "evaluate.py", *flags)
    assert result.returncode == 0, result.stderr
    assert "KL(G||oracle)" in result.stdout
    curves = json.loads((tmp_path / "out" / "sweep.json").read_text())["curves"]
    points = {curve["name"]: curve["points"] for curve in curves}
    assert list(points) == ["run MLE", "run SeqGAN", "mixture"]
    broad, sharp = points["run SeqGAN"]
    assert (broad["temperature"], sharp["temperature"]) == (1.0, 0.5)
    assert sharp["metrics"]["entropy"] < broad["metrics"]["entropy"]
    assert (tmp_path / "out" / "sweep.png").read_bytes().startswith(b"\x89PNG")
    sweep = json.loads((workdir / "evaluation.json").read_text())["sweep"]
    assert [curve["name"] for curve in sweep["curves"]] == ["MLE", "SeqGAN"]
    for flag, words in (
        ("--temperatures=1,cold", "--temperatures=cold: must be a number from 0.000001"),
        ("--mixture=-1", "--mixture=-1: must be a number from 0.000001"),
        (f"--workdir={tmp_path}/nothing", "no run there"),
        ("--sweep=heat", "--sweep=heat"),
    ):
        wrong = run(environment, "evaluate.py", *flags, flag)
        assert (wrong.returncode, words in wrong.stderr) == (2, True), wrong.stderr


def test_samples_are_drawn_and_reproducible(finished, environment, tmp_path):
    workdir, _ = finished
    flags = [f"--workdir={workdir}", "--num=5", "--temperature=0.8", "--top_k=50", "--top_p=0.9"]
    one = run(environment, "sample.py", *flags, "--seed=3")
    assert one.returncode == 0, one.stderr
    rows = [[int(token) for token in line.split()] for line in one.stdout.splitlines()]
    assert [len(row) for row in rows] == [8] * 5
    assert all(0 <= token < 200 for row in rows for token in row)
    out = tmp_path / "drawn.txt"
    same = run(environment, "sample.py", *flags, "--seed=3", f"--out={out}")
    assert (same.stdout, out.read_text()) == ("", one.stdout)
    other = run(environment, "sample.py", *flags, "--seed=4")
    assert other.stdout != one.stdout


BAD_FLAGS = {
    "train.py": [
        (["--config=configs/oracle.py:smoke", "--config.model.hiden_dim=64"], "hidden_dim"),
        (["--config=configs/oracle.py:smoke", "--config.model.hidden_dim=0"],
         "config.model.hidden_dim=0: must be at least 1; the nearest right value is 1"),
        (["--config=configs/oracle.py:smoke", "--config.model.hidden_dim=many"], "hidden_dim"),
        (["--config=configs/oracle.py:smoke", "--config.model.cell=lstn"], "did you mean lstm?"),
        (["--config=configs/oracle.py:smok"], "frontier, cnn, compare, paper and smoke"),
        (["--config=configs/orakel.py"], "configs/orakel.py"),
        (["--config=configs/oracle.py:smoke", "--config.data.oracle_path=no.pkl"], "no.pkl"),
        (["--config=configs/oracle.py:smoke", "--workdri=x"], "workdri"),
        (["--config=configs/oracle.py:smoke", "stray"], "stray"),
        (["--config=README.md"], "must be a Python file with get_config"),
        (["--config=configs"], "--config=configs: is no regular file"),
        ([], "--config is missing"),
    ],
    "sample.py": [
        (["--workdir={out}"], "no run there"),
        (["--workdir={run}", "--num=0"], "--num=0"),
        (["--workdir={run}", "--temperature=0"], "--temperature=0"),
        (["--workdir={run}", "--top_p=1.5"], "--top_p=1.5"),
        (["--workdir={run}", "--top_k=0"], "--top_k=0"),
        (["--workdir={run}", "--out={out}/no/such/file"], "--out="),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def refusals(finished, environment, tmp_path_factory):
    """(program, flags) -> status, output and errors; and the folder that none may write to."""
    out = tmp_path_factory.mktemp("refused") / "out"
    commands = {}
    for program, cases in BAD_FLAGS.items():
        for flags, _ in cases:
            given = [flag.format(out=out, run=finished[0]) for flag in flags]
            if program == "train.py":
                given.append(f"--workdir={out}")
            commands[program, *flags] = [program, *given]
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "programs.py"), str(ROOT)], env=environment,
        input=json.dumps(list(commands.values())), capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(zip(commands, json.loads(done.stdout), strict=True)), out


@pytest.mark.parametrize(
    ("program", "flags", "words"),
    [(program, *case) for program, cases in BAD_FLAGS.items() for case in cases],
)
def test_bad_flags_end_in_one_sentence(refusals, program, flags, words):
    results, out = refusals
    status, _, errors = results[program, *flags]
    assert status == 2
    assert errors.startswith("error: ")
    assert words in errors
    assert "Traceback" not in errors
    assert not out.exists()


def test_a_program_that_is_refused_exits_so(environment, tmp_path):
    """The process itself, once."""
    result = run(environment, "train.py", "--config=configs/orakel.py", f"--workdir={tmp_path}/run")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
