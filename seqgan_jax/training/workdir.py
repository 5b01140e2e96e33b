"""The folder of a run: which settings it belongs to, and files written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

from seqgan_jax.atomic import write_json
from seqgan_jax.checked import ConfigError, DataError, differences, from_mapping, to_dict
from seqgan_jax.files import read_json
from seqgan_jax.hparams import HParams

CONFIG_FILE = "config.json"
_SEED_FOLDER = re.compile(r"seed-(\d+)")  # of a run of `num_seeds` that were trained together


def claim(workdir: str, hparams: HParams) -> None:
    """Makes the folder and notes the settings in config.json, or checks them against it.

    Raises:
      ConfigError: the folder belongs to a run of other settings, or cannot be made.
    """
    path = os.path.join(workdir, CONFIG_FILE)
    if os.path.exists(path):
        check(workdir, hparams)
        return
    try:
        os.makedirs(workdir, exist_ok=True)
        write_json(path, to_dict(hparams))
    except OSError as error:
        raise ConfigError(
            f"--workdir={workdir}: cannot be made or written ({error.strerror})"
        ) from error


def check(workdir: str, hparams: HParams) -> None:
    """Compares the settings with those of the run in the folder, if there is one.

    Raises:
      ConfigError: they differ; names the fields.
    """
    if not os.path.exists(os.path.join(workdir, CONFIG_FILE)):
        return
    found = differences(_of_figures(read_hparams(workdir)), _of_figures(hparams))
    if found:
        listed = "\n  ".join(found)
        raise ConfigError(
            f"--workdir={workdir}: holds a run of another config (there != given):\n  {listed}\n"
            "Give that config, or another --workdir."
        )


def _of_figures(hparams: HParams) -> dict[str, Any]:
    """The settings that figures depend on: not the devices, nor what is saved when."""
    fields = to_dict(hparams)
    del fields["mesh"]
    for name in ("checkpoint_seconds", "keep_last", "keep_best", "best_metric"):
        del fields["evaluation"][name]
    return fields


def identity(hparams: HParams) -> str:
    """A run's own mark, which its checkpoints bear: the digest of its settings, seed included."""
    words = json.dumps(_of_figures(hparams), sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()


def read_hparams(workdir: str) -> HParams:
    """The settings of the run in a folder.

    Raises:
      ConfigError: there is none, or its config.json is damaged.
    """
    path = os.path.join(workdir, CONFIG_FILE)
    if not os.path.exists(path):
        seeds = expanded([workdir])
        if seeds != [workdir]:
            raise ConfigError(
                f"{workdir}: holds the runs of {len(seeds)} seeds; give one, such as {seeds[0]}"
            )
        raise ConfigError(
            f"{workdir}: no run there ({path}: no such file); give the folder that bin/train.py "
            "wrote"
        )
    try:
        return from_mapping(HParams, read_json(path))
    except DataError as error:
        raise ConfigError(str(error)) from error
    except ConfigError as error:
        raise ConfigError(
            f"{path}: is of a run of another version of seqgan_jax, or damaged ({error}); begin "
            "anew in another --workdir"
        ) from error


def seed_folders(workdir: str, seeds: Iterable[int]) -> list[str]:
    """Folders of the runs of several seeds, in that of all of them."""
    return [os.path.join(workdir, f"seed-{seed}") for seed in seeds]


def expanded(folders: Sequence[str]) -> list[str]:
    """The folders of runs; in place of one of several seeds' runs, those, by seed."""
    found = []
    for folder in folders:
        is_run = os.path.exists(os.path.join(folder, CONFIG_FILE)) or not os.path.isdir(folder)
        names = [] if is_run else filter(None, map(_SEED_FOLDER.fullmatch, os.listdir(folder)))
        seeds = sorted(int(name[1]) for name in names)
        found += seed_folders(folder, seeds) or [folder]
    return found


def name_of(folder: str) -> str:
    """What tables and pictures call a run: its folder's last name; of one of several seeds' runs
    that of all of them, with the seed."""
    path = os.path.abspath(folder)
    name = os.path.basename(path)
    seed = _SEED_FOLDER.fullmatch(name)
    return f"{os.path.basename(os.path.dirname(path))}-{seed[1]}" if seed else name
