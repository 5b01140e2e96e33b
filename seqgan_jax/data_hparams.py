"""Settings of the data: an oracle's, a text file's, or MIDI files'; `kind` says which."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from seqgan_jax.checked import Checked, ConfigError, field


@dataclasses.dataclass(frozen=True)
class OracleDataHParams(Checked):
    """Sequences drawn from an oracle (see configs/oracle.py for what each field means)."""

    kind: str = field("oracle", choices=("oracle",))
    oracle_path: str = ""
    seed: int = field(0, at_least=0, at_most=2**32 - 1)
    vocab_size: int = field(5000, at_least=2)
    length: int = field(20, at_least=1)
    oracle_embed_dim: int = field(32, at_least=1)
    oracle_hidden_dim: int = field(32, at_least=1)
    num_train: int = field(10_000, at_least=1)
    num_test: int = field(10_000, at_least=1)


@dataclasses.dataclass(frozen=True)
class TextDataHParams(Checked):
    """A text file, one sequence a line (see configs/text.py for what each field means)."""

    kind: str = field("text", choices=("text",))
    path: str = ""
    test_path: str = ""
    test_fraction: float = field(0.1, above=0.0, below=1.0)
    seed: int = field(0, at_least=0, at_most=2**32 - 1)
    level: str = field("word", choices=("word", "whitespace", "character"))
    normal_form: str = field("NFC", choices=("NFC", "NFKC", "none"))
    lowercase: bool = False
    drop_punctuation: bool = False
    drop_spaces: bool = False
    max_size: int = field(5000, at_least=5)
    min_count: int = field(1, at_least=1)
    min_length: int = field(1, at_least=1)
    max_length: int = field(32, at_least=1)
    too_long: str = field("drop", choices=("drop", "cut"))
    tokens_per_line: int = field(0, at_least=0)

    def __post_init__(self) -> None:
        """Checks the lengths against each other."""
        super().__post_init__()
        if self.min_length > self.max_length:
            raise ConfigError(
                f"min_length={self.min_length}: above max_length; "
                f"the nearest right value is {self.max_length}"
            )
        if self.drop_spaces and self.level != "character":
            raise ConfigError(
                f"drop_spaces=True: level={self.level!r} has no tokens of space; give False"
            )


@dataclasses.dataclass(frozen=True)
class MusicDataHParams(Checked):
    """Melodies in MIDI files (see configs/music.py for what each field means)."""

    kind: str = field("music", choices=("music",))
    path: str = ""
    test_path: str = ""
    test_fraction: float = field(0.1, above=0.0, below=1.0)
    seed: int = field(0, at_least=0, at_most=2**32 - 1)
    seconds_per_step: float = field(0.4, above=0.0, at_most=60.0)
    length: int = field(32, at_least=2)
    stride: int = field(32, at_least=1)


DataHParams = OracleDataHParams | TextDataHParams | MusicDataHParams


class DataSizes(NamedTuple):
    """What models and schedules must know of the data."""

    vocab_size: int
    length: int  # T, the end token included where there is one
    num_train: int
    num_test: int
