"""What a training method is: pure functions of one shape, bound to their models and settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from seqgan_jax.methods.state import TrainState
from seqgan_jax.types import Array, LabelledBatch, Metrics, Samples


class Method(NamedTuple):
    """A training method; each function can be jitted, and vmapped over a leading axis of seeds.

    Attributes:
      init_state: `key -> state`.
      pretrain_generator_step: `(state, real sequences) -> (state, metrics)`.
      generator_step: `(state, real sequences) -> (state, metrics)`.
      discriminator_step: `(state, labelled sequences) -> (state, metrics)`.
      end_round: `state -> state`, after the last step of an adversarial round.
    """

    init_state: Callable[[Array], TrainState]
    pretrain_generator_step: Callable[[TrainState, Samples], tuple[TrainState, Metrics]]
    generator_step: Callable[[TrainState, Samples], tuple[TrainState, Metrics]]
    discriminator_step: Callable[[TrainState, LabelledBatch], tuple[TrainState, Metrics]]
    end_round: Callable[[TrainState], TrainState]
