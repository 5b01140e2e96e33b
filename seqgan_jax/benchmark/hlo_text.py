"""The text of a compiled XLA program as computations, instructions and arrays."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

_HEADER = re.compile(r"(ENTRY )?%?([\w.\-]+)(?: \(.*)? \{$")
_LINE = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = (.+)$")
_ARRAY = re.compile(r"([a-z]\w*)\[([^\]]*)\]")
_WORD = re.compile(r"%?([\w.\-]+)$")


class Array(NamedTuple):
    """An array's type; `dims` are its dimensions, none for a scalar."""

    dtype: str  # XLA's name, f32 or pred
    dims: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.dims)

    @property
    def bytes(self) -> int:
        """Its size in memory, 0 for tokens."""
        bits = re.search(r"\d+", self.dtype)
        return (self.size * (int(bits[0]) if bits else 8 * (self.dtype == "pred")) + 7) // 8

    def counts(self) -> bool:
        """Whether it may be a loop's counter: one integer."""
        return not self.dims and re.fullmatch(r"[su]\d+", self.dtype) is not None


class Instruction(NamedTuple):
    """One line of a computation."""

    name: str
    kind: str  # XLA's name of the operation, without -start
    arrays: tuple[Array, ...]  # its result's, flat
    operands: tuple[str, ...]  # names of instructions in the same computation
    literal: str  # between its brackets: a constant's value, a parameter's number
    attributes: str  # all after that
    root: bool  # whether its result is the computation's

    @property
    def bytes(self) -> int:
        """Of its result's arrays together."""
        return sum(array.bytes for array in self.arrays)

    def computation(self, attribute: str) -> str:
        """The computation that an attribute names; ValueError where there is none."""
        found = re.search(rf"\b{attribute}=%?([\w.\-]+)", self.attributes)
        if not found:
            raise ValueError(f"{self.kind} {self.name} has no {attribute}")
        return found[1]

    def branches(self) -> tuple[str, ...]:
        """The computations of a conditional; ValueError where it names none."""
        listed = re.search(r"branch_computations=\{([^}]*)\}", self.attributes)
        if listed:
            return tuple(name.strip(" %") for name in listed[1].split(","))
        return self.computation("true_computation"), self.computation("false_computation")

    def window(self) -> dict[str, list[int]]:
        """What a convolution's window says of each spatial axis; of `pad` what comes before it."""
        found = re.search(r"window=\{([^}]*)\}", self.attributes)
        fields = [field.split("=") for field in found[1].split()] if found else []
        return {name: [int(n.split("_")[0]) for n in axes.split("x")] for name, axes in fields}

    def group_size(self) -> int | None:
        """Devices in the largest group of a collective; None where the text lists no groups."""
        listed = re.search(r"replica_groups=\{(\{[\d,]+\}(?:,\{[\d,]+\})*)\}", self.attributes)
        if listed:
            return max(group.count(",") + 1 for group in listed[1].split("},{"))
        # Groups, and the size of each.
        tiled = re.search(r"replica_groups=\[\d+,(\d+)\]<=", self.attributes)
        if tiled:
            return int(tiled[1])
        # From jax 0.12 on: the mesh's axes that a group runs along; of one split, 'axis':(n)size.
        named = re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", self.attributes)
        if not named:
            return None
        sizes = {axis: int(size) for axis, size in re.findall(r"'(\w+)'=(\d+)", named[1])}
        along = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", named[2])
        return math.prod(int(part) if part else sizes[axis] for axis, part in along)


Body = dict[str, Instruction]  # a computation's instructions by name, in order


def parse(text: str) -> tuple[dict[str, Body], str]:
    """Reads a program.

    Args:
      text: what `jax.stages.Compiled.as_text()` gives.

    Returns:
      Its computations by name, and the name of the one it starts with. The start of what runs
      asynchronously has the name of the operation itself; its end follows as another instruction.

    Raises:
      ValueError: there is nothing to start with, or a line that cannot be read.
    """
    bodies: dict[str, Body] = {}
    entry, body = None, None
    for line in text.splitlines():
        line = line.rstrip()
        header = _HEADER.match(line)
        if header:
            body = bodies.setdefault(header[2], {})
            entry = header[2] if header[1] else entry
        elif line.startswith("}"):
            body = None
        elif body is not None and line:
            each = _instruction(line)
            body[each.name] = each
    if entry is None:
        raise ValueError("no ENTRY computation: this is not the text of a compiled program")
    return bodies, entry


def _instruction(line: str) -> Instruction:
    found = _LINE.match(line)
    if not found:
        raise ValueError(f"not an instruction: {line.strip()[:80]}")
    root, name, rest = found.groups()
    end = _close(rest, 0) + 1 if rest.startswith("(") else rest.find(" ")
    opening = rest.find("(", end)
    if end <= 0 or opening < 0:
        raise ValueError(f"not an instruction: {line.strip()[:80]}")
    closing = _close(rest, opening)
    shape, opcode, literal = rest[:end], rest[end:opening].strip(), rest[opening + 1 : closing]
    names = [_WORD.search(part) for part in _split(literal)]
    plain = opcode in ("constant", "parameter")
    return Instruction(
        name,
        opcode.removesuffix("-start"),
        _arrays(shape, opcode),
        () if plain else tuple(word[1] for word in names if word),
        literal,
        rest[closing + 1 :],
        bool(root),
    )


def _arrays(shape: str, opcode: str) -> tuple[Array, ...]:
    """The arrays of a result; of a start only what its end will give."""
    if opcode.endswith("-start") and shape.startswith("("):
        parts = list(_split(shape[1:-1]))
        if opcode == "copy-start":
            shape = parts[0]
        elif parts[0].startswith("(") or opcode in ("all-gather-start", "collective-permute-start"):
            shape = parts[1]  # operands first, then results, then what only the device needs
    return tuple(
        Array(dtype, tuple(int(size.strip("<= ")) for size in dims.split(",") if size))
        for dtype, dims in _ARRAY.findall(shape)
    )


def _close(text: str, opening: int) -> int:
    """Where the bracket that opens there closes."""
    depth = 0
    for bracket in re.finditer(r"[()]", text[opening:]):
        depth += 1 if bracket[0] == "(" else -1
        if depth == 0:
            return opening + bracket.start()
    raise ValueError(f"a bracket stays open: {text[:80]}")


def _split(text: str) -> Iterator[str]:
    """What stands between the commas that no bracket holds."""
    depth, begun = 0, 0
    for mark in re.finditer(r"[(\[{]|[)\]}]|,", text):
        if mark[0] != ",":
            depth += 1 if mark[0] in "([{" else -1
        elif depth == 0:
            yield text[begun : mark.start()].strip()
            begun = mark.end()
    yield text[begun:].strip()
