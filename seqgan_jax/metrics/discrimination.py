"""How well a discriminator tells real sequences from generated ones; NumPy on its logits."""

from __future__ import annotations

import numpy as np


def accuracy(real_logits: np.ndarray, fake_logits: np.ndarray) -> float:
    """Mean of the accuracies on real `[B]` and on generated `[B']` sequences; a logit of 0 is half."""
    real = (real_logits > 0).mean() + 0.5 * (real_logits == 0).mean()
    fake = (fake_logits < 0).mean() + 0.5 * (fake_logits == 0).mean()
    return float(0.5 * (real + fake))


def area_under_curve(real_logits: np.ndarray, fake_logits: np.ndarray) -> float:
    """Chance that a real sequence scores above a generated one, ties half: the area under the ROC."""
    ordered = np.sort(fake_logits)
    below = np.searchsorted(ordered, real_logits, side="left")
    not_above = np.searchsorted(ordered, real_logits, side="right")
    return float((below + not_above).mean() / (2 * len(ordered)))
