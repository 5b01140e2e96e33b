"""Measures every phase in one run: `python bin/benchmark.py`, at the paper's sizes.

Beside the machine's limits and tests/plain_reference.py; --help says what can be done instead.
"""

import importlib
import pathlib
import sys

import jax
from absl import flags

from seqgan_jax.benchmark import bleu, limits, loading, memory_plan, report, scaling, side_by_side
from seqgan_jax.data import cache, text
from seqgan_jax.training import command_line

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
command_line.define_config(default=str(ROOT / "configs" / "oracle.py:paper"))
PHASES = flags.DEFINE_list("phases", [], f"Some of: {','.join(report.PHASES)}. Default: all.")
JSON = flags.DEFINE_string("json", None, "File that runs are saved in, and compared with.")
SCALING = flags.DEFINE_bool("scaling", False, "Double T, N, V, B and H in turn instead.")
BLEU = flags.DEFINE_bool("bleu", False, "Self-BLEU beside NLTK's instead.")
SEEDS = flags.DEFINE_integer("seeds", 0, "Train so many seeds in one computation instead.")
LOADING = flags.DEFINE_bool("loading", False, "Reading a million lines of text instead.")
PLAN = flags.DEFINE_bool("plan", False, "Memory that a device needs instead; compiles nothing.")
PLAN_GIB = flags.DEFINE_float("plan_memory", None, "GiB of a device, for --plan. Default: this.")
RUNS = flags.DEFINE_integer("runs", 5, "Each figure is the median of so many.", lower_bound=1)


def main() -> None:
    hparams, console = command_line.read_config(), command_line.console()
    jax.config.update("jax_enable_compilation_cache", False)  # or no compilation is a first one
    if BLEU.value or LOADING.value:
        read = text.load_text, cache.load_or_read
        for line in loading.lines(*read) if LOADING.value else bleu.lines():
            console.print(line, highlight=False)
    elif PLAN.value:
        console.print(*memory_plan.report(hparams, PLAN_GIB.value), sep="\n")
    elif SEEDS.value:
        console.print(side_by_side.table(hparams, SEEDS.value, RUNS.value))
    elif SCALING.value:
        console.print(scaling.table(hparams, RUNS.value))
    else:
        chosen = report.choose(PHASES.value)
        runs = report.read_runs(JSON.value) if JSON.value else []
        train = [sys.executable, str(ROOT / "bin" / "train.py"), *command_line.config_arguments()]
        machine = limits.measure_limits()
        plain = importlib.import_module("plain_reference")
        figures = []
        for row in report.measure(hparams, chosen, machine, plain, train, RUNS.value):
            figures.append(row)
            console.print(report.line(row), highlight=False)
            if JSON.value:  # at once, so that what is measured is never lost
                report.save_run(JSON.value, runs, machine, figures)
        console.print(report.table(machine, figures, report.last_seconds(runs, report.device())))


if __name__ == "__main__":
    command_line.run(main)
