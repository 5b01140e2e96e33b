"""How well a discriminator tells real sequences from generated ones; NumPy on its logits."""

from __future__ import annotations

import numpy as np


def accuracy(real_logits: np.ndarray, fake_logits: np.ndarray) -> float:
    """Mean accuracy over real `[B]` and generated `[B']` sequences alike; a logit of 0 is half."""
    real = (real_logits > 0).mean() + 0.5 * (real_logits == 0).mean()
    fake = (fake_logits < 0).mean() + 0.5 * (fake_logits == 0).mean()
    return float(0.5 * (real + fake))


def area_under_curve(real_logits: np.ndarray, fake_logits: np.ndarray) -> float:
    """Area under the ROC: the chance that a real one scores above a generated one, ties half."""
    ordered = np.sort(fake_logits)
    below = np.searchsorted(ordered, real_logits, side="left")
    not_above = np.searchsorted(ordered, real_logits, side="right")
    return float((below + not_above).mean() / (2 * len(ordered)))
