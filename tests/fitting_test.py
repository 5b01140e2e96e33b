"""One config on data of any size."""

import dataclasses

import pytest

from seqgan_jax import hparams as hp
from seqgan_jax.checked import ConfigError
from seqgan_jax.data_hparams import DataSizes, TextDataHParams
from seqgan_jax.training.fitting import advice, fitted

TEXT = hp.HParams(data=TextDataHParams(path="x"))


def test_enough_data_change_nothing():
    assert fitted(TEXT, DataSizes(5000, 20, 10_000, 10)) == (TEXT, [])


def test_little_data_lower_what_asks_for_more():
    result, notes = fitted(TEXT, DataSizes(100, 6, 40, 5))
    assert result.schedule.batch_size == 40
    assert result.schedule.d_samples == 40
    assert result.schedule.d_batch_size == 64  # 80 sequences, real and generated, are there
    assert [width for width, _ in result.discriminator.filters] == [1, 2, 3, 4, 5, 6]
    assert len(notes) == 3
    assert "schedule.batch_size lowered from 64 to 40" in notes[0]
    assert result.evaluation == TEXT.evaluation  # BLEU's references need not be as many
    again, none = fitted(result, DataSizes(100, 6, 40, 5))
    assert (again, none) == (result, [])


def test_what_cannot_be_lowered_is_refused():
    wide = dataclasses.replace(TEXT, discriminator=hp.DiscriminatorHParams(filters=((9, 2),)))
    with pytest.raises(ConfigError, match=r"filters=\(\(9, 2\),\): none fits .* length 6"):
        fitted(wide, DataSizes(100, 6, 40, 5))


def test_a_limit_that_no_sequence_passes_is_lowered():
    """ln 100 = 4.61; a vocabulary of the largest size keeps it."""
    density = dataclasses.replace(
        TEXT,
        discriminator=hp.DiscriminatorHParams(kind="density"),
        training=hp.TrainingHParams(reward="likelihood_ratio", reward_min_nll=5.0, d_l2=0.0),
    )
    result, notes = fitted(density, DataSizes(100, 6, 40, 5))
    assert result.training.reward_min_nll == 2.76
    assert "reward_min_nll lowered from 5.0 to 2.76, 0.6 of the 4.61 nats" in notes[-1]
    assert fitted(density, DataSizes(5_000, 20, 10_000, 10)) == (density, [])


@pytest.mark.parametrize(
    ("reward", "limit", "nll_test", "said"),
    [
        ("likelihood_ratio", 2.5, 4.1, False),
        ("likelihood_ratio", 2.5, 1.5, True),  # characters, under the limit for words
        ("probability", 2.5, 1.5, False),
        ("likelihood_ratio", 0.0, 1.5, False),
    ],
)
def test_a_limit_above_what_real_data_have_is_warned_of(reward, limit, nll_test, said):
    hparams = dataclasses.replace(
        TEXT,
        discriminator=hp.DiscriminatorHParams(kind="density"),
        training=hp.TrainingHParams(reward=reward, reward_min_nll=limit, d_l2=0.0),
    )
    words = advice(hparams, nll_test)
    assert (words is not None) == said
    if words is not None:
        assert "reward_min_nll=2.5" in words
        assert "such as 0.9" in words
