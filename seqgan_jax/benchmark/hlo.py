"""What a compiled program does, read from its text: products, traffic, collectives.

A loop's body counts as often as it runs; XLA's own cost analysis counts it once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from seqgan_jax.benchmark.hlo_text import Array, Body, Instruction, parse

KINDS = frozenset(
    {
        *("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all"),
        *("collective-permute", "collective-broadcast"),
    }
)
# These move nothing themselves; what a loop, a branch or a call moves is counted inside it.
_FREE = frozenset(
    {
        *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"),
        *("opt-barrier", "partition-id", "replica-id", "while", "conditional", "call", "async"),
    }
)
_PARTS = frozenset({"slice", "dynamic-slice", "gather"})  # read what they give, no more
_IN_PLACE = {"dynamic-update-slice": 1, "scatter": -1}  # which operand is written
_PRODUCT = re.compile(r'custom_call_target="[^"]*(?:matmul|gemm)', re.IGNORECASE)


class Collective(NamedTuple):
    """One collective operation of a device's program."""

    kind: str  # all-reduce, all-gather and so on, never with -start
    shapes: tuple[Array, ...]  # of its results, several where it moves a tuple
    operands: tuple[Array, ...]  # what it takes: larger than its result in a reduce-scatter
    bytes: int  # of its results, in one run
    runs: int
    in_loop: bool
    group_size: int | None  # devices that take part together; None where the text gives no groups

    def holds(self, dimension: int) -> bool:
        """Whether one of its operands or results has a dimension of just this size."""
        return any(dimension in array.dims for array in self.shapes + self.operands)


class Program(NamedTuple):
    """What one run of a compiled program does on one device.

    Attributes:
      collectives: all there are, those of every branch of a conditional among them.
      flop: of dots, convolutions and the libraries' matrix products. XLA writes some products of
        vectors as a multiplication and a sum, which count as none.
      bytes_accessed: operands read and results written, each time an instruction runs, as if there
        were no cache. A slice is read, and written in place, as the slice alone.
      largest_bytes: of the largest array that an instruction takes or gives; what only a fusion
        knows takes no memory and is left out.
      unknown_loops: `while` instructions that count once as the text does not say how often.
    """

    collectives: tuple[Collective, ...] = ()
    flop: float = 0.0
    bytes_accessed: float = 0.0
    largest_bytes: int = 0
    unknown_loops: int = 0

    def __add__(self, other: object) -> Program:
        """Both, one after the other."""
        if not isinstance(other, Program):
            return NotImplemented
        return Program(
            self.collectives + other.collectives,
            self.flop + other.flop,
            self.bytes_accessed + other.bytes_accessed,
            max(self.largest_bytes, other.largest_bytes),
            self.unknown_loops + other.unknown_loops,
        )

    def looped(self, runs: int) -> Program:
        """The same so many times, in a loop."""
        return self._replace(
            collectives=tuple(
                each._replace(runs=each.runs * runs, in_loop=True) for each in self.collectives
            ),
            flop=self.flop * runs,
            bytes_accessed=self.bytes_accessed * runs,
        )


def read(text: str) -> Program:
    """Reads what `jax.stages.Compiled.as_text()` gives.

    A `while` runs as often as its `known_trip_count` says; without one, as often as its condition
    allows if that compares a counter, taken to go from 0 by 1, with the only integer in it: no more
    than that if it also stops early. A conditional runs the branch of the most FLOP.

    Args:
      text: a compiled program's.

    Returns:
      FLOP, bytes and collectives of one run on one device.

    Raises:
      ValueError: the text is no such program, or has a line that cannot be read.
    """
    bodies, entry = parse(text)
    try:
        return _Reader(bodies).run(entry)
    except KeyError as missing:
        raise ValueError(f"the program uses {missing}, which it does not have") from missing


