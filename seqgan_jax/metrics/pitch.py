"""Distances of melodies in pitch.

The paper gives an MSE for music (arXiv 1609.05473, table 3) and does not say between what. Here it is
between a sample and held-out melodies, in semitones squared, over the positions where both sound.
"""

from __future__ import annotations

import numpy as np

_BLOCK = 256  # samples held against all references at a time


def pitch_mse(samples: np.ndarray, references: np.ndarray) -> float:
    """Mean squared difference over all pairs of a sample and a reference.

    A generator that never leaves the mean pitch has the least: read it beside that of real data.

    Args:
      samples: semitones, NaN for a rest. `[B, T]`.
      references: the same. `[R, T]`.

    Returns:
      Semitones squared; NaN where no pair sounds together. Exact, by moments of each position.
    """
    x, y = (_moments(each) for each in (samples, references))
    pairs = (x[0] * y[0]).sum()
    total = (x[2] * y[0] + y[2] * x[0] - 2.0 * x[1] * y[1]).sum()
    return float(total / pairs) if pairs else float("nan")


def nearest_pitch_mse(samples: np.ndarray, references: np.ndarray) -> float:
    """Mean over samples of the mean squared difference to the nearest reference.

    Args:
      samples: semitones, NaN for a rest. `[B, T]`.
      references: the same. `[R, T]`.

    Returns:
      Semitones squared; samples that sound together with no reference do not count; NaN where none
      does.
    """
    pitch, sounds = _filled(references)
    nearest = []
    for start in range(0, len(samples), _BLOCK):
        own, own_sounds = _filled(samples[start : start + _BLOCK])
        together = own_sounds @ sounds.T
        total = own**2 @ sounds.T + own_sounds @ (pitch**2).T - 2.0 * own @ pitch.T
        # Rounding may leave an exact copy a hair below 0.
        mean = np.maximum(total, 0.0) / np.maximum(together, 1.0)
        nearest.append(np.where(together > 0, mean, np.inf).min(axis=1))
    each = np.concatenate(nearest)
    each = each[np.isfinite(each)]
    return float(each.mean()) if each.size else float("nan")


def _filled(melodies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pitches with 0 for rests, about a middle that spares precision, and which positions sound."""
    sounds = ~np.isnan(melodies)
    return np.where(sounds, melodies - 64.0, 0.0), sounds.astype(np.float64)


def _moments(melodies: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count, sum and sum of squares of each position, `[T]` each."""
    pitch, sounds = _filled(melodies)
    return sounds.sum(axis=0), pitch.sum(axis=0), (pitch**2).sum(axis=0)
