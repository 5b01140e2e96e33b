"""Makes one config fit data of any size."""

from __future__ import annotations

import dataclasses
import math

from seqgan_jax.capacity import most_written
from seqgan_jax.checked import ConfigError
from seqgan_jax.data_hparams import DataSizes
from seqgan_jax.hparams import HParams, check_sizes


def fitted(hparams: HParams, sizes: DataSizes) -> tuple[HParams, list[str]]:
    """Lowers what asks for more than the data give.

    Args:
      hparams: the experiment.
      sizes: of its data, read from files.

    Returns:
      The settings that the run goes by, and one sentence on each that was lowered.

    Raises:
      ConfigError: a setting that cannot be lowered, such as filters that are all too wide.
    """
    schedule, settings = hparams.schedule, hparams.discriminator
    d_samples = min(schedule.d_samples, sizes.num_train)
    limits = {
        "batch_size": min(schedule.batch_size, sizes.num_train),
        "d_samples": d_samples,
        "d_batch_size": min(schedule.d_batch_size, 2 * d_samples),
    }
    lowered = [
        f"schedule.{name} lowered from {getattr(schedule, name)} to {value}, all that the data give"
        for name, value in limits.items()
        if value < getattr(schedule, name)
    ]
    filters = tuple(pair for pair in settings.filters if pair[0] <= sizes.length)
    if len(filters) < len(settings.filters) and settings.kind == "text_cnn":
        lowered.append(f"discriminator.filters wider than {sizes.length}, the length, left out")
        if not filters:
            raise ConfigError(
                f"config.discriminator.filters={settings.filters}: none fits sequences of "
                f"length {sizes.length}"
            )
        settings = dataclasses.replace(settings, filters=filters)
    evaluation, most = hparams.evaluation, most_written(sizes.length)
    if evaluation.num_written > most:
        lowered.append(
            f"evaluation.num_written lowered from {evaluation.num_written} to {most}, all that are "
            "drawn at once"
        )
        evaluation = dataclasses.replace(evaluation, num_written=most)
    training, uniform = hparams.training, math.log(sizes.vocab_size)
    if training.reward == "likelihood_ratio" and training.reward_min_nll >= uniform:
        # As for captions, of which the limit is 0.6 times what real sequences have; less is known.
        limit = round(0.6 * uniform, 2)
        lowered.append(
            f"training.reward_min_nll lowered from {training.reward_min_nll} to {limit}, 0.6 of "
            f"the {uniform:.2f} nats of uniform tokens"
        )
        training = dataclasses.replace(training, reward_min_nll=limit)
    schedule = dataclasses.replace(schedule, **limits)
    result = dataclasses.replace(
        hparams,
        discriminator=settings,
        schedule=schedule,
        evaluation=evaluation,
        training=training,
    )
    check_sizes(result, sizes)
    return result, lowered


def advice(hparams: HParams, nll_test: float) -> str | None:
    """What to say of settings once maximum likelihood has ended, if they do not suit the data.

    Args:
      hparams: the experiment.
      nll_test: of the generator then, nats per token.

    Returns:
      A sentence, or None.
    """
    training = hparams.training
    if hparams.schedule.rounds == 0 or training.reward != "likelihood_ratio":
        return None
    if training.reward_min_nll < nll_test:
        return None
    return (
        f"warning: training.reward_min_nll={training.reward_min_nll} is not below the generator's "
        f"NLL_test of {nll_test:.2f}: real sequences are likelier than what is rewarded, so that "
        f"only entropy is; give less, such as {0.6 * nll_test:.1f}, or 0 for no limit"
    )
