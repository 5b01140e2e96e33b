"""What a training method is: pure functions of one shape, bound to their models and settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from seqgan_jax.methods.state import TrainState
from seqgan_jax.types import Array, LabelledBatch, Metrics, Samples


class Drawn(NamedTuple):
    """What a step draws from the generator: the budget that methods are compared by."""

    sequences: int  # finished ones, each completion of Monte Carlo search among them
    tokens: int


def draws_batch(batch_size: int, length: int) -> Drawn:
    """Of a method that draws a batch of sequences a generator step, and searches nothing."""
    return Drawn(batch_size, batch_size * length)


def draws_nothing(batch_size: int, length: int) -> Drawn:
    """Of a step that learns from what it is given."""
    del batch_size, length
    return Drawn(0, 0)


def same_state(state: TrainState) -> TrainState:
    """The `end_round` of a method that has nothing to do then."""
    return state


class Method(NamedTuple):
    """A training method; each function can be jitted, and vmapped over a leading axis of seeds.

    Attributes:
      init_state: `key -> state`.
      pretrain_generator_step: `(state, real sequences) -> (state, metrics)`.
      generator_step: `(state, real sequences) -> (state, metrics)`.
      discriminator_step: `(state, labelled sequences) -> (state, metrics)`.
      end_round: `state -> state`, after the last step of an adversarial round.
      uses_discriminator: whether `generator_step` asks a discriminator; without, none is trained.
      is_verdict: whether the discriminator's logit says how likely a sequence is real; that of a
        critic or a ranker does not, and its accuracy is not measured.
      drawn: `(batch_size, length) -> Drawn`, of one `generator_step`.
      drawn_to_pretrain: likewise, of one `pretrain_generator_step`.
      drawn_to_judge: likewise, of one `discriminator_step`, beside the batch that it is given.
    """

    init_state: Callable[[Array], TrainState]
    pretrain_generator_step: Callable[[TrainState, Samples], tuple[TrainState, Metrics]]
    generator_step: Callable[[TrainState, Samples], tuple[TrainState, Metrics]]
    discriminator_step: Callable[[TrainState, LabelledBatch], tuple[TrainState, Metrics]]
    end_round: Callable[[TrainState], TrainState] = same_state
    uses_discriminator: bool = True
    is_verdict: bool = True
    drawn: Callable[[int, int], Drawn] = draws_batch
    drawn_to_pretrain: Callable[[int, int], Drawn] = draws_nothing
    drawn_to_judge: Callable[[int, int], Drawn] = draws_nothing
