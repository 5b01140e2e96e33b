"""Signs that a player is failing, in what a round has measured, and what to change then."""

from __future__ import annotations

from collections.abc import Mapping

# D is certain: right of all it is trained on, but for what dropout spoils.
_CERTAIN = 0.99
# Rewards that differ by a hundredth of a probability's range tell the generator next to nothing,
# and what is left of them after a baseline is noise, which Adam follows at its full rate. The logit
# and the likelihood ratio are not squeezed where D is certain, and so are seldom that close.
_SPREAD = 0.01
# Of the entropy of real data. A generator that has their distribution has all of it; the sharpest
# run of use in docs/results.md (captions) has 0.55, and the one that collapsed (PG-BLEU) 0.18.
_ENTROPY = 0.25
# Of the different sequences that as many real ones are: a generator with less repeats itself more
# than once for each that is new.
_DISTINCT = 0.5


def warnings(metrics: Mapping[str, float], distinct_real: float) -> dict[str, str]:
    """What a round's metrics warn of.

    Args:
      metrics: of the round, evaluated or not; each sign is looked for where its metrics are there.
      distinct_real: different sequences of as many real ones as there are samples, as a share of
        the samples; of fewer, where there are not as many.

    Returns:
      A sentence by the kind of failure, "saturation" or "collapse"; nothing of a healthy round.
    """
    found = {"saturation": _saturation(metrics), "collapse": _collapse(metrics, distinct_real)}
    return {kind: words for kind, words in found.items() if words}


def _saturation(metrics: Mapping[str, float]) -> str:
    """Of a discriminator whose rewards are all alike."""
    accuracy, spread = metrics.get("d_accuracy", 0.0), metrics.get("reward_std", 1.0)
    if accuracy < _CERTAIN or spread >= _SPREAD:
        return ""
    return (
        f"the discriminator is right about {accuracy:.1%} of what it is trained on, and its "
        f"rewards differ by only +- {spread:.2g}: they tell the generator next to nothing; train "
        "it less (schedule.d_steps, schedule.d_epochs, training.d_learning_rate), or give "
        "training.reward=logit where the method takes a reward"
    )


def _collapse(metrics: Mapping[str, float], distinct_real: float) -> str:
    """Of a generator that says little else than a few sequences."""
    if "entropy" not in metrics:
        return ""
    # Of an oracle's data the entropy is known, of others NLL_test is a bound. It grows where a
    # generator forgets real sequences: the lower of the two.
    real = min(metrics["nll_test"], metrics.get("nll_oracle_floor", metrics["nll_test"]))
    entropy, distinct = metrics["entropy"], metrics["distinct"]
    if entropy >= _ENTROPY * real and distinct >= _DISTINCT * distinct_real:
        return ""
    return (
        f"the generator collapses: entropy {entropy:.2f} nats per token where real data have "
        f"about {real:.2f}, {distinct:.1%} of its samples different where of real ones "
        f"{distinct_real:.1%} are; end sooner (schedule.rounds), lower training.g_learning_rate, "
        "or give entropy more weight (training.reward_entropy, of a likelihood ratio)"
    )
