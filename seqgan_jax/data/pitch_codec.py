"""Melodies as tokens: 88 pitches and the rest, one token a step of time (arXiv 1609.05473, 5.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from seqgan_jax.checked import DataError, shown

LOWEST, HIGHEST = 21, 108  # MIDI numbers of a piano's keys, A0 to C8
REST = 0  # the token of silence; token p - LOWEST + 1 stands for the MIDI number p
VOCAB_SIZE = HIGHEST - LOWEST + 2

_MIN_SECONDS, _MAX_SECONDS = 0.001, 60.0  # of a step, as in the settings
_REST_NAME = "-"
_LETTERS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
# C4 is the MIDI number 60.
_NAMES = (_REST_NAME, *(f"{_LETTERS[p % 12]}{p // 12 - 1}" for p in range(LOWEST, HIGHEST + 1)))
_PITCH = re.compile(r"([A-Ga-g])([#b]?)(-?[0-9])")
_NUMBER = re.compile(r"[0-9]{1,3}")
_ACCIDENTALS = {"": 0, "#": 1, "b": -1}


class PitchCodec:
    """Token 0 is the rest, and the silence before the first note; 1..88 are A0..C8.

    All sequences have one length: no end token, and nothing is unknown.
    """

    kind: str = "pitch"
    pad_is_token: bool = True

    def __init__(self, seconds_per_step: float) -> None:
        self.seconds_per_step = seconds_per_step
        self.vocab_size = VOCAB_SIZE
        self.start_token = REST
        self.end_token: int | None = None
        self.pad_token = REST
        self.unknown_token: int | None = None

    def encode(self, text: str, *, strict: bool = False) -> list[int]:
        """Reads pitches apart by spaces.

        A pitch is a name and its octave (`A4`, `C#5`, `Bb3`), a MIDI number (`69`), or `-` or `R`
        for a rest.

        Raises:
          DataError: a word is none of these or lies outside A0..C8, strict or not.
        """
        del strict
        return [_token(word) for word in text.split()]

    def decode(self, ids: Sequence[int]) -> str:
        """Names of pitches, sharps and no flats, and `-` for rests, apart by spaces."""
        return " ".join(_NAMES[int(token)] for token in ids)

    def layout(self, ids: Sequence[int]) -> str:
        """The same as `decode`."""
        return self.decode(ids)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `pitch_codec_from_json`."""
        return {"kind": self.kind, "seconds_per_step": self.seconds_per_step}


def pitch_codec_from_json(values: dict[str, Any]) -> PitchCodec:
    """Rebuilds the codec.

    Raises:
      DataError: no length of a step, or one that the settings would not admit.
    """
    seconds = values.get("seconds_per_step")
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is None or not is_number or not _MIN_SECONDS <= seconds <= _MAX_SECONDS:
        raise DataError(
            f"seconds_per_step={shown(seconds)}: must be a number of seconds from "
            f"{_MIN_SECONDS} to {_MAX_SECONDS:.0f}"
        )
    return PitchCodec(float(seconds))


def pitches(tokens: np.ndarray) -> np.ndarray:
    """MIDI numbers, in semitones, of tokens `[B, T]`; NaN for rests. Shape `[B, T]`, float64."""
    return np.where(tokens == REST, np.nan, tokens + (LOWEST - 1.0))


def _token(word: str) -> int:
    """The token of one word.

    Raises:
      DataError: it is no pitch.
    """
    if word in (_REST_NAME, "R", "r"):
        return REST
    if _NUMBER.fullmatch(word):
        pitch = int(word)
    elif name := _PITCH.fullmatch(word):
        letter, accidental, octave = name.groups()
        semitone = _LETTERS.index(letter.upper()) + _ACCIDENTALS[accidental]
        pitch = 12 * (int(octave) + 1) + semitone
    else:
        raise DataError(
            f"{word[:40]!r} is no pitch; must be a name such as C#5, a MIDI number, or - for a rest"
        )
    if not LOWEST <= pitch <= HIGHEST:
        raise DataError(
            f"{word!r} is outside the piano; must be in A0..C8, or {LOWEST}..{HIGHEST} as a number"
        )
    return pitch - LOWEST + 1
