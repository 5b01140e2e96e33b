"""What settings ask for together, each in range by itself, and what no device holds of it."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence

from seqgan_jax.checked import ConfigError, shown

MAX_DRAWN = 20_000_000  # positions of sequences drawn in one call and then written
_MAX_PARAMETERS = 2**32  # on a device; an optimiser has two moments of each beside it
_MAX_SEARCHED = 15 * 10**9  # numbers of completions that are live at a time, on a device


def recurrent_parameters(vocab_size: int, embed_dim: int, hidden_dim: int) -> int:
    """Of a language model of so many tokens, E and H, biases left out."""
    return (embed_dim + hidden_dim) * (vocab_size + 4 * hidden_dim)


def cnn_parameters(vocab_size: int, embed_dim: int, filters: Sequence[tuple[int, int]]) -> int:
    """Of a text CNN of so many tokens, E and (width, number) of filters, biases left out."""
    size = sum(number for _, number in filters)
    convolutions = sum(width * number for width, number in filters) * embed_dim
    return vocab_size * embed_dim + convolutions + 2 * size**2


def check_filters(vocab_size: int, embed_dim: int, filters: Sequence[tuple[int, int]]) -> None:
    """Refuses a text CNN that is too large.

    Raises:
      ConfigError: names the filters, and how many of each width would do.
    """

    def fits(most: int) -> bool:
        few = [(width, min(number, most)) for width, number in filters]
        return cnn_parameters(vocab_size, embed_dim, few) <= _MAX_PARAMETERS

    largest = max(number for _, number in filters)
    if fits(largest):
        return
    most = _largest(fits, largest)
    remedy = (
        f"the nearest right number of each width is {most}" if most else "give a smaller embed_dim"
    )
    raise ConfigError(
        f"discriminator.filters={shown(filters)}: with discriminator.embed_dim={embed_dim} and "
        f"data.vocab_size={vocab_size} they make "
        f"{cnn_parameters(vocab_size, embed_dim, filters):,} parameters; must be at most "
        f"{_MAX_PARAMETERS:,}; {remedy}"
    )


def check_seeds(num_seeds: int, parameters: int, devices: int) -> None:
    """Refuses more runs than are trained together.

    Args:
      num_seeds: S.
      parameters: of both players of one.
      devices: that the config's mesh names, at least 1.

    Raises:
      ConfigError: names how many would do.
    """
    most = max(1, _MAX_PARAMETERS * devices // parameters)
    if num_seeds > most:
        raise ConfigError(
            f"num_seeds={num_seeds}: with {parameters:,} parameters each they have "
            f"{num_seeds * parameters:,}; must be at most {_MAX_PARAMETERS:,} a device of "
            f"mesh.data and mesh.model; the nearest right value is {most}"
        )


def check_search(
    length: int, hidden_dim: int, batch_size: int, devices: int, num_rollouts: int, chunk: int
) -> None:
    """Refuses a Monte Carlo search of too many completions at a time.

    Args:
      length: T.
      hidden_dim: H of the rollout policy.
      batch_size: B.
      devices: that the config's mesh names, at least 1.
      num_rollouts: N.
      chunk: rollouts a prefix that are live at a time.

    Raises:
      ConfigError: names the largest chunk that would do.
    """
    # What bin/benchmark.py --plan finds of a slot, which completes two prefixes, and a sequence.
    slot = 4 * length + 10 * hidden_dim

    def searched(chunk: int) -> int:
        return -(-chunk * (length - 1) // 2) * batch_size * slot

    live = min(chunk, num_rollouts)
    if searched(live) <= _MAX_SEARCHED * devices:
        return
    most = _largest(lambda number: searched(number) <= _MAX_SEARCHED * devices, live)
    remedy = (
        f"the nearest right value is {most}"
        if most
        else f"give a smaller schedule.batch_size={batch_size}, or more devices"
    )
    raise ConfigError(
        f"training.rollout_chunk={chunk}: completions of data.length={length} and "
        f"schedule.batch_size={batch_size} make {searched(live):,} numbers at a time; must be at "
        f"most {_MAX_SEARCHED:,} a device of mesh.data and mesh.model; {remedy}"
    )


def most_written(length: int) -> int:
    """Sequences of length T that are drawn in one call, to be written."""
    return max(1, MAX_DRAWN // length)


def check_written(num_written: int, length: int) -> None:
    """Refuses more samples than are drawn in one call.

    Raises:
      ConfigError: names how many would do.
    """
    most = most_written(length)
    if num_written > most:
        raise ConfigError(
            f"evaluation.num_written={num_written}: with data.length={length} more than the "
            f"{MAX_DRAWN:,} positions that are drawn at once; the nearest right value is {most}"
        )


def _largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number in 1..most that fits, where all below it do; 0 where none does."""
    return bisect.bisect_left(range(1, most + 1), True, key=lambda number: not fits(number))
