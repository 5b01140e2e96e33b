"""The phases of a run as one numbered list of compiled calls.

The number of finished calls is all that a resumed run needs to know of where it was.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from seqgan_jax.hparams import ScheduleHParams
from seqgan_jax.methods.method import Method

G_PRETRAIN, D_PRETRAIN, ADVERSARIAL = "g_pretrain", "d_pretrain", "adversarial"
# What one unit of a phase is called in logs.
UNITS = {G_PRETRAIN: "epoch", D_PRETRAIN: "d_step", ADVERSARIAL: "round"}


class Call(NamedTuple):
    """One compiled call."""

    phase: str
    unit: int  # 1-based: which epoch, d-step or round
    name: str  # "pretrain_generator_epoch", "generator_steps" or "discriminator_epochs"
    ends_unit: bool


def without_idle_steps(schedule: ScheduleHParams, method: Method) -> ScheduleHParams:
    """The schedule without the steps of a discriminator that the method never asks."""
    if method.uses_discriminator:
        return schedule
    return dataclasses.replace(schedule, d_pretrain_steps=0, d_steps=0)


def phase_lengths(schedule: ScheduleHParams) -> dict[str, int]:
    """Units a phase, in the order in which the phases run (arXiv 1609.05473, Alg. 1)."""
    return {
        G_PRETRAIN: schedule.g_pretrain_epochs,
        D_PRETRAIN: schedule.d_pretrain_steps,
        ADVERSARIAL: schedule.rounds,
    }


def calls(schedule: ScheduleHParams) -> list[Call]:
    """All calls of a run, in order."""
    a_round = ["generator_steps"] + ["discriminator_epochs"] * schedule.d_steps
    names = {
        G_PRETRAIN: ["pretrain_generator_epoch"],
        D_PRETRAIN: ["discriminator_epochs"],
        ADVERSARIAL: a_round,
    }
    return [
        Call(phase, unit, name, index == len(names[phase]) - 1)
        for phase, length in phase_lengths(schedule).items()
        for unit in range(1, length + 1)
        for index, name in enumerate(names[phase])
    ]


# The budget in a line of metrics, the first of Work.
BUDGET = ("generator_updates", "discriminator_updates", "sequences_drawn", "tokens_drawn")


class Work(NamedTuple):
    """What a call does: the budget that methods are compared by."""

    g_updates: int
    d_updates: int
    # From the generator, completions of Monte Carlo search among them: one of each prefix below T,
    # those of an ended sequence, which are the sequence itself, too.
    sequences_drawn: int
    tokens_drawn: int
    tokens: int  # drawn, or, by what draws no sequences, learnt from


def work_of(
    call: Call, schedule: ScheduleHParams, length: int, num_train: int, method: Method
) -> Work:
    """What a call does.

    Args:
      call: the call.
      schedule: of the run.
      length: T.
      num_train: training sequences.
      method: says what its steps draw.
    """
    batch_size = schedule.batch_size
    if call.name == "pretrain_generator_epoch":
        updates = num_train // batch_size
        each = method.drawn_to_pretrain(batch_size, length)
        learnt = updates * batch_size * length
        return Work(updates, 0, updates * each.sequences, updates * each.tokens, learnt)
    if call.name == "discriminator_epochs":
        updates = schedule.d_epochs * (2 * schedule.d_samples // schedule.d_batch_size)
        each = method.drawn_to_judge(schedule.d_batch_size, length)
        sequences = schedule.d_samples + updates * each.sequences
        tokens = schedule.d_samples * length + updates * each.tokens
        return Work(0, updates, sequences, tokens, tokens)
    steps, each = schedule.g_steps, method.drawn(batch_size, length)
    tokens = steps * each.tokens
    learnt = tokens if each.sequences else steps * batch_size * length
    return Work(steps, 0, steps * each.sequences, tokens, learnt)
