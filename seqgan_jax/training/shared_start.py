"""One run's pre-training as the start of another, whose own would be the same.

A run's randomness is folded from its seed and the number of steps, so that methods that pre-train
alike are at the same place after it. Nothing of what comes later is taken over.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from seqgan_jax.methods.state import TrainState
from seqgan_jax.training import trained, writers
from seqgan_jax.training.experiment import Experiment
from seqgan_jax.training.plan import G_PRETRAIN
from seqgan_jax.training.run_folder import RunFolder
from seqgan_jax.training.sharding import Layout

# Of the state, what pre-training changes.
_PRETRAINED = ("step", "generator", "rollout", "mle_opt_state", "best")


def origin(experiment: Experiment, runs: Sequence[RunFolder], layout: Layout) -> dict[str, Any]:
    """What pre-training depends on beside the settings, in values that JSON carries.

    The seeds that are trained together are part of it: rounding differs with their number, and
    early stopping waits for the last of them. So are the devices, for their rounding.
    """
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves((experiment.train, experiment.test)):
        digest.update(np.asarray(leaf).tobytes())
    return {
        "seeds": [run.seed for run in runs],
        "data": digest.hexdigest(),
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "mesh": [layout.data, layout.model],
    }


def note(runs: Sequence[RunFolder], given: dict[str, Any]) -> None:
    """Notes the origin of runs; none where an earlier sitting began them with another."""
    for run in runs:
        begun = run.progress.calls > 0
        run.progress.origin = {} if begun and run.progress.origin != given else given


def take_over(
    runs: Sequence[RunFolder], fresh: Sequence[TrainState], folders: Sequence[str]
) -> list[TrainState] | None:
    """Puts runs where the pre-training of others has ended, if those are of the same origin.

    Args:
      runs: nothing of them has been trained; their lines of metrics, budget, seconds and
        `pretrained/` become those of the others.
      fresh: their initial states.
      folders: of the others, of the same seeds, settings and way to pre-train.

    Returns:
      The states after pre-training; discriminators and the methods' own optimisers as in `fresh`.
      None, and nothing is done, where an origin differs.
    """
    others = [trained.read(folder, pretrained=True) for folder in folders]
    pairs = zip(runs, others, strict=True)
    if any(run.progress.origin != other.progress.origin for run, other in pairs):
        return None
    states = []
    for run, state, other, folder in zip(runs, fresh, others, folders, strict=True):
        taken = {name: getattr(other.state, name) for name in _PRETRAINED}
        states.append(dataclasses.replace(state, **taken))
        lines = writers.read_metrics(folder)[: other.progress.lines]
        run.progress = dataclasses.replace(other.progress, lines=0)
        run.begin(0)
        run.replay([line for line in lines if line["phase"] == G_PRETRAIN])
        run.save_pretrained(states[-1], run.progress.seconds)
    return states
