"""What reading data gives: encoded sequences, and the codec between tokens and people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from seqgan_jax.types import Sequences

# Called with the share of the work that is done, in [0, 1], now and then.
Progress = Callable[[float], None]


class Codec(Protocol):
    """Turns sequences into token ids and back; saved with a run as `vocabulary.json`.

    Attributes:
      kind: by which `codecs.codec_from_json` finds the class again.
      vocab_size: V.
      start_token: fed before the first position.
      end_token: ends a sequence; None where all sequences have one length.
      pad_token: fills the positions behind the end.
      pad_is_token: whether the padding is also a token that sequences have.
      unknown_token: stands for what the vocabulary lacks; None where it lacks nothing.
    """

    kind: str
    vocab_size: int
    start_token: int
    end_token: int | None
    pad_token: int
    pad_is_token: bool
    unknown_token: int | None

    def encode(self, text: str, *, strict: bool = False) -> list[int]:
        """Token ids of one sequence, as `decode` writes it, without an end token.

        Args:
          text: one line.
          strict: refuse what the vocabulary lacks instead of taking the unknown token for it.

        Raises:
          DataError: a token cannot be encoded; the message names it, not the file.
        """
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """One line for one sequence of ids; the end token and all behind it are left out."""
        ...

    def layout(self, ids: Sequence[int]) -> str:
        """The same as a person reads it, perhaps on several lines."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Plain values, `kind` among them, that rebuild the codec."""
        ...


class Dataset(NamedTuple):
    """Encoded data of one experiment.

    All sequences have one length T in memory; `mask` says where they end.
    """

    train: Sequences  # [num_train, T]
    test: Sequences  # [num_test, T]
    codec: Codec
    notes: tuple[str, ...]  # one sentence each on what was dropped, cut or skipped, and why
