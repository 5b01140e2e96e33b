"""One run's pre-training as the start of another, whose own would be the same to the bit.

A run's randomness is folded from its seed and the number of steps, so that methods that pre-train
alike are at the same place after it. Nothing of what comes later is taken over.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from seqgan_jax.methods.state import TrainState
from seqgan_jax.training import trained, writers
from seqgan_jax.training.run_folder import RunFolder

# Of the state, what pre-training changes.
_PRETRAINED = ("step", "generator", "rollout", "mle_opt_state", "best")


def take_over(
    runs: Sequence[RunFolder], fresh: Sequence[TrainState], folders: Sequence[str]
) -> list[TrainState]:
    """Puts runs where the pre-training of others has ended.

    Args:
      runs: nothing of them has been trained; their lines of metrics, budget, seconds and
        `pretrained/` become those of the others.
      fresh: their initial states.
      folders: of the others, of the same seeds, data, settings and way to pre-train.

    Returns:
      The states after pre-training; discriminators and the methods' own optimisers as in `fresh`.
    """
    states = []
    for run, state, folder in zip(runs, fresh, folders, strict=True):
        other = trained.read(folder, pretrained=True)
        taken = {name: getattr(other.state, name) for name in _PRETRAINED}
        states.append(dataclasses.replace(state, **taken))
        number, run.progress = other.progress.lines, dataclasses.replace(other.progress, lines=0)
        run.begin(0)
        run.replay(writers.read_metrics(folder)[:number])
        run.save_pretrained(states[-1])
    return states
