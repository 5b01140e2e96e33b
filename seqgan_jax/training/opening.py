"""What a run needs before its first call: folders, data, devices and compiled calls."""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import rich.console

from seqgan_jax.atomic import write_atomically
from seqgan_jax.checked import ConfigError
from seqgan_jax.data_hparams import OracleDataHParams
from seqgan_jax.hparams import HParams, ScheduleHParams
from seqgan_jax.training import experiment, hosts, plan, real_data, workdir
from seqgan_jax.training.compiled import compile_calls
from seqgan_jax.training.lock import Lock
from seqgan_jax.training.progress import ReadingProgress
from seqgan_jax.training.run_folder import RunFolder, claim
from seqgan_jax.training.sharding import Layout
from seqgan_jax.types import Samples


class Opened(NamedTuple):
    """Runs that are trained together, and what they have in common."""

    experiment: experiment.Experiment
    runs: list[RunFolder]
    layout: Layout
    schedule: ScheduleHParams
    train: Samples  # on the devices, as `Layout.rows` lays them
    test: Samples
    calls: dict[str, Callable[..., Any]]  # see `compile_calls`


def folders_of(hparams: HParams, folder: str) -> list[str]:
    """The folder of each seed's run: the given one, or, of several, `seed-0` and so on in it.

    Raises:
      ConfigError: seeds would lie in the folder of a run of one, or a run among those of seeds.
    """
    if hparams.num_seeds == 1:
        if not os.path.exists(os.path.join(folder, workdir.CONFIG_FILE)):
            seeds = workdir.expanded([folder])
            if seeds != [folder]:
                raise ConfigError(
                    f"--workdir={folder}: holds the runs of {len(seeds)} seeds; give another "
                    f"folder, or config.num_seeds={len(seeds)} to go on with them"
                )
        return [folder]
    if os.path.exists(os.path.join(folder, workdir.CONFIG_FILE)):
        raise ConfigError(
            f"config.num_seeds={hparams.num_seeds}: --workdir={folder} holds a run of one seed; "
            "give another folder"
        )
    return workdir.seed_folders(folder, range(hparams.seed, hparams.seed + hparams.num_seeds))


def open_runs(
    hparams: HParams, folders: Sequence[str], tell: Callable[[str], None],
    console: rich.console.Console,
) -> Opened:  # fmt: skip
    """Checks settings, folders and devices, reads the data, and claims the folders.

    Args:
      hparams: of the first run; the i-th has seed `hparams.seed + i`.
      folders: of the runs.
      tell: says what begins now.
      console: where the progress of reading is shown.

    Raises:
      ConfigError, DataError: as of `Trainer`; folders that were made for it are gone again.
    """
    locks: list[Lock] = []
    try:
        return _open(hparams, folders, tell, console, locks)
    except BaseException:
        for lock in reversed(locks):
            lock.undo()
        raise


def _open(
    hparams: HParams, folders: Sequence[str], tell: Callable[[str], None],
    console: rich.console.Console, locks: list[Lock],
) -> Opened:  # fmt: skip
    """As `open_runs`; notes which locks it has taken, in the first process."""
    seeded = [
        dataclasses.replace(hparams, seed=hparams.seed + i, num_seeds=1)
        for i in range(len(folders))
    ]  # fmt: skip

    def check() -> None:
        for name, each in zip(folders, seeded, strict=True):
            locks.append(Lock(name))
            workdir.check(name, each)

    oracle = isinstance(hparams.data, OracleDataHParams)
    # Before anything is drawn or read. Of real data neither V nor what batches they allow is known.
    known = hparams.sizes.vocab_size if oracle else hparams.mesh.model
    early = Layout(hparams.mesh, known, len(folders))
    if oracle:
        early.check(hparams)
    hosts.first_alone(check)
    built = hosts.first_then_others(lambda: _built(seeded[0], folders[0], tell, console))
    layout = Layout(hparams.mesh, built.sizes.vocab_size, len(folders))
    layout.check(built.hparams)

    def claim_all() -> None:
        for name, each in zip(folders, seeded, strict=True):
            claim(name, each)
        if not oracle:
            for name in folders[1:]:
                real_data.keep_copy(folders[0], name)

    hosts.first_alone(claim_all)
    _check_shared(folders[0])
    held: list[Lock | None] = [*locks] or [None] * len(folders)
    runs = [
        RunFolder(name, each, together=len(folders) > 1, lock=lock)
        for name, each, lock in zip(folders, seeded, held, strict=True)
    ]
    schedule = plan.without_idle_steps(built.hparams.schedule, built.models.method)
    calls = compile_calls(schedule, built.models, built.sizes, len(folders), layout)
    train, test = layout.rows(built.train), layout.rows(built.test)
    if layout.mesh is not None:  # or the first device would hold all rows beside its share
        built = built._replace(
            train=Samples(*jax.device_get(built.train)), test=Samples(*jax.device_get(built.test))
        )
    return Opened(built, runs, layout, schedule, train, test, calls)


def _check_shared(folder: str) -> None:
    """Checks that the folder is one and the same in every process.

    Raises:
      ConfigError: it is not; in every process, where checkpoints would have waited forever.
    """
    if not hosts.several():
        return
    token, pid = hosts.agreed(secrets.randbits(31)), hosts.agreed(os.getpid())
    name = os.path.join(folder, f".shared-{token}.{pid}.partial")  # goes, if a kill leaves it
    hosts.first_alone(lambda: write_atomically(name, ""))
    seen = hosts.all_say(os.path.exists(name))
    if hosts.is_first():
        os.remove(name)
    if not seen:
        raise ConfigError(
            f"--workdir={folder}: is not the same folder in every process; give one on a disk that "
            "all hosts share"
        )


def _built(
    hparams: HParams, folder: str, tell: Callable[[str], None], console: rich.console.Console
) -> experiment.Experiment:
    """Builds the experiment and tells of its data."""
    data = hparams.data
    if isinstance(data, OracleDataHParams):
        tell(f"drawing {data.num_train + data.num_test:,} sequences of data")
        return experiment.build(hparams, folder)
    with ReadingProgress(f"reading {data.path}", console) as progress:
        built = experiment.build(hparams, folder, progress)
    sizes = built.sizes
    tell(
        f"{sizes.num_train:,} sequences to learn from, {sizes.num_test:,} held out, "
        f"{sizes.vocab_size:,} tokens, {sizes.length} positions"
    )
    for note in built.notes:
        tell(note)
    return built
