"""Data of a run that come from files, kept in its folder once they are encoded."""

from __future__ import annotations

import os

from seqgan_jax.atomic import write_atomically
from seqgan_jax.checked import DataError
from seqgan_jax.data.archive import MIDI_SUFFIXES
from seqgan_jax.data.cache import (
    DATA_FILE,
    VOCABULARY_FILE,
    content_key,
    load_or_read,
    read_cache,
)
from seqgan_jax.data.dataset import Dataset, Progress
from seqgan_jax.data.midi import load_mido
from seqgan_jax.data.music import load_music
from seqgan_jax.data.text import load_text
from seqgan_jax.data_hparams import MusicDataHParams, TextDataHParams
from seqgan_jax.training.workdir import CONFIG_FILE


def load(
    settings: TextDataHParams | MusicDataHParams, folder: str, progress: Progress | None = None
) -> Dataset:
    """The data that the settings describe, from the run's folder where they are kept there.

    Args:
      settings: of text or music.
      folder: of the run.
      progress: told the share of the files that has been read.

    Returns:
      The data.

    Raises:
      DataError: the files cannot be used, or are no longer those that the run began with; or what
        reads MIDI is not installed.
    """
    if isinstance(settings, MusicDataHParams):
        load_mido()  # a resumed run reads no MIDI, but writes some once it has ended
    if not settings.path:
        raise DataError("config.data.path='': give the data, --config.data.path=FILE")
    paths = [path for path in (settings.path, settings.test_path) if path]
    # Only then have the settings been compared with those of what is kept.
    begun = all(os.path.exists(os.path.join(folder, name)) for name in (CONFIG_FILE, DATA_FILE))
    if begun and not all(os.path.exists(path) for path in paths):
        return kept(folder)  # moved to another machine, say
    key = content_key([_files_of(path) for path in paths], settings)
    if begun:
        kept_key, dataset = read_cache(folder)
        if kept_key != key:
            raise DataError(
                f"{' and '.join(paths)}: changed since the run in {folder} began; "
                "give the same data, or another --workdir"
            )
        return dataset

    def read() -> Dataset:
        if isinstance(settings, TextDataHParams):
            return load_text(settings, progress)
        return load_music(settings, progress)

    return load_or_read(folder, key, read)


def keep_copy(folder: str, other: str) -> None:
    """Keeps the data of one run's folder in another's too.

    Raises:
      DataError: the other folder has data already, and they differ; or either is damaged.
    """
    if os.path.exists(os.path.join(other, DATA_FILE)):
        if read_cache(other)[0] != read_cache(folder)[0]:
            raise DataError(
                f"{other}: began with other data than {folder}; give the same, or another folder"
            )
        return
    for name in (VOCABULARY_FILE, DATA_FILE):
        with open(os.path.join(folder, name), "rb") as file:
            write_atomically(os.path.join(other, name), file.read())


def kept(folder: str) -> Dataset:
    """The encoded data in a run's folder.

    Raises:
      DataError: there are none, or they are damaged.
    """
    return read_cache(folder)[1]


def _files_of(path: str) -> list[str]:
    """The file itself, or the readable MIDI files below a folder in the order of their names.

    Raises:
      DataError: folders are nested deeper than Python goes.
    """
    if not os.path.isdir(path):
        return [path]
    try:
        found = [os.path.join(top, name) for top, _, names in os.walk(path) for name in names]
    except RecursionError:
        raise DataError(f"{path}: its folders are nested too deep") from None
    return sorted(
        name
        for name in found
        if name.lower().endswith(MIDI_SUFFIXES)
        and os.path.isfile(name)
        and os.access(name, os.R_OK)
    )