class _Reader:
    """Sums over what computations call, each computation only once."""

    def __init__(self, bodies: dict[str, Body]):
        self.bodies = bodies
        self.done: dict[str, Program] = {}

    def run(self, name: str) -> Program:
        """One run of a computation."""
        if name not in self.done:
            body, total = self.bodies[name], Program()
            for each in body.values():
                total += self._own(each, body) + self._called(each)
            self.done[name] = total
        return self.done[name]

    def _own(self, each: Instruction, body: Body) -> Program:
        operands = tuple(array for name in each.operands for array in body[name].arrays)
        collectives: tuple[Collective, ...] = ()
        if each.kind in KINDS:
            moved = (each.arrays, operands, each.bytes)
            collectives = (Collective(each.kind, *moved, 1, False, each.group_size()),)
        largest = max((array.bytes for array in each.arrays), default=0)
        return Program(collectives, _flop(each, operands), self._traffic(each, body), largest)

    def _called(self, each: Instruction) -> Program:
        if each.kind == "while":
            return self._loop(each)
        if each.kind == "conditional":
            branches = [self.run(name) for name in each.branches()]
            return max(branches, key=lambda one: (one.flop, one.bytes_accessed))._replace(
                collectives=sum((one.collectives for one in branches), ()),
                largest_bytes=max(one.largest_bytes for one in branches),
                unknown_loops=sum(one.unknown_loops for one in branches),
            )
        if each.kind == "fusion":
            inside = self.run(each.computation("calls"))
            return inside._replace(bytes_accessed=0.0, largest_bytes=0)
        if each.kind in ("call", "async"):
            return self.run(each.computation("to_apply" if each.kind == "call" else "calls"))
        return Program()  # what a reduction or a sort applies to scalars has no products

    def _loop(self, each: Instruction) -> Program:
        condition = each.computation("condition")
        known = re.search(r"known_trip_count\W+n\W+(\d+)", each.attributes)
        bound = int(known[1]) if known else self._bound(condition)
        runs = 1 if bound is None else bound
        total = self.run(each.computation("body")).looped(runs)
        total += self.run(condition).looped(runs + 1)
        return total._replace(unknown_loops=total.unknown_loops + (bound is None))

    def _bound(self, condition: str) -> int | None:
        """The only integer in a condition that compares integers, if there is only one."""
        body = self.bodies[condition]
        fused = (one.computation("calls") for one in body.values() if one.kind == "fusion")
        bounds, compares = set(), False
        for inside in (body, *(self.bodies[name] for name in fused)):
            for each in inside.values():
                if each.kind == "constant" and each.arrays[0].counts():
                    bounds.add(int(each.literal))
                if each.kind == "compare" and "direction=LT" in each.attributes:
                    compares |= inside[each.operands[0]].arrays[0].counts()
        return max(0, bounds.pop()) if compares and len(bounds) == 1 else None

    def _traffic(self, each: Instruction, body: Body) -> int:
        if each.kind in _FREE or each.kind.endswith(("-done", "-update")):
            return 0  # the end of what its start counts
        if each.kind != "fusion":
            read_bytes = sum(_read_by(each, body[name], body) for name in each.operands)
            return read_bytes + _written(each, body)
        inside = self.bodies[each.computation("calls")]
        read_bytes = sum(_read(one, inside) for one in inside.values() if one.kind == "parameter")
        return read_bytes + sum(_written(one, inside) for one in inside.values() if one.root)


def _read(source: Instruction, body: Body) -> int:
    users = [each for each in body.values() if source.name in each.operands]
    return min(source.bytes, sum(_read_by(user, source, body) for user in users))


def _read_by(user: Instruction, source: Instruction, body: Body) -> int:
    """Bytes of `source` that an instruction reads."""
    first = user.operands[0] == source.name
    if first and user.kind in _PARTS:
        return user.bytes
    if first and user.kind in _IN_PLACE:
        return 0
    return _read(user, body) if user.kind == "bitcast" and not user.root else source.bytes


def _written(each: Instruction, body: Body) -> int:
    if each.kind in _IN_PLACE:
        return body[each.operands[_IN_PLACE[each.kind]]].bytes
    if each.kind in ("tuple", "bitcast"):
        return sum(_written(body[name], body) for name in each.operands)
    return each.bytes


def _flop(each: Instruction, operands: Sequence[Array]) -> float:
    if each.kind == "dot":
        contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", each.attributes)
        axes = [int(axis) for axis in contracted[1].split(",") if axis] if contracted else []
        return 2.0 * each.arrays[0].size * math.prod(operands[0].dims[axis] for axis in axes)
    if each.kind == "convolution":
        return 2.0 * _products(each, operands[0].dims, operands[1].dims)
    if each.kind == "custom-call" and _PRODUCT.search(each.attributes):
        # The sizes of [n, a, b], [n, b, c] and [n, a, c] multiply to n (n a b c)^2.
        batch = min(math.prod(array.dims[:-2]) for array in operands[:2])
        sizes = operands[0].size * operands[1].size * each.arrays[0].size
        return 2.0 * math.sqrt(sizes / max(1, batch))
    return 0.0


def _products(each: Instruction, image: Sequence[int], kernel: Sequence[int]) -> int:
    """Multiplications of a convolution, those with its padding left out."""
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", each.attributes)
    if not labels:
        raise ValueError(f"a convolution without dim_labels: {each.name}")
    given, weights, result = labels.groups()
    out, window = each.arrays[0].dims, each.window()
    total = out[result.index("b")] * out[result.index("f")] * kernel[weights.index("i")]
    for axis in range(len(out) - 2):
        pad = window["pad"][axis] if "pad" in window else 0
        stride, spread, apart = (
            window[field][axis] if field in window else 1
            for field in ("stride", "lhs_dilate", "rhs_dilate")
        )
        reach = (image[given.index(str(axis))] - 1) * spread
        places = (
            place * stride + tap * apart - pad
            for place in range(out[result.index(str(axis))])
            for tap in range(kernel[weights.index(str(axis))])
        )
        total *= sum(0 <= place <= reach and place % spread == 0 for place in places)
    return total
