"""Files of sequences that anybody wrote, to compare with those of a run."""

from __future__ import annotations

import numpy as np

from seqgan_jax.checked import DataError
from seqgan_jax.data.corpus import padded
from seqgan_jax.data.dataset import Codec
from seqgan_jax.data.lines import read_blocks
from seqgan_jax.types import Sequences


def read_sequences(path: str, codec: Codec, length: int) -> tuple[Sequences, tuple[str, ...]]:
    """Reads sequences that anybody wrote, one a line, or as stanzas apart by blank lines.

    Lines that stand together are a stanza where each but the last has the codec's
    `tokens_per_line`, as `layout` writes them; a file of one such group alone counts as a stanza
    only where that fits into the length. Where sequences have an end and `tokens_per_line` is 0, a
    blank line is an empty sequence, of the end token alone, but for those at the end of the file.

    Args:
      path: a UTF-8 text file.
      codec: encodes a line; what it lacks becomes its unknown token.
      length: T. A sequence that leaves no room for an end token has none, as one that a generator
        has not ended within T; what is longer than T is cut.

    Returns:
      Tokens and mask `[B, T]`, the end token inside the mask, and what was skipped or cut.

    Raises:
      DataError: the file cannot be read or holds no sequence, or the codec refuses a token.
    """
    groups = _encoded_groups(path, codec)
    number = sum(max(len(group), 1) for group in groups)
    end = [] if codec.end_token is None else [codec.end_token]
    room = length - len(end)
    per_line = getattr(codec, "tokens_per_line", 0)
    empty = 0
    if end and not per_line:
        while groups and not groups[-1]:
            del groups[-1]
        empty = groups.count([])
        groups = [group or [[]] for group in groups]
    groups = [group for group in groups if group]
    if not groups:
        raise DataError(f"{path}: holds no sequence; give one a line")
    skipped = number - sum(map(len, groups))
    found: list[list[int]] = []
    for group in groups:
        size = sum(map(len, group))
        full = all(len(line) == per_line for line in group[:-1]) and len(group[-1]) <= per_line
        if 0 < per_line < room and full and (len(groups) > 1 or size <= room):
            group = [[token for line in group for token in line]]
        found += group
    long = sum(1 for ids in found if len(ids) > length)
    short = sum(1 for ids in found if len(ids) < room) if codec.end_token is None else 0
    unknown = 0 if codec.unknown_token is None else sum(x.count(codec.unknown_token) for x in found)
    notes = [
        (empty, f"{empty:,} of {number:,} lines blank: empty sequences."),
        (skipped, f"{skipped:,} of {number:,} lines blank: skipped."),
        (long, f"{long:,} of {len(found):,} sequences longer than {length} tokens: cut."),
        (short, f"{short:,} of {len(found):,} sequences shorter than {room} tokens."),
        (unknown, f"{unknown:,} of {sum(map(len, found)):,} tokens unknown."),
    ]
    rows = [ids + end if len(ids) <= room else ids[:length] for ids in found]
    ids = np.array([token for row in rows for token in row], np.int32)
    sequences = padded(ids, np.array([len(row) for row in rows]), length, codec.pad_token)
    return sequences, tuple(note for number, note in notes if number)


def _encoded_groups(path: str, codec: Codec) -> list[list[list[int]]]:
    """Encoded lines that stand together; an empty group for every blank line."""
    groups: list[list[list[int]]] = []
    together = False
    for first, lines in read_blocks(path):
        for number, line in enumerate(lines, first):
            try:
                ids = codec.encode(line) if line else []
            except DataError as error:
                raise DataError(f"{path}:{number}: {error}") from None
            if not ids:
                groups.append([])
            elif together:
                groups[-1].append(ids)
            else:
                groups.append([ids])
            together = bool(ids)
    return groups
