"""Stops a run whose numbers are none."""

from __future__ import annotations

import math
from collections.abc import Mapping

from seqgan_jax.training import plan


class DivergedError(RuntimeError):
    """A loss or gradient is NaN or infinite; says where."""


def check_finite(call: plan.Call, folder: str, values: Mapping[str, float]) -> None:
    """Refuses metrics of a call that are NaN or infinite.

    Raises:
      DivergedError: names phase, unit and metrics.
    """
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if bad:
        raise DivergedError(
            f"{call.phase} {plan.UNITS[call.phase]} {call.unit}: {', '.join(bad)} is not "
            f"finite; the newest checkpoint in {folder} is from before it. "
            "Lower the learning rate, in another --workdir"
        )
