"""Kills runs at random moments, starts them again, and compares them with one that nobody killed.

  python tests/kill_often.py --kills=50 --seed=0 --out=FOLDER
  python tests/kill_often.py --kills=10 --variant=seeds --out=FOLDER   two seeds side by side
  python tests/kill_often.py --kills=10 --variant=text --out=FOLDER    of a text

Each trial is a folder in which bin/train.py is started and killed, with kill -9, once to three
times in a row, then run to its end. What was compared is in identical.py. The same command goes on
where it was stopped; FOLDER keeps trials.jsonl, and the folders of trials that differ.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

from absl import logging
from identical import UNFINISHED, differences

from seqgan_jax.training.progress import clock

ROOT = pathlib.Path(__file__).resolve().parents[1]
PHASES = ("g_pretrain", "d_pretrain", "adversarial")
VARIANTS = {
    "oracle": ["--config=configs/oracle.py:smoke"],
    "seeds": ["--config=configs/oracle.py:smoke", "--config.num_seeds=2"],
    "text": ["--config=configs/text.py:smoke", "--config.data.path={out}/text.txt"],
}


def command(variant, out, folder):
    flags = [flag.format(out=out) for flag in VARIANTS[variant]]
    return [
        *(sys.executable, str(ROOT / "bin" / "train.py"), *flags, f"--workdir={folder}"),
        "--config.evaluation.checkpoint_seconds=0.0",  # one after every call
    ]


def start(words, output, environment):
    """Starts a program in a process group of its own."""
    with open(output, "w", encoding="utf-8") as file:
        return subprocess.Popen(
            words, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip


def runs_of(folder):
    """The folder of each seed's run in that of a program, as far as they are there."""
    return sorted(folder.glob("seed-*")) or [folder]


def names_in(folder):
    try:
        return {entry.name for entry in os.scandir(folder)}
    except OSError:  # gone, or not there yet
        return set()


def checkpoint_folders(folder):
    return [run / name for run in runs_of(folder) for name in ("checkpoints", "pretrained")]


def saves(folder):
    """Whether a checkpoint is being written."""
    return any(map(UNFINISHED.search, set().union(*map(names_in, checkpoint_folders(folder)))))


def removes(folder):
    """Whether a checkpoint is being removed: less is in it than in another of the same run."""
    for each in checkpoint_folders(folder):
        inside = [names_in(each / name) for name in names_in(each) if name.isdigit()]
        if any(names < max(inside, key=len) for names in inside):
            return True
    return False


def file_of(folder):
    """The file of a run's own that is being written, or None."""
    unfinished = [name for run in runs_of(folder) for name in names_in(run)]
    return next(filter(UNFINISHED.search, unfinished), None)


def lines_in(folder):
    """Lines of metrics.jsonl that are there; of several seeds the first one's."""
    path = runs_of(folder)[0] / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def what_went_on(folder, output, total_lines):
    """Names what a killed run was doing, by what it left."""
    begun = re.findall(rf": ({'|'.join(PHASES)}), \d", output.read_text(encoding="utf-8"))
    name = begun[-1] if begun else "start-up"
    if lines_in(folder) == total_lines:
        name = "the end"
    if saves(folder):
        return f"{name}, writing a checkpoint"
    if removes(folder):
        return f"{name}, removing a checkpoint"
    return f"{name}, writing a file" if file_of(folder) else name


def moment(random_source, folder, total_lines, start_seconds):
    """Draws when to kill: a condition, which time that it comes true, and how long after it."""
    done = lines_in(folder)
    left = max(1, total_lines - done)
    wanted = random_source.randint(done, total_lines)
    kind = random_source.choices(
        ("start-up", "line", "save", "removal", "file"), (15, 30, 35, 10, 10)
    )[0]
    times, some = random_source.randint(1, left), random_source.uniform(0.0, 0.4)
    return {
        "start-up": (lambda: True, 1, random_source.uniform(0.0, start_seconds)),
        "line": (lambda: lines_in(folder) >= wanted, 1, some),
        "save": (lambda: saves(folder), times, some / 2.0),
        "removal": (lambda: removes(folder), times, 0.0),
        "file": (lambda: file_of(folder) is not None, random_source.randint(1, 3), 0.0),
    }[kind]


def kill_at(process, condition, times, seconds):
    """Kills a process group at a moment; returns whether it had not ended before."""
    before = False
    while process.poll() is None:
        now = condition()
        times -= now and not before
        before = now
        if now and times <= 0:
            # Looked at once more while it stands still: what is written for 5 ms is soon written.
            os.killpg(process.pid, signal.SIGSTOP)
            if seconds or condition():
                os.killpg(process.pid, signal.SIGCONT)
                time.sleep(seconds)
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                break
            os.killpg(process.pid, signal.SIGCONT)
        time.sleep(0.001)
    return process.returncode == -signal.SIGKILL


