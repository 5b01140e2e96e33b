"""Measures every phase: `python bin/benchmark.py`; --help says what it can do instead."""

import importlib
import pathlib
import sys
from collections.abc import Iterable
from typing import Any

import jax
from absl import flags

from seqgan_jax.benchmark import bleu, loading, memory_plan, report, scale, scaling, side_by_side
from seqgan_jax.data import cache, text
from seqgan_jax.hparams import HParams
from seqgan_jax.training import command_line

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
command_line.define_config(default=str(ROOT / "configs" / "oracle.py:paper"))
PHASES = flags.DEFINE_list("phases", [], f"Some of: {','.join(report.PHASES)}. Default: all.")
JSON = flags.DEFINE_string("json", None, "File that runs are saved in, and compared with.")
SCALING = flags.DEFINE_bool("scaling", False, "Double T, N, V, B and H in turn instead.")
BLEU = flags.DEFINE_bool("bleu", False, "Self-BLEU beside NLTK's instead.")
SCALE = flags.DEFINE_string("scale", None, "Larger sizes on paper instead: v5e, h100 or rates.")
SEEDS = flags.DEFINE_integer("seeds", 0, "Train so many side by side instead.", 0, 1000)
LOADING = flags.DEFINE_bool("loading", False, "Reading a million lines of text instead.")
PLAN = flags.DEFINE_bool("plan", False, "Memory that a device needs instead; compiles nothing.")
PLAN_GIB = flags.DEFINE_float("plan_memory", None, "GiB of a device, for --plan. Default: this.")
RUNS = flags.DEFINE_integer("runs", 5, "Each figure is the median of so many.", 1, 10_000)


def shown(hparams: HParams) -> Iterable[Any]:
    """Lines and tables of what is asked for."""
    if SCALE.value:
        return scale.lines(hparams, SCALE.value, [sys.executable, *sys.argv])
    if PLAN.value:
        return memory_plan.report(hparams, PLAN_GIB.value)
    if LOADING.value:
        return loading.lines(text.load_text, cache.load_or_read)
    if BLEU.value:
        return bleu.lines()
    if SEEDS.value:
        return [side_by_side.table(hparams, SEEDS.value, RUNS.value)]
    if SCALING.value:
        return [scaling.table(hparams, RUNS.value)]
    plain = importlib.import_module("plain_reference")
    train = [sys.executable, str(ROOT / "bin" / "train.py"), *command_line.config_arguments()]
    return report.lines(hparams, PHASES.value, JSON.value, plain, train, RUNS.value)


def main() -> None:
    hparams, console = command_line.read_config(), command_line.console()
    jax.config.update("jax_enable_compilation_cache", False)  # or no compilation is a first one
    for each in shown(hparams):
        console.print(each, highlight=False)


if __name__ == "__main__":
    command_line.run(main)
