"""Sequences that are ids already, such as an oracle's: written as numbers apart by spaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seqgan_jax.checked import DataError, shown
from seqgan_jax.data_hparams import MAX_VOCABULARY


class IdCodec:
    """Ids in `[0, V)`, all sequences of one length: no end token, nothing unknown."""

    kind: str = "ids"
    pad_is_token: bool = True

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.start_token = 0
        self.end_token: int | None = None
        self.pad_token = 0
        self.unknown_token: int | None = None

    def encode(self, text: str, *, strict: bool = False) -> list[int]:
        """Reads ids apart by spaces.

        Raises:
          DataError: one is no number or outside the vocabulary, strict or not.
        """
        del strict
        ids = []
        for word in text.split():
            # The length first: Python refuses to read numbers of thousands of digits.
            fits = len(word) <= 10 and word.isascii() and word.isdigit()
            if not fits or int(word) >= self.vocab_size:
                raise DataError(f"{word[:40]!r} is no id; must be in 0..{self.vocab_size - 1}")
            ids.append(int(word))
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The ids apart by spaces."""
        return " ".join(str(int(token)) for token in ids)

    def layout(self, ids: Sequence[int]) -> str:
        """The same as `decode`."""
        return self.decode(ids)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `id_codec_from_json`."""
        return {"kind": self.kind, "vocab_size": self.vocab_size}


def id_codec_from_json(values: dict[str, Any]) -> IdCodec:
    """Rebuilds the codec.

    Raises:
      DataError: no vocabulary size, or one out of range.
    """
    vocab_size = values.get("vocab_size")
    if type(vocab_size) is not int or not 1 <= vocab_size <= MAX_VOCABULARY:
        raise DataError(
            f"vocab_size={shown(vocab_size)}: must be a number of at least 1 and "
            f"at most {MAX_VOCABULARY}"
        )
    return IdCodec(vocab_size)