class Trials:
    """The trials of one variant in one folder."""

    def __init__(self, variant, seed, out):
        self.variant, self.seed, self.out = variant, seed, out
        self.reference = out / "uninterrupted"
        self.environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(out / "compiled")}

    def run(self, folder):
        """A run to its end; the seconds until its first line, and what went wrong or None."""
        words = command(self.variant, self.out, folder)
        begun, first = time.monotonic(), None
        process = start(words, self.out / "last.txt", self.environment)
        while process.poll() is None:
            if first is None and lines_in(folder):
                first = time.monotonic() - begun
            time.sleep(0.05)
        if process.returncode:
            said = (self.out / "last.txt").read_text(encoding="utf-8").splitlines()
            return first, f"exit code {process.returncode}: {' | '.join(said[-3:])}"
        return first, None

    def prepare(self):
        """The uninterrupted run, twice: compiled anew, and from what the first has compiled."""
        noted = self.out / "uninterrupted.json"
        settings = {"variant": self.variant, "seed": self.seed}
        if noted.exists():
            found = json.loads(noted.read_text())
            self.start_seconds, self.total_lines = found.pop("seconds"), found.pop("lines")
            if found != settings:
                sys.exit(f"error: --out={self.out}: holds trials of {found}; give another folder")
            return
        if self.variant == "text":
            write_text(self.out / "text.txt")
        again = self.out / "uninterrupted-again"
        for folder in (self.reference, again):
            shutil.rmtree(folder, ignore_errors=True)
            self.start_seconds, wrong = self.run(folder)
            if wrong:
                sys.exit(f"FAILED: nobody killed it, {wrong}")
        found = self.compare(again)
        if found:
            sys.exit("FAILED: two uninterrupted runs differ:\n" + "\n".join(found))
        shutil.rmtree(again)
        self.total_lines = lines_in(self.reference)
        more = {"seconds": self.start_seconds, "lines": self.total_lines}
        noted.write_text(json.dumps(settings | more))

    def compare(self, folder):
        pairs = zip(runs_of(self.reference), runs_of(folder), strict=True)
        return [words for one, other in pairs for words in differences(one, other)]

    def trial(self, number):
        """One folder: killed, killed again perhaps, and run to its end."""
        random_source = random.Random(f"{self.seed} {number}")
        folder, output = self.out / f"trial-{number}", self.out / "killed.txt"
        shutil.rmtree(folder, ignore_errors=True)
        moments = []
        for _ in range(random_source.choices((1, 2, 3), (6, 3, 1))[0]):
            when = moment(random_source, folder, self.total_lines, self.start_seconds)
            process = start(command(self.variant, self.out, folder), output, self.environment)
            if not kill_at(process, *when):
                break
            moments.append(what_went_on(folder, output, self.total_lines))
        # What ended before its moment came is compared all the same; a failure shows again here.
        wrong = self.run(folder)[1]
        found = [wrong] if wrong else self.compare(folder)
        if not found:
            shutil.rmtree(folder)
        return {"trial": number, "moments": moments, "differences": sorted(found)[:20]}


def write_text(path):
    """A small text of made-up sentences."""
    random_source = random.Random(0)
    words = ["".join(random_source.choices("abcdefgh", k=4)) for _ in range(60)]
    lines = (" ".join(random_source.choices(words, k=random_source.randint(3, 9))) + "\n"
             for _ in range(400))  # fmt: skip
    path.write_text("".join(lines), encoding="utf-8")


def table(trials):
    """What was going on -> kills, and those in trials that ended as the uninterrupted run."""
    kills, identical = collections.Counter(), collections.Counter()
    for trial in trials:
        kills.update(trial["moments"])
        if not trial["differences"]:
            identical.update(trial["moments"])
    places = ("start-up", *PHASES, "the end")
    ordered = sorted(kills, key=lambda name: (places.index(name.partition(",")[0]), name))
    rows = [f"| {name} | {kills[name]} | {identical[name]} |" for name in ordered]
    rows.append(f"| all | {kills.total()} | {identical.total()} |")
    return "\n".join(["| killed during | kills | identical |", "|---|---:|---:|", *rows])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--variant", choices=VARIANTS, default="oracle")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder, made if missing")
    given = parser.parse_args()
    logging.set_verbosity(logging.ERROR)  # Orbax warns of settings that are meant
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "trials.jsonl"
    done = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    trials = Trials(given.variant, given.seed, out)
    trials.prepare()
    begun, before = time.monotonic(), sum(len(trial["moments"]) for trial in done)
    while (kills := sum(len(trial["moments"]) for trial in done)) < given.kills:
        done.append(trials.trial(len(done)))
        with kept.open("a") as file:
            file.write(json.dumps(done[-1]) + "\n")
        kills += len(done[-1]["moments"])
        pace = (time.monotonic() - begun) / max(1, kills - before)
        said = "; ".join(done[-1]["differences"]) or "identical"
        left = clock(pace * max(0, given.kills - kills))
        moments = " | ".join(done[-1]["moments"]) or "ended before it was killed"
        print(f"{kills}/{given.kills} kills · {moments} · {said} · {left} left", flush=True)
    print(table(done))
    sys.exit(1 if any(trial["differences"] for trial in done) else 0)


if __name__ == "__main__":
    main()
