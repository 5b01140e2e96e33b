"""Settings of the data: an oracle's, a text file's, or MIDI files'; `kind` says which."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

from seqgan_jax.checked import Checked, ConfigError, field

# Bounds that no use reaches; without them a slip of the keyboard asks for all memory there is.
MAX_WIDTH = 2**14  # of a model's layers
MAX_SEQUENCES = 10**8
MAX_VOCABULARY = 10**7
MAX_LENGTH = 10**6  # characters of a line that is read, steps of a melody
_MAX_PARAMETERS = 2**32  # of one recurrent model
_MAX_POSITIONS = 10**10


@dataclasses.dataclass(frozen=True)
class OracleDataHParams(Checked):
    """Sequences drawn from an oracle (see configs/oracle.py for what each field means)."""

    kind: str = field("oracle", choices=("oracle",))
    oracle_path: str = ""
    seed: int = field(0, at_least=0, at_most=2**32 - 1)
    vocab_size: int = field(5000, at_least=2, at_most=MAX_VOCABULARY)
    length: int = field(20, at_least=1, at_most=MAX_LENGTH)
    oracle_embed_dim: int = field(32, at_least=1, at_most=MAX_WIDTH)
    oracle_hidden_dim: int = field(32, at_least=1, at_most=MAX_WIDTH)
    num_train: int = field(10_000, at_least=1, at_most=MAX_SEQUENCES)
    num_test: int = field(10_000, at_least=1, at_most=MAX_SEQUENCES)


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
    max_size: int = field(5000, at_least=5, at_most=MAX_VOCABULARY)
    min_count: int = field(1, at_least=1, at_most=10**9)
    min_length: int = field(1, at_least=1, at_most=MAX_LENGTH)
    max_length: int = field(32, at_least=1, at_most=MAX_LENGTH)
    too_long: str = field("drop", choices=("drop", "cut"))
    tokens_per_line: int = field(0, at_least=0, at_most=MAX_LENGTH)

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
    seconds_per_step: float = field(0.4, at_least=0.001, at_most=60.0)
    length: int = field(32, at_least=2, at_most=MAX_LENGTH)
    stride: int = field(32, at_least=1, at_most=MAX_LENGTH)


DataHParams = OracleDataHParams | TextDataHParams | MusicDataHParams


class DataSizes(NamedTuple):
    """What models and schedules must know of the data."""

    vocab_size: int
    length: int  # T, the end token included where there is one
    num_train: int
    num_test: int


def check_memory(sizes: DataSizes, dims: Mapping[str, tuple[int, int]]) -> None:
    """Refuses what is in range by itself and together is more than a device holds.

    Args:
      sizes: of the data.
      dims: E and H of each model, by its name in the settings.

    Raises:
      ConfigError: a model or the data would be too large; names the sizes.
    """
    for name, (embed_dim, hidden_dim) in dims.items():
        parameters = (embed_dim + hidden_dim) * (sizes.vocab_size + 4 * hidden_dim)
        if parameters > _MAX_PARAMETERS:
            raise ConfigError(
                f"{name}: embed_dim={embed_dim} and hidden_dim={hidden_dim} with "
                f"data.vocab_size={sizes.vocab_size} make {parameters:,} parameters; must be at "
                f"most {_MAX_PARAMETERS:,}"
            )
    positions = (sizes.num_train + sizes.num_test) * sizes.length
    if positions > _MAX_POSITIONS:
        raise ConfigError(
            f"data.num_train={sizes.num_train}, data.num_test={sizes.num_test}: with "
            f"data.length={sizes.length} they have {positions:,} positions; must be at most "
            f"{_MAX_POSITIONS:,}"
        )
