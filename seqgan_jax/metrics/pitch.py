"""Distances of melodies in pitch.

The paper gives an MSE for music (arXiv 1609.05473) and does not say between what. Here it is
between a sample and held-out melodies, in semitones squared, where both sound: not to be set beside
the paper's.
"""

from __future__ import annotations

import numpy as np

_MIDDLE = 64.0  # subtracted from all pitches, which spares the precision of their squares
_PAIRS = 2**20  # pairs of a sample and a reference held in memory at a time


def pitch_mse(samples: np.ndarray, references: np.ndarray) -> float:
    """Mean squared difference over all pairs of a sample and a reference.

    Each position at which both of a pair sound weighs alike. A generator that never leaves the mean
    pitch has the least: read it beside that of real data.

    Args:
      samples: semitones, NaN for a rest. `[B, T]`.
      references: the same. `[R, T]`.

    Returns:
      Semitones squared; NaN where no pair sounds together. Exact, by moments of each position.

    Raises:
      ValueError: samples and references differ in length.
    """
    _check_lengths(samples, references)
    x, y = (_moments(each) for each in (samples, references))
    pairs = (x[0] * y[0]).sum()
    total = (x[2] * y[0] + y[2] * x[0] - 2.0 * x[1] * y[1]).sum()
    return float(max(total, 0.0) / pairs) if pairs else float("nan")


def nearest_pitch_mse(samples: np.ndarray, references: np.ndarray) -> float:
    """Mean over samples of the mean squared difference to the nearest reference.

    Args:
      samples: semitones, NaN for a rest. `[B, T]`.
      references: the same. `[R, T]`.

    Returns:
      Semitones squared; samples that sound together with no reference do not count; NaN where none
      does.

    Raises:
      ValueError: samples and references differ in length.
    """
    _check_lengths(samples, references)
    pitch, sounds = _filled(references)
    squares = pitch**2
    block = max(_PAIRS // max(len(references), 1), 1)
    nearest = [np.zeros(0)]
    for start in range(0, len(samples), block):
        own, own_sounds = _filled(samples[start : start + block])
        together = own_sounds @ sounds.T
        total = own**2 @ sounds.T + own_sounds @ squares.T - 2.0 * own @ pitch.T
        # Rounding may leave an exact copy a hair below 0.
        mean = np.maximum(total, 0.0) / np.maximum(together, 1.0)
        nearest.append(np.where(together > 0, mean, np.inf).min(axis=1, initial=np.inf))
    each = np.concatenate(nearest)
    each = each[np.isfinite(each)]
    return float(each.mean()) if each.size else float("nan")


def _check_lengths(samples: np.ndarray, references: np.ndarray) -> None:
    length, other = samples.shape[1], references.shape[1]
    if length != other:
        raise ValueError(f"samples of {length} steps, references of {other}: must be as long")


def _filled(melodies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pitches with 0 for rests, and which positions sound, as float64 `[B, T]` each."""
    melodies = np.asarray(melodies)
    sounds = ~np.isnan(melodies)
    return np.where(sounds, melodies.astype(np.float64) - _MIDDLE, 0.0), sounds.astype(np.float64)


def _moments(melodies: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count, sum and sum of squares of each position, `[T]` each."""
    pitch, sounds = _filled(melodies)
    return sounds.sum(axis=0), pitch.sum(axis=0), (pitch**2).sum(axis=0)
