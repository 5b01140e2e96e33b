"""What a few seeds say of a mean, and of two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.stats

_LEVEL = 0.95


def interval(values: Sequence[float]) -> float | None:
    """Half the 95 % interval of the mean, by Student's t with n - 1 degrees; None of one value."""
    if len(values) < 2:
        return None
    quantile = scipy.stats.t.ppf(0.5 + _LEVEL / 2, len(values) - 1)
    return float(quantile * np.std(values, ddof=1) / np.sqrt(len(values)))


def welch(one: Sequence[float], other: Sequence[float]) -> float | None:
    """p of Welch's two-sided t-test that two means are equal; None where a sample has no spread."""
    if min(len(set(one)), len(set(other))) < 2:
        return None
    return float(scipy.stats.ttest_ind(one, other, equal_var=False).pvalue)
