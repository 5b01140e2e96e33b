"""The list of compiled calls that a run consists of."""

import pytest

from seqgan_jax.hparams import ScheduleHParams
from seqgan_jax.methods.method import Method, draws_batch, draws_nothing
from seqgan_jax.methods.policy_gradient import searches
from seqgan_jax.methods.scheduled_sampling import draws_inputs
from seqgan_jax.training.plan import (
    ADVERSARIAL,
    D_PRETRAIN,
    G_PRETRAIN,
    UNITS,
    Call,
    Work,
    calls,
    phase_lengths,
    work_of,
)

SMALL = ScheduleHParams(
    g_pretrain_epochs=2, d_pretrain_steps=1, rounds=2, d_steps=2, batch_size=4, d_samples=10
)


def drawing(**draws):
    """A method of which only the draws are asked for."""
    return Method(*[None] * 4, **draws)


def test_calls_in_order():
    assert calls(SMALL) == [
        ("g_pretrain", 1, "pretrain_generator_epoch", True),
        ("g_pretrain", 2, "pretrain_generator_epoch", True),
        ("d_pretrain", 1, "discriminator_epochs", True),
        ("adversarial", 1, "generator_steps", False),
        ("adversarial", 1, "discriminator_epochs", False),
        ("adversarial", 1, "discriminator_epochs", True),
        ("adversarial", 2, "generator_steps", False),
        ("adversarial", 2, "discriminator_epochs", False),
        ("adversarial", 2, "discriminator_epochs", True),
    ]


def test_a_round_without_d_steps_ends_with_its_generator_steps():
    schedule = ScheduleHParams(g_pretrain_epochs=0, d_pretrain_steps=0, rounds=2, d_steps=0)
    assert calls(schedule) == [
        ("adversarial", 1, "generator_steps", True),
        ("adversarial", 2, "generator_steps", True),
    ]


def test_a_run_may_have_no_phase_at_all():
    assert calls(ScheduleHParams(g_pretrain_epochs=0, d_pretrain_steps=0, rounds=0)) == []


@pytest.mark.parametrize("schedule", [SMALL, ScheduleHParams()])
def test_every_unit_of_every_phase_ends_exactly_once(schedule):
    ended = [(call.phase, call.unit) for call in calls(schedule) if call.ends_unit]
    expected = [
        (phase, unit)
        for phase, length in phase_lengths(schedule).items()
        for unit in range(1, length + 1)
    ]
    assert ended == expected


def test_phase_lengths_of_the_paper_in_the_order_of_algorithm_1():
    assert list(phase_lengths(ScheduleHParams()).items()) == [
        ("g_pretrain", 120),
        ("d_pretrain", 50),
        ("adversarial", 200),
    ]
    # 120 + 50 + 200 * (1 + 5)
    assert len(calls(ScheduleHParams())) == 1370


def test_every_phase_has_a_name_for_its_units():
    assert UNITS == {"g_pretrain": "epoch", "d_pretrain": "d_step", "adversarial": "round"}
    assert list(UNITS) == [G_PRETRAIN, D_PRETRAIN, ADVERSARIAL]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # 25 // 8 = 3 batches of 8 sequences of 5 tokens; the odd one out is not learned from.
        ("pretrain_generator_epoch", Work(3, 0, 0, 0, 120)),
        # 3 passes of 20 // 4 batches; 10 negatives of 5 tokens, however many passes.
        ("discriminator_epochs", Work(0, 15, 10, 50, 50)),
        # 2 steps of 8 sequences: 5 tokens each, and 3 rollouts of 4 + 3 + 2 + 1 tokens.
        ("generator_steps", Work(2, 0, 2 * 8 * 13, 2 * 8 * 35, 2 * 8 * 35)),
    ],
)
def test_work_of(name, expected):
    schedule = ScheduleHParams(batch_size=8, g_steps=2, d_samples=10, d_epochs=3, d_batch_size=4)
    call = Call("any", 1, name, True)
    method = drawing(drawn=searches(3))
    assert work_of(call, schedule, length=5, num_train=25, method=method) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # 3 updates, which draw 4 tokens for each of 8 rows, beside the 5 that these learn.
        ("pretrain_generator_epoch", Work(3, 0, 0, 3 * 8 * 4, 3 * 8 * 5)),
        # 10 negatives, and 4 relaxed ones in each of the 15 updates.
        ("discriminator_epochs", Work(0, 15, 10 + 15 * 4, 5 * 70, 5 * 70)),
    ],
)
def test_what_other_steps_draw_is_counted_too(name, expected):
    schedule = ScheduleHParams(batch_size=8, g_steps=2, d_samples=10, d_epochs=3, d_batch_size=4)
    method = drawing(drawn_to_pretrain=draws_inputs, drawn_to_judge=draws_batch)
    call = Call("any", 1, name, True)
    assert work_of(call, schedule, length=5, num_train=25, method=method) == expected


def test_a_single_token_needs_no_rollout():
    assert searches(16)(8, 1) == (8, 8)


def test_what_draws_nothing_learns_from_its_batch():
    schedule = ScheduleHParams(batch_size=8, g_steps=2)
    call = Call(ADVERSARIAL, 1, "generator_steps", True)
    work = work_of(call, schedule, length=5, num_train=25, method=drawing(drawn=draws_nothing))
    assert work == Work(2, 0, 0, 0, 80)
