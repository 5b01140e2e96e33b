"""What each metric is called, which way is better, and what it must be read with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

HIGHER, LOWER, NEAREST, NEITHER = "↑", "↓", "≈", ""
DIRECTIONS = {
    HIGHER: "higher is better",
    LOWER: "lower is better",
    NEAREST: "best near that of real, held-out data",
    NEITHER: "neither higher nor lower is better",
}


class Column(NamedTuple):
    """A metric as tables show it."""

    key: str
    title: str
    block: str  # columns of one block stand together where a table is split
    better: str  # a key of DIRECTIONS
    meaning: str
    digits: int = 3

    @property
    def head(self) -> str:
        """Title and direction."""
        return f"{self.title} {self.better}".rstrip()


_LIKELIHOOD, _BLEU = "Likelihoods", "BLEU and self-BLEU"
_COVERAGE, _VARIETY, _COPIES = "Coverage", "Variety", "Copies and lengths"
_DISTANCE, _JUDGES = "Distance from held-out data", "Other judges"

COLUMNS = (
    Column(
        "nll_oracle", "NLL_oracle", _LIKELIHOOD, LOWER,
        "negative log-likelihood of the samples under the oracle, nats per token; quality. Of real "
        "data it is the floor",
    ),
    Column(
        "nll_test", "NLL_test", _LIKELIHOOD, LOWER,
        "negative log-likelihood of held-out data under the generator, nats per token; diversity",
    ),
    Column(
        "entropy", "entropy", _LIKELIHOOD, NEITHER,
        "negative log-likelihood of the samples under the generator itself, nats per token; below "
        "NLL_test the generator is sharper than the data, above it broader",
    ),
    *(
        Column(
            f"bleu_{n}", f"BLEU-{n}", _BLEU, HIGHER,
            "n-grams up to n of a sample found in held-out data, 0 to 1; quality",
        )
        for n in (2, 3, 4, 5)
    ),
    *(
        Column(
            f"self_bleu_{n}", f"self-BLEU-{n}", _BLEU, LOWER,
            "n-grams up to n of a sample found in the other samples, 0 to 1; diversity, though far "
            "below that of real data it is noise",
        )
        for n in (2, 3, 4, 5)
    ),
    *(
        Column(
            f"backward_bleu_{n}", f"backward BLEU-{n}", _COVERAGE, HIGHER,
            "n-grams up to n of held-out data found in the samples, 0 to 1; coverage",
        )
        for n in (2, 3, 4, 5)
    ),
    *(
        Column(
            f"distinct_{n}", f"distinct-{n}", _VARIETY, NEAREST,
            "different n-grams as a share of all n-grams of the samples",
        )
        for n in (1, 2, 3, 4)
    ),
    Column(
        "unique_ngrams_4", "unique 4-grams", _VARIETY, NEAREST, "number of different 4-grams", 0
    ),
    Column(
        "duplicates", "duplicates", _COPIES, NEAREST, "share of samples that repeat an earlier one"
    ),
    Column(
        "copied_sequences", "copied whole", _COPIES, NEAREST,
        "share of samples that stand whole in the training data; above real data it is memory",
    ),
    Column(
        "copied_ngrams", "copied n-grams", _COPIES, NEAREST,
        "share of the samples' long n-grams (8, or half of T) that stand in the training data", 4,
    ),
    Column(
        "mean_length", "length", _COPIES, NEAREST, "mean tokens a sequence, the end not counted", 2
    ),
    Column(
        "length_distance", "length distance", _COPIES, LOWER,
        "Wasserstein-1 distance of the lengths from those of held-out data, tokens", 2,
    ),
    *(
        Column(
            f"jsd_{n}", f"JSD-{n}", _DISTANCE, LOWER,
            "Jensen-Shannon divergence of the n-grams from those of held-out data, nats",
        )
        for n in (1, 2, 3, 4)
    ),
    Column(
        "lm_score", "LM score", _JUDGES, LOWER,
        "negative log-likelihood of the samples under a model trained on real data, nats per "
        "token; quality",
    ),
    Column(
        "reverse_lm_score", "reverse LM score", _JUDGES, LOWER,
        "negative log-likelihood of held-out data under a model trained on the samples, nats per "
        "token; quality and diversity",
    ),
    Column(
        "pitch_mse", "pitch MSE", _JUDGES, NEAREST,
        "mean squared difference in pitch of a sample and a held-out melody, semitones²", 2,
    ),
    Column(
        "nearest_pitch_mse", "nearest pitch MSE", _JUDGES, NEAREST,
        "the same to the nearest held-out melody, semitones²", 2,
    ),
)  # fmt: skip
BY_KEY = {column.key: column for column in COLUMNS}


def legend(columns: Sequence[Column]) -> list[tuple[str, str]]:
    """What each column means, those that differ in their order n alone in one entry."""
    entries: dict[str, list[Column]] = {}
    for column in columns:
        entries.setdefault(column.meaning, []).append(column)
    found = []
    for meaning, alike in entries.items():
        titles = [alike[0].title, *(f"-{column.title[-1]}" for column in alike[1:])]
        head = f"{', '.join(titles)} {alike[0].better}".rstrip()
        found.append((head, f"{meaning}; {DIRECTIONS[alike[0].better]}."))
    return found


def read_together(keys: Collection[str]) -> list[str]:
    """Which of the columns say nothing alone, a sentence each."""
    found = []
    if "nll_oracle" in keys:
        found.append(
            "NLL_oracle never alone: one likely sequence, drawn again and again, has a low one. "
            "Read NLL_test and entropy beside it."
        )
    if any(key.startswith("bleu_") for key in keys):
        found.append(
            "BLEU never without self-BLEU: samples all alike can have a high BLEU. Read self-BLEU "
            "of the same order beside it, and both against real training data, which a perfect "
            "generator would resemble. BLEU of real, held-out data is leave-one-out: each test "
            "sequence against all others, which may be its neighbours in one source."
        )
    if "lm_score" in keys:
        found.append(
            "LM score never without reverse LM score: the first rewards quality alone, the second "
            "falls behind where variety is missing."
        )
    if "pitch_mse" in keys:
        found.append(
            "Pitch MSE only beside that of real, held-out data: a generator that never leaves the "
            "mean pitch has the least."
        )
    if any(key.startswith(("self_bleu_", "distinct_", "unique_", "backward_")) for key in keys):
        found.append(
            "Self-BLEU, backward BLEU, distinct-n and unique 4-grams move with the number of "
            "samples: compare equal numbers."
        )
    return found
