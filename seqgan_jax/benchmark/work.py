"""What each phase cannot do without: FLOP of its matrix products, and exponentials.

A product of [a, b] and [b, c] is 2 a b c FLOP; a gradient step is its forward pass three times.
"""

from __future__ import annotations

from seqgan_jax.benchmark.limits import Work
from seqgan_jax.hparams import HParams

_GATES = {"lstm": 4, "gru": 3}


def recurrence(hparams: HParams) -> Work:
    """One token through the generator's cell."""
    return _recurrence(hparams, hparams.model.embed_dim, hparams.model.hidden_dim)


def token(hparams: HParams) -> Work:
    """One token drawn, or its likelihood: the cell, V logits and their exponentials."""
    return _token(hparams, hparams.model.embed_dim, hparams.model.hidden_dim)


def _recurrence(hparams: HParams, embed_dim: int, hidden_dim: int) -> Work:
    return Work(2.0 * (embed_dim + hidden_dim) * _GATES[hparams.model.cell] * hidden_dim)


def _token(hparams: HParams, embed_dim: int, hidden_dim: int) -> Work:
    vocab_size = hparams.sizes.vocab_size
    output = Work(2.0 * hidden_dim * vocab_size, vocab_size)
    return _recurrence(hparams, embed_dim, hidden_dim) + output


def _density(hparams: HParams) -> Work:
    """One sequence's likelihood under a density."""
    settings = hparams.discriminator
    each = _token(hparams, settings.embed_dim, settings.hidden_dim)
    return each.times(hparams.sizes.length)


def sequences(hparams: HParams, number: int) -> Work:
    """So many sequences drawn, or their likelihoods."""
    return token(hparams).times(number * hparams.sizes.length)


def generator_gradient(hparams: HParams) -> Work:
    """One gradient of a batch's likelihood; the exponentials serve forward and backward."""
    work = sequences(hparams, hparams.schedule.batch_size)
    return Work(3.0 * work.flop, work.exponentials)


def judged(hparams: HParams) -> Work:
    """One sequence judged by a learnt reward: windows, highway, output; or two likelihoods."""
    settings, length = hparams.discriminator, hparams.sizes.length
    if settings.kind == "density":
        return _density(hparams) + sequences(hparams, 1)
    windows = sum(
        2.0 * (length - width + 1) * width * settings.embed_dim * number
        for width, number in settings.filters
    )
    features = sum(number for _, number in settings.filters)
    units = 2 if settings.softmax_head else 1
    return Work(windows + 4.0 * features**2 + 2.0 * features * units)


def discriminator_gradient(hparams: HParams) -> Work:
    """One step of the discriminator; a density's gradient needs the generator's likelihood once."""
    batch_size = hparams.schedule.d_batch_size
    if hparams.discriminator.kind == "density":
        own = _density(hparams)
        a_row = Work(3.0 * own.flop, own.exponentials) + sequences(hparams, 1)
        return a_row.times(batch_size)
    return judged(hparams).times(3.0 * batch_size)


def completions(hparams: HParams) -> int:
    """Sequences that the discriminator judges in one g-step: N of each prefix, and the finished."""
    return hparams.schedule.batch_size * (
        hparams.training.num_rollouts * (hparams.sizes.length - 1) + 1
    )


def draws(hparams: HParams) -> int:
    """Tokens that Monte Carlo search of one batch draws: N T (T - 1) / 2 a sequence."""
    length = hparams.sizes.length
    return (
        hparams.schedule.batch_size * hparams.training.num_rollouts * (length * (length - 1) // 2)
    )


def action_values(hparams: HParams) -> Work:
    """Monte Carlo search of one batch (Eq. 4)."""
    prefixes = recurrence(hparams).times(hparams.schedule.batch_size * hparams.sizes.length)
    drawn = token(hparams).times(draws(hparams))
    return prefixes + drawn + judged(hparams).times(completions(hparams))


def generator_step(hparams: HParams) -> Work:
    """One g-step: draw a batch, search, one gradient."""
    drawn = sequences(hparams, hparams.schedule.batch_size)
    return drawn + action_values(hparams) + generator_gradient(hparams)


def discriminator_steps(hparams: HParams) -> int:
    """Gradient steps in one d-step of the schedule."""
    schedule = hparams.schedule
    return schedule.d_epochs * (2 * schedule.d_samples // schedule.d_batch_size)


def discriminator_epochs(hparams: HParams) -> Work:
    """One d-step of the schedule: fresh negatives, then every epoch's gradient steps."""
    gradients = discriminator_gradient(hparams).times(discriminator_steps(hparams))
    return sequences(hparams, hparams.schedule.d_samples) + gradients
