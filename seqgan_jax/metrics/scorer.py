"""All that is measured of sequences by their tokens alone, against real ones."""

from __future__ import annotations

import functools

import numpy as np

from seqgan_jax.metrics import distance, diversity
from seqgan_jax.metrics.bleu_score import BleuReferences
from seqgan_jax.metrics.ngrams import on_host
from seqgan_jax.types import Samples, Sequences

ORDERS = (2, 3, 4, 5)  # of BLEU
_NEVER = -1  # an id that matches nothing


def words(
    sequences: Samples | Sequences, end_token: int | None, unknown_token: int | None = None
) -> Sequences:
    """Sequences as metrics count them: without the end token, the unknown token matching nothing.

    Args:
      sequences: tokens and mask `[B, T]`.
      end_token: left out of the mask; None where there is none.
      unknown_token: replaced by an id that equals no token, so that a sample's unknown word is not
        taken for a reference's; None replaces nothing.
    """
    tokens, mask = on_host(sequences)
    if end_token is not None:
        mask = mask & (tokens != end_token)
    if unknown_token is not None:
        tokens = np.where(tokens == unknown_token, _NEVER, tokens)
    return Sequences(tokens, mask)


class Scorer:
    """Scores samples against held-out real sequences and the training data; counts these once.

    Args of the constructor:
      train: training sequences `[R, T]`.
      test: held-out sequences, the references of BLEU, `[R', T]`.
      end_token: ends sequences; it is no word. None where there is none.
      unknown_token: matches nothing in BLEU against real sequences, since it is no word of theirs;
        in self-BLEU it is a word like any other, since to repeat it is no variety. None where there
        is none.
    """

    def __init__(
        self,
        train: Samples | Sequences,
        test: Samples | Sequences,
        end_token: int | None = None,
        unknown_token: int | None = None,
    ) -> None:
        self._end, self._unknown = end_token, unknown_token
        self._train, self._test = words(train, end_token), words(test, end_token)

    @functools.cached_property
    def _references(self) -> BleuReferences:
        return BleuReferences(words(self._test, None, self._unknown), max_order=ORDERS[-1])

    @functools.cached_property
    def _copied(self) -> diversity.CopiedFraction:
        return diversity.CopiedFraction(*self._train)

    def bleu(self, samples: Samples | Sequences) -> dict[str, float]:
        """Mean BLEU-2..5 against the held-out sequences: `bleu_2` and so on."""
        scores = self._references.scores(words(samples, self._end, self._unknown))
        return {f"bleu_{order}": float(scores[order - 1].mean()) for order in ORDERS}

    def held_out_bleu(self) -> dict[str, float]:
        """The same of the held-out sequences, each against all others of them."""
        scores = self._references.own_scores()
        return {f"bleu_{order}": float(scores[order - 1].mean()) for order in ORDERS}

    def self_bleu(self, samples: Samples | Sequences) -> dict[str, float]:
        """Mean self-BLEU-2..5. It grows with the number of samples: compare equal numbers."""
        own = BleuReferences(words(samples, self._end), max_order=ORDERS[-1]).own_scores()
        return {f"self_bleu_{order}": float(own[order - 1].mean()) for order in ORDERS}

    def backward_bleu(self, samples: Samples | Sequences) -> dict[str, float]:
        """Mean BLEU-2..5 of the held-out sequences against the samples: what they miss lowers it.

        Like self-BLEU it grows with the number of samples.
        """
        own = BleuReferences(words(samples, self._end, self._unknown), max_order=ORDERS[-1])
        scores = own.scores(words(self._test, None, self._unknown))
        return {f"backward_bleu_{order}": float(scores[order - 1].mean()) for order in ORDERS}

    def variety(self, samples: Samples | Sequences) -> dict[str, float]:
        """How samples differ among themselves, from the training data, and in length and n-grams.

        `distinct_1..4` and `unique_ngrams_4` grow or fall with the number of samples too.
        """
        samples = words(samples, self._end)
        result = {f"distinct_{n}": diversity.distinct_n(samples, n) for n in (1, 2, 3, 4)}
        result["unique_ngrams_4"] = float(diversity.unique_ngrams(samples, 4))
        result["duplicates"] = diversity.duplicate_rate(samples)
        result["copied_sequences"] = diversity.copied_sequences(samples, self._train)
        result["copied_ngrams"] = self.copied_ngrams(samples)
        result["mean_length"] = self.mean_length(samples)
        result["length_distance"] = distance.length_distance(samples, self._test)
        for n in (1, 2, 3, 4):
            result[f"jsd_{n}"] = distance.jensen_shannon_divergence(samples, self._test, n)
        return result

    def copied_ngrams(self, samples: Samples | Sequences) -> float:
        """Share of the samples' n-grams, of 8 or half of T, that stand in the training data."""
        return self._copied(*words(samples, self._end))

    def mean_length(self, samples: Samples | Sequences) -> float:
        """In tokens, the end token not counted."""
        return float(words(samples, self._end).mask.sum(axis=1).mean())
