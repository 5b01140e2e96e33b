"""Every method under one config, one after another, and a report: what bin/compare.py calls."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import NamedTuple

import jax
import rich.console
import rich.table

from seqgan_jax.checked import ConfigError
from seqgan_jax.data.ids import IdCodec
from seqgan_jax.data_hparams import OracleDataHParams
from seqgan_jax.hparams import METHODS, HParams
from seqgan_jax.reporting import groups, method_table, reading, report, sweep
from seqgan_jax.reporting.grid import Grid
from seqgan_jax.reporting.table import MLE, start_name
from seqgan_jax.training import experiment, trained, workdir
from seqgan_jax.training.loop import Trainer

REPORT_FOLDER = "report"
_MOST_SEEDS = 1000
_TEMPERATURES = [1.2, 1.1, 1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]


class Entrant(NamedTuple):
    """A method and the folders of its runs, one a seed."""

    hparams: HParams
    folders: list[str]


def entrants(hparams: HParams, methods: Sequence[str], num_seeds: int, out: str) -> list[Entrant]:
    """The runs that a comparison consists of; nothing is written yet.

    Args:
      hparams: all but the method; its seed is the first.
      methods: their names.
      num_seeds: S, runs of each.
      out: the folder that holds those of the runs, `METHOD-SEED`.

    Raises:
      ConfigError: no method, an unknown one or one named twice; S out of range; a folder holds a
        run of another config; or a method asks for what the other settings do not give.
    """
    if not methods:
        raise ConfigError("--methods=: name at least one, with commas between them")
    if hparams.num_seeds != 1:
        raise ConfigError(
            f"config.num_seeds={hparams.num_seeds}: of a single method; give --num_seeds="
            f"{hparams.num_seeds}"
        )
    if not 1 <= num_seeds <= _MOST_SEEDS:
        raise ConfigError(f"--num_seeds={num_seeds}: must be in 1..{_MOST_SEEDS}")
    found: dict[str, Entrant] = {}
    for method in methods:
        name = _short(method)
        if name in found:
            raise ConfigError(f"--methods: two are called {name}; name each once")
        try:
            mine = dataclasses.replace(hparams, method=method)
        except ConfigError as error:
            raise ConfigError(f"--methods: {error}") from None
        seeds = range(hparams.seed, hparams.seed + num_seeds)
        folders = [os.path.join(out, f"{name}-{seed}") for seed in seeds]
        for seed, folder in zip(seeds, folders, strict=True):
            workdir.check(folder, dataclasses.replace(mine, seed=seed))
        # Says what does not fit before hours have passed. Of real data the vocabulary is not known
        # yet; ours ask nothing of it, a user's own may.
        if isinstance(hparams.data, OracleDataHParams):
            experiment.build_models(mine)
        elif method in METHODS:
            experiment.build_models(mine, IdCodec(2))
        found[name] = Entrant(mine, folders)
    return list(found.values())


def _short(method: str) -> str:
    """A method's name in those of folders; of a user's own, its file's or function's."""
    path, _, function = method.partition(":")
    return function or os.path.splitext(os.path.basename(path))[0]


def run(
    hparams: HParams,
    methods: Sequence[str],
    num_seeds: int,
    out: str,
    console: rich.console.Console,
) -> None:
    """Trains every method, its seeds side by side; sweeps maximum likelihood; reports.

    What is finished is not done again, so that the same call goes on where an earlier one stopped.

    Raises:
      ConfigError, DataError: as of `entrants`, `Trainer`, `sweep.run` and `report.write`.
    """
    everything = entrants(hparams, methods, num_seeds, out)
    for number, entrant in enumerate(everything, 1):
        method = entrant.hparams.method
        console.rule(f"{method}, {number} of {len(everything)}")
        _train(entrant, console)
        jax.clear_caches()  # no other method calls these programs
    reference = _reference(everything)
    if reference is not None and not all(map(_is_swept, reference.folders)):
        console.rule("maximum likelihood at several temperatures")
        settings = sweep.Settings(_TEMPERATURES, shows_table=False, only_first=True)
        sweep.run(reference.folders, settings, console)
    folders = _comparable(hparams, out)
    report.write(folders, os.path.join(out, REPORT_FOLDER), console)
    for part in groups.parts(reading.read_runs(folders)):
        for grid in method_table.make(part):
            console.print(on_terminal(grid))


def _comparable(hparams: HParams, out: str) -> list[str]:
    """Finished runs in a folder whose settings differ from these in method and seed alone.

    Those of an earlier call are among them, so that methods can be added one by one.
    """
    found = []
    for name in os.listdir(out) if os.path.isdir(out) else []:
        folder = os.path.join(out, name)
        if os.path.exists(os.path.join(folder, reading.SUMMARY_FILE)):
            theirs = workdir.read_hparams(folder)
            if dataclasses.replace(theirs, method=hparams.method, seed=hparams.seed) == hparams:
                place = METHODS.index(theirs.method) if theirs.method in METHODS else len(METHODS)
                found.append((place, theirs.method, theirs.seed, folder))
    return [folder for *_, folder in sorted(found)]


def _train(entrant: Entrant, console: rich.console.Console) -> None:
    """Trains the seeds that are not finished, side by side: all, or those that have been added."""
    hparams, folders = entrant
    done = [os.path.exists(os.path.join(folder, reading.SUMMARY_FILE)) for folder in folders]
    first = 0 if all(done) else done.index(False)
    later = dataclasses.replace(hparams, seed=hparams.seed + first)
    Trainer(later, folders[first:], console, _starts(later, folders[first:])).run()


def _starts(hparams: HParams, folders: Sequence[str]) -> list[str]:
    """Finished runs beside these that have pre-trained as these would; or none.

    What a user's own method does to pre-train is not known, and it does so itself.
    """
    if hparams.method not in METHODS or hparams.schedule.g_pretrain_epochs == 0:
        return []
    found: dict[str, dict[int, str]] = {}
    for folder in _comparable(hparams, os.path.dirname(folders[0])):
        theirs = workdir.read_hparams(folder)
        alike = theirs.method in METHODS and start_name(theirs.method) == start_name(hparams.method)
        if alike and folder not in folders and trained.has_pretrained(folder):
            found.setdefault(theirs.method, {})[theirs.seed] = folder
    seeds = range(hparams.seed, hparams.seed + len(folders))
    for by_seed in found.values():
        if all(seed in by_seed for seed in seeds):
            return [by_seed[seed] for seed in seeds]
    return []


def _reference(everything: Sequence[Entrant]) -> Entrant | None:
    """Whose pre-training is that of maximum likelihood: `mle` itself, or the first such."""
    by_name = {each.hparams.method: each for each in everything}
    began = [each for name, each in by_name.items() if start_name(name) == MLE]
    if not began or began[0].hparams.schedule.g_pretrain_epochs == 0:
        return None
    return by_name.get("mle", began[0])


def _is_swept(folder: str) -> bool:
    """Whether it has been at every temperature; a user may have swept it at fewer."""
    evaluation = reading.read_runs([folder])[0].evaluation
    if evaluation is None or evaluation.sweep is None:
        return False
    points = evaluation.sweep.curves.get(MLE, [])
    return {point.temperature for point in points} >= set(_TEMPERATURES)


def on_terminal(grid: Grid) -> rich.table.Table:
    """A grid for the screen."""
    result = rich.table.Table(title=grid.title, caption="\n".join(grid.notes))
    for index, title in enumerate(grid.head):
        result.add_column(title, justify="right" if index else "left")
    for row in grid.rows:
        result.add_row(*row)
    return result
