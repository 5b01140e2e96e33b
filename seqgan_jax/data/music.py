"""A folder or an archive of MIDI files as windows of tokens, split by tune."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from seqgan_jax.checked import DataError
from seqgan_jax.data.archive import Members, members
from seqgan_jax.data.dataset import Dataset, Progress
from seqgan_jax.data.midi import load_mido, read_melody
from seqgan_jax.data.pitch_codec import REST, PitchCodec
from seqgan_jax.data_hparams import MusicDataHParams
from seqgan_jax.types import Sequences

_NAMED = 3  # files that a note names; the others are counted
_FAULT = 300  # characters of what is wrong with one, whose name may be long
_REPORTS = 100  # calls of progress
_MAX_POSITIONS = 100_000_000  # of all windows: 500 MB once they are joined


class _Melody(NamedTuple):
    """What a file gives."""

    tokens: np.ndarray  # [L] uint8, which keeps memory low while all are read
    windows: np.ndarray  # [number, T] uint8, at least one


def load_music(settings: MusicDataHParams, progress: Progress | None = None) -> Dataset:
    """Reads melodies and cuts them into windows.

    Files are split into training and test data whole, drawn by the seed; files whose melodies are
    the same stand on one side. A file with no window, too short or silent, takes no part in that.

    Args:
      settings: where the files are and how to cut them. With `test_path` no file is held out.
      progress: called with the share of the files that has been read.

    Returns:
      Windows of `length` steps, those of rests alone left out; the files come in the order of their
      names. Training windows begin every `stride` steps; test windows do not overlap, or each would
      stand in part among the others. All masks are True.

    Raises:
      DataError: no path, nothing to read at one of them, fewer than 2 windows to train on or none
        to test on, or mido is not installed.
    """
    if not settings.path:
        raise DataError(
            "config.data.path is empty: give --config.data.path=FOLDER, a folder or an archive of "
            "MIDI files"
        )
    load_mido()  # once, rather than as the fault of every file
    paths = [path for path in (settings.path, settings.test_path) if path]
    sources = [members(path) for path in paths]
    report = _counted(progress, sum(map(len, sources)))
    notes: list[str] = []
    sides = [
        _read(source, path, settings, report, notes)
        for source, path in zip(sources, paths, strict=True)
    ]
    train, test = sides if settings.test_path else _split(sides[0], settings, notes)
    if settings.test_path:
        known = {melody.tokens.tobytes() for melody in train}
        num_known = sum(melody.tokens.tobytes() in known for melody in test)
        if num_known:
            notes.append(f"{num_known:,} of {len(test):,} test melodies are training melodies too.")
    windows = _joined(train)
    if len(windows.tokens) < 2:
        raise DataError(
            f"{settings.path}: {len(windows.tokens)} window of {settings.length} steps to train "
            "on; must have 2 or more: give more or longer melodies, or a smaller "
            "--config.data.length or --config.data.stride"
        )
    apart = [_apart(melody, settings) for melody in test]
    return Dataset(windows, _joined(apart), PitchCodec(settings.seconds_per_step), (*notes,))


def _counted(progress: Progress | None, total: int) -> Callable[[], None]:
    """A function to call after every file, which reports now and then."""
    done = 0

    def report() -> None:
        nonlocal done
        done += 1
        if progress is not None and (done % max(1, total // _REPORTS) == 0 or done == total):
            progress(done / total)

    return report


def _read(
    source: Members,
    path: str,
    settings: MusicDataHParams,
    report: Callable[[], None],
    notes: list[str],
) -> list[_Melody]:
    """The melodies at a path that have a window; says in `notes` what has none, and why.

    Raises:
      DataError: there is none.
    """
    melodies, faults = [], []
    num_short = num_silent = num_left = num_steps = num_positions = 0
    for name, load in source.loaders:
        try:
            tokens = read_melody(load(), name, settings.seconds_per_step).astype(np.uint8)
        except DataError as error:
            faults.append(str(error)[:_FAULT])
        else:
            cut = _windows(tokens, settings)
            heard = np.any(cut != REST, axis=1)
            num_short += not len(cut)
            num_silent += int(np.sum(~heard))
            num_positions += int(heard.sum()) * settings.length
            if num_positions > _MAX_POSITIONS:
                raise DataError(
                    f"{path}: windows of more than {_MAX_POSITIONS:,} steps together; give fewer "
                    "melodies, or a larger --config.data.stride or --config.data.seconds_per_step"
                )
            if heard.any():
                melodies.append(_Melody(tokens, cut[heard]))
                num_steps += len(tokens)
                num_left += _steps_left(len(tokens), settings)
        report()
    if len(faults) == len(source):
        raise DataError(f"{path}: none of {len(source):,} files could be read: {_first(faults)}")
    if not melodies:
        raise DataError(
            f"{path}: none of {len(source) - len(faults):,} melodies has "
            f"{settings.length} steps of {settings.seconds_per_step} s; give fewer or shorter ones "
            "(--config.data.length, --config.data.seconds_per_step)"
        )
    num_read = len(source) - len(faults)
    counts = {
        f"of {len(source):,} files skipped ({_first(faults)})": len(faults),
        f"of {num_read:,} melodies shorter than {settings.length} steps, dropped": num_short,
        "windows of rests alone, dropped": num_silent,
        f"of {num_steps:,} steps in no whole window, left out": num_left,
    }
    notes += [f"{path}: {number:,} {what}." for what, number in counts.items() if number]
    return melodies


def _first(faults: list[str]) -> str:
    more = f"; and {len(faults) - _NAMED:,} more" if len(faults) > _NAMED else ""
    return "; ".join(faults[:_NAMED]) + more


def _windows(tokens: np.ndarray, settings: MusicDataHParams) -> np.ndarray:
    """Windows of a melody `[L]`. Shape `[number, T]`; none where it is shorter than T."""
    if len(tokens) < settings.length:
        return np.zeros((0, settings.length), np.uint8)
    return np.lib.stride_tricks.sliding_window_view(tokens, settings.length)[:: settings.stride]


def _steps_left(num_steps: int, settings: MusicDataHParams) -> int:
    """Steps of a melody that no window covers: between them, and behind the last."""
    num_windows = (num_steps - settings.length) // settings.stride + 1
    covered = (num_windows - 1) * min(settings.stride, settings.length) + settings.length
    return num_steps - covered


def _split(
    melodies: list[_Melody], settings: MusicDataHParams, notes: list[str]
) -> tuple[list[_Melody], list[_Melody]]:
    """Draws the files to test on, one after the other, until they are the wanted share.

    A file brings along those with the same melody, so there may be a few more.

    Raises:
      DataError: there are fewer than two different melodies.
    """
    files: dict[bytes, list[int]] = {}
    for number, melody in enumerate(melodies):
        files.setdefault(melody.tokens.tobytes(), []).append(number)
    if len(files) < 2:
        raise DataError(
            f"{settings.path}: one melody of at least {settings.length} steps; must have 2 "
            "different ones, to train and to test, or give --config.data.test_path=FOLDER. "
            + " ".join(notes)
        )
    twins = len(melodies) - len(files)
    if twins:
        notes.append(
            f"{settings.path}: {twins:,} of {len(melodies):,} files with the melody of another, "
            "put on its side of the split."
        )
    wanted = min(max(round(settings.test_fraction * len(melodies)), 1), len(melodies) - 1)
    held_out: set[int] = set()
    for number in np.random.default_rng(settings.seed).permutation(len(melodies)).tolist():
        same = files[melodies[number].tokens.tobytes()]
        # The last melody stays, or nothing would be left to train on.
        if len(held_out) < wanted and len(held_out.union(same)) < len(melodies):
            held_out.update(same)
    return (
        [melody for number, melody in enumerate(melodies) if number not in held_out],
        [melody for number, melody in enumerate(melodies) if number in held_out],
    )


def _apart(melody: _Melody, settings: MusicDataHParams) -> _Melody:
    """The melody cut without overlap; the first window begins with a note, so there is one."""
    stride = max(settings.stride, settings.length)
    cut = _windows(melody.tokens, dataclasses.replace(settings, stride=stride))
    return melody._replace(windows=cut[np.any(cut != REST, axis=1)])


def _joined(melodies: list[_Melody]) -> Sequences:
    tokens = np.concatenate([melody.windows for melody in melodies]).astype(np.int32)
    return Sequences(tokens, np.ones(tokens.shape, bool))
