"""The phases of a run as one numbered list of compiled calls.

The number of finished calls is all that a resumed run needs to know of where it was.
"""

from __future__ import annotations

from typing import NamedTuple

from seqgan_jax.hparams import ScheduleHParams

G_PRETRAIN, D_PRETRAIN, ADVERSARIAL = "g_pretrain", "d_pretrain", "adversarial"
# What one unit of a phase is called in logs.
UNITS = {G_PRETRAIN: "epoch", D_PRETRAIN: "d_step", ADVERSARIAL: "round"}


class Call(NamedTuple):
    """One compiled call."""

    phase: str
    unit: int  # 1-based: which epoch, d-step or round
    name: str  # "pretrain_generator_epoch", "generator_steps" or "discriminator_epochs"
    ends_unit: bool


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


def tokens_of(
    call: Call, schedule: ScheduleHParams, length: int, num_rollouts: int, num_train: int
) -> int:
    """Tokens that a call draws, or, for maximum likelihood, learns from."""
    if call.name == "pretrain_generator_epoch":
        return num_train // schedule.batch_size * schedule.batch_size * length
    if call.name == "discriminator_epochs":
        return schedule.d_samples * length
    rollout = num_rollouts * length * (length - 1) // 2
    return schedule.g_steps * schedule.batch_size * (length + rollout)
