"""A run of thousands of rounds: does it grow, compile anew, slow down, or become unreadable?

  python tests/long_run.py --rounds=2000 --out=FOLDER

Trains configs/oracle.py:smoke, as a user would, in a process that is watched from outside: its
memory and CPU time, its compilations, and metrics.jsonl, which a reader follows while it is
written. The compiled programs, the run and what was seen (watched.json) are kept in FOLDER.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
WARM_UP = 0.05  # the share of the rounds before memory, speed and compilations are held against it
WINDOW = 0.1  # the share, at either end of the rest, over which they are averaged
MOST_GROWTH = 5.0  # %, of memory and of CPU time a round
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

# bin/train.py, with a line to a file for whatever JAX traces, lowers or compiles.
_WATCHED = """
import runpy, sys
import jax
log = open(sys.argv.pop(1), "w", buffering=1)
def note(event, seconds, **_):
    if event.startswith("/jax/core/compile/"):
        log.write(event.rpartition("/")[2] + "\\n")
jax.monitoring.register_event_duration_secs_listener(note)
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Reader:
    """Follows metrics.jsonl as another program would while the run writes it."""

    def __init__(self, path):
        self.path, self.lines, self.torn = path, [], 0
        self._position, self._rest = 0, ""

    def read(self):
        """Parses what is new; a line counts once its end is there."""
        if not self.path.exists():
            return
        with open(self.path, encoding="utf-8") as file:
            file.seek(self._position)
            self._rest += file.read()
            self._position = file.tell()
        *whole, self._rest = self._rest.split("\n")
        self.lines += map(json.loads, whole)
        self.torn += bool(self._rest)

    @property
    def rounds(self):
        return self.lines[-1].get("round", 0) if self.lines else 0


def process_now(number):
    """Resident bytes and CPU seconds of a process."""
    fields = pathlib.Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    return int(fields[21]) * _PAGE, (int(fields[11]) + int(fields[12])) / _TICKS


def watch(process, reader, compilations):
    """Samples of the process, ten a second, until it ends."""
    samples = []
    while process.poll() is None:
        reader.read()
        resident, cpu = process_now(process.pid)
        compiled = len(compilations.read_text().split()) if compilations.exists() else 0
        samples.append(
            {"round": reader.rounds, "resident": resident, "cpu": cpu, "compiled": compiled}
        )
        time.sleep(0.1)
    reader.read()
    return samples


def size_of(path):
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)


def between(samples, first, last):
    """Of these rounds: mean memory, CPU seconds a round, and times traced, lowered or compiled."""
    found = [sample for sample in samples if first <= sample["round"] <= last]
    rounds = found[-1]["round"] - found[0]["round"]
    return {
        "resident": sum(sample["resident"] for sample in found) / len(found),
        "cpu": (found[-1]["cpu"] - found[0]["cpu"]) / rounds,
        "compiled": found[-1]["compiled"] - found[0]["compiled"],
    }


def growth(before, after):
    return 100.0 * (after / before - 1.0)


def report(rounds, samples, reader, workdir):
    """Prints what was seen; returns the failures."""
    warm = int(WARM_UP * rounds)
    rounds -= 1  # in the last sample of the last round the run is already at its end
    step = max(1, int(WINDOW * (rounds - warm)))
    print("rounds, mean memory in MB, CPU seconds a round, traced or compiled")
    for first in range(warm, rounds - step + 1, step):
        seen = between(samples, first, first + step)
        print(
            f"{first:6d}-{first + step:<6d} {seen['resident'] / 1e6:8.1f} {seen['cpu']:8.3f} "
            f"{seen['compiled']:6d}"
        )
    early, late = between(samples, warm, warm + step), between(samples, rounds - step, rounds)
    memory, cpu = (growth(early[name], late[name]) for name in ("resident", "cpu"))
    compiled = between(samples, warm, rounds)["compiled"]
    written = (workdir / "metrics.jsonl").read_text().splitlines()
    print(f"memory {memory:+.1f} %, CPU time a round {cpu:+.1f} %, traced or compiled {compiled}")
    print(f"reader: {len(reader.lines)} lines of {len(written)}, {reader.torn} times part of one")
    for name in ("metrics.jsonl", "tensorboard", "checkpoints", "learning_curve.png"):
        print(f"{name}: {size_of(workdir / name):,} bytes")
    print(f"{json.loads(written[-1])['seconds']:.0f} s")
    return [
        words
        for failed, words in (
            (memory > MOST_GROWTH, f"memory grew by {memory:.1f} %"),
            (cpu > MOST_GROWTH, f"CPU time a round grew by {cpu:.1f} %"),
            (compiled > 0, f"{compiled} times traced or compiled after round {warm}"),
            (reader.lines != list(map(json.loads, written)), "the reader saw other lines"),
        )
        if failed
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder, made if missing")
    parser.add_argument("--eval_every", type=int, default=10)
    parser.add_argument("--checkpoint_seconds", type=float, default=5.0)
    given = parser.parse_args()
    given.out = given.out.resolve()
    given.out.mkdir(parents=True, exist_ok=True)
    workdir, compilations = given.out / "run", given.out / "compilations.txt"
    if workdir.exists():
        sys.exit(f"error: --out={given.out}: holds a run already; give another folder")
    command = [
        *(sys.executable, "-c", _WATCHED, str(compilations), str(ROOT / "bin" / "train.py")),
        *("--config=configs/oracle.py:smoke", f"--workdir={workdir}"),
        f"--config.schedule.rounds={given.rounds}",
        f"--config.evaluation.eval_every={given.eval_every}",
        f"--config.evaluation.checkpoint_seconds={given.checkpoint_seconds}",
    ]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(given.out / "compiled")}
    with open(given.out / "output.txt", "w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        reader = Reader(workdir / "metrics.jsonl")
        samples = watch(process, reader, compilations)
    if process.returncode:
        sys.exit(f"FAILED: exit code {process.returncode}; see {given.out}/output.txt")
    (given.out / "watched.json").write_text(json.dumps(samples))
    failures = report(given.rounds, samples, reader, workdir)
    sys.exit("\n".join(f"FAILED: {words}" for words in failures) or 0)


if __name__ == "__main__":
    main()
