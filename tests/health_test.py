"""Warnings: of rounds that fail, and of no other."""

import dataclasses
from types import SimpleNamespace

import pytest
from numbers_run import SHORT
from tiny_run import metric_lines, run

from seqgan_jax.training import health
from seqgan_jax.training.checkpoint import Progress
from seqgan_jax.training.units import Units

# Evaluated rounds of docs/results.md and README.md, at their end.
ORACLE = {"nll_oracle_floor": 5.76}
HEALTHY = {
    "oracle, SeqGAN": ORACLE | {"entropy": 7.42, "nll_test": 7.62, "distinct": 1.0},
    "oracle, WGAN": ORACLE | {"entropy": 6.70, "nll_test": 7.66, "distinct": 0.999},
    "captions, SeqGAN": {"entropy": 2.42, "nll_test": 4.36, "distinct": 0.999},
    "melodies, SeqGAN": {"entropy": 1.50, "nll_test": 2.14, "distinct": 0.9},
    "poems, SeqGAN": {"entropy": 4.43, "nll_test": 6.68, "distinct": 1.0},
    "smoke": {"entropy": 5.17, "nll_test": 4.96, "nll_oracle_floor": 3.40, "distinct": 1.0},
    "discriminator alone": {"d_accuracy_train": 1.0},
}  # fmt: skip
COLLAPSED = {
    "oracle, PG-BLEU": ORACLE | {"entropy": 1.02, "nll_test": 11.85, "distinct": 0.816},
    "a single sequence": {"entropy": 0.0, "nll_test": 9.0, "distinct": 0.0001},
    "a few, each at random": {"entropy": 2.0, "nll_test": 4.0, "distinct": 0.3},
}  # fmt: skip
# Of a discriminator; rewards are probabilities.
UNCERTAIN = {"d_accuracy": 0.75, "reward_std": 0.004}
USEFUL = {"d_accuracy": 0.999, "reward_std": 0.05}
SATURATED = {"d_accuracy": 0.999, "reward_std": 0.004}


@pytest.mark.parametrize("of_generator", HEALTHY)
@pytest.mark.parametrize("of_discriminator", [{}, UNCERTAIN, USEFUL])
def test_healthy_rounds_warn_of_nothing(of_generator, of_discriminator):
    assert health.warnings(HEALTHY[of_generator] | of_discriminator, 1.0) == {}


@pytest.mark.parametrize("name", COLLAPSED)
def test_a_collapse_is_told_with_its_figures(name):
    words = health.warnings(COLLAPSED[name], 0.99)
    assert list(words) == ["collapse"]
    assert f"entropy {COLLAPSED[name]['entropy']:.2f} nats" in words["collapse"]
    assert "99.0%" in words["collapse"]
    assert "training.g_learning_rate" in words["collapse"]


def test_what_real_data_repeat_a_generator_may_repeat():
    few = {"entropy": 1.0, "nll_test": 1.0, "distinct": 0.02}
    assert health.warnings(few, 0.03) == {}
    assert "collapse" in health.warnings(few, 0.05)


def test_saturation_is_told_where_nothing_is_evaluated_too():
    words = health.warnings(SATURATED, 1.0)
    assert list(words) == ["saturation"]
    for part in ("99.9%", "+- 0.004", "schedule.d_steps", "training.reward=logit"):
        assert part in words["saturation"]
    assert list(health.warnings(SATURATED | COLLAPSED["a single sequence"], 1.0)) == [
        "saturation", "collapse"
    ]  # fmt: skip


def test_a_run_warns_of_a_collapse_once(tmp_path):
    """A reward of 1 for all at a rate of 1 makes what is drawn first likelier, and nothing else."""
    collapsing = dataclasses.replace(
        SHORT,
        method="constant_reward",
        training=dataclasses.replace(SHORT.training, g_learning_rate=1.0),
        evaluation=dataclasses.replace(SHORT.evaluation, eval_every=1),
        schedule=dataclasses.replace(SHORT.schedule, rounds=3, g_steps=8),
    )
    told = [line for line in run(collapsing, tmp_path).splitlines() if "warning: " in line]
    assert len(told) == 1
    assert f"{tmp_path}: warning: the generator collapses: entropy" in told[0]
    lines = [line for line in metric_lines(tmp_path) if line["phase"] == "adversarial"]
    assert ["collapse" in health.warnings(line, 1.0) for line in lines] == [True] * 3


def test_of_several_seeds_the_failing_one_is_named():
    runs, told = [SimpleNamespace(seed=s, folder="", progress=Progress()) for s in (5, 6)], []
    opened = SimpleNamespace(runs=runs, experiment=None, schedule=None)
    units = Units(opened, SimpleNamespace(distinct_real=1.0), told.append, None)
    for _ in range(2):
        units._warn([UNCERTAIN, SATURATED])
    assert len(told) == 1
    assert [run.progress.warned for run in runs] == [[], ["saturation"]]  # nor after resuming
    assert told[0].startswith("warning: seed 6: the discriminator is right about 99.9% of what")
