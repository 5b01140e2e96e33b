"""Self-BLEU counted once for all against NLTK's, sentence by sentence, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqgan_jax.benchmark import timing
from seqgan_jax.checked import UserError
from seqgan_jax.metrics.bleu_score import BleuReferences
from seqgan_jax.types import Sequences

ORDERS = (2, 3, 4, 5)

_VOCAB_SIZE = 6000  # about what 10,000 captions of COCO hold
_MEAN_LENGTH, _SHORTEST, _LONGEST = 11, 7, 20
_RUNS = 5


class Comparison(NamedTuple):
    """Seconds of self-BLEU-2..5 of the same captions in both ways."""

    num_sequences: int
    seconds: float  # ours, median
    nltk_seconds: float  # one run
    largest_difference: float  # of any score; the two compute the same

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.nltk_seconds / self.seconds


def captions(num_sequences: int, seed: int) -> Sequences:
    """Sequences like captions: words of Zipf's law, about 11 of them. `[num_sequences, 20]`."""
    rng = np.random.default_rng(seed)
    shares = 1.0 / np.arange(1, _VOCAB_SIZE + 1)
    size = (num_sequences, _LONGEST)
    tokens = rng.choice(_VOCAB_SIZE, size, p=shares / shares.sum()).astype(np.int32)
    lengths = np.clip(rng.poisson(_MEAN_LENGTH, num_sequences), _SHORTEST, _LONGEST)
    return Sequences(tokens, np.arange(_LONGEST) < lengths[:, None])


def seconds(num_sequences: int, seed: int, runs: int = _RUNS) -> float:
    """Median seconds of self-BLEU-2..5 of captions, without NLTK."""
    samples = captions(num_sequences, seed)
    return timing.median_seconds(lambda: _own_scores(samples), runs)


def measure(num_sequences: int, seed: int) -> Comparison:
    """Self-BLEU-2..5 of captions by `BleuReferences` and by NLTK.

    NLTK gets all orders in one call a sentence, its fastest way; its references are the lists of
    all other sentences. It takes time quadratic in their number: a minute or two for 1,000.

    Args:
      num_sequences: at least 2.
      seed: of the captions.

    Returns:
      Both times.

    Raises:
      UserError: NLTK is not installed.
    """
    sentence_bleu, smoothing = _load_nltk()
    samples = captions(num_sequences, seed)
    sentences = [row[real].tolist() for row, real in zip(samples.tokens, samples.mask, strict=True)]
    begun = time.perf_counter()
    theirs = _nltk_scores(sentence_bleu, smoothing, sentences)
    nltk_seconds = time.perf_counter() - begun
    return Comparison(
        num_sequences,
        timing.median_seconds(lambda: _own_scores(samples), _RUNS),
        nltk_seconds,
        float(np.abs(_own_scores(samples) - theirs).max()),
    )


def line(comparison: Comparison) -> str:
    """The comparison in a few words."""
    return (
        f"self-BLEU-2..5 of {comparison.num_sequences:,} sequences: {comparison.seconds:.4g} s, "
        f"NLTK {comparison.nltk_seconds:.4g} s, {comparison.ratio:,.0f} times as long; "
        f"scores differ by {comparison.largest_difference:.1g} at most"
    )


def lines() -> Iterator[str]:
    """The comparison at 1,000 captions, then ours alone at 10,000, each once it is measured."""
    yield line(measure(1_000, seed=0))
    yield f"self-BLEU-2..5 of 10,000 sequences: {seconds(10_000, seed=0):.4g} s"


def _own_scores(samples: Sequences) -> np.ndarray:
    return BleuReferences(samples, ORDERS[-1]).own_scores()[ORDERS[0] - 1 :]


def _nltk_scores(
    sentence_bleu: Callable[..., Any], smoothing: Any, sentences: Sequence[list[int]]
) -> np.ndarray:
    """`[len(ORDERS), len(sentences)]`."""
    weights = [(1.0 / order,) * order for order in ORDERS]
    scores = [
        sentence_bleu(
            [*sentences[:index], *sentences[index + 1 :]],
            sentence,
            weights=weights,
            smoothing_function=smoothing,
        )
        for index, sentence in enumerate(sentences)
    ]
    return np.array(scores).T


def _load_nltk() -> tuple[Callable[..., Any], Any]:
    """NLTK's sentence BLEU and its smoothing method 1, an optional dependency."""
    try:
        from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    except ImportError as error:
        raise UserError("this compares with nltk: pip install -e '.[test]'") from error
    return sentence_bleu, SmoothingFunction().method1
