"""Runs that differ only in their seed, taken together; and sets of data, each a part."""

from __future__ import annotations

import os
import re
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from seqgan_jax.checked import differences, to_dict
from seqgan_jax.hparams import HParams
from seqgan_jax.reporting.reading import Run

_OF_THE_SEED_OR_PLACE = ("seed", "mesh", "data.path", "data.test_path", "data.oracle_path")


class Group(NamedTuple):
    """Runs of the same settings and data, at least one."""

    name: str
    runs: list[Run]


class Part(NamedTuple):
    """Groups on the same data, at least one."""

    groups: list[Group]
    notes: list[str]  # on what does not form a group


class Spread(NamedTuple):
    """Several runs' values of one metric."""

    mean: float
    deviation: float | None  # the standard deviation of a sample, n - 1; None of one value
    number: int  # of values


def spread(values: Iterable[float]) -> Spread:
    """Mean and standard deviation of one value or more."""
    found = list(values)
    # Exact sums: equal values have a deviation of 0, not of their rounding.
    deviation = statistics.stdev(found) if len(found) > 1 else None
    return Spread(statistics.fmean(found), deviation, len(found))


def parts(runs: Sequence[Run]) -> list[Part]:
    """Runs by their data, and within these by their name less a last -NUMBER or _NUMBER.

    Runs that are named alike but differ in more than their seed stand alone, with a note.
    """
    by_data: dict[str, list[Run]] = {}
    for run in runs:
        by_data.setdefault(run.data_key, []).append(run)
    return [_part(members) for members in by_data.values()]


def _part(runs: list[Run]) -> Part:
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(re.sub(r"[-_]\d+$", "", run.name), []).append(run)
    groups, notes = [], []
    for name, members in by_name.items():
        found = {
            each: None
            for other in members[1:]
            for each in differences(_settings(members[0].hparams), _settings(other.hparams))
        }
        if found:
            names = " and ".join(run.name for run in members)
            notes.append(f"{names} are no group, for they differ: {'; '.join(found)}.")
        if found or len(members) == 1:
            groups += [Group(run.name, [run]) for run in members]
            continue
        groups.append(Group(name, members))
        seeds = [run.hparams.seed for run in members]
        if len(set(seeds)) < len(seeds):
            notes.append(f"{name}: some runs share a seed, so that the spread is too small.")
    return Part(groups, notes)


def _settings(hparams: HParams) -> dict[str, Any]:
    """All that should be equal in a group."""
    settings = to_dict(hparams)
    for name in _OF_THE_SEED_OR_PLACE:
        section, _, field = name.rpartition(".")
        (settings[section] if section else settings).pop(field, None)
    return settings


def title(part: Part) -> str:
    """What the data are, in words that hold on any machine."""
    run = part.groups[0].runs[0]
    data = to_dict(run.hparams.data)
    files = [os.path.basename(data[name]) for name in ("path", "test_path") if data.get(name)]
    if data["kind"] == "oracle":
        given = os.path.basename(data["oracle_path"])
        source = f"the oracle in {given}" if given else f"an oracle of data seed {data['seed']}"
        sizes = f"{data['num_train']:,} training and {data['num_test']:,} held-out sequences"
        return f"{source}; V = {data['vocab_size']:,}, T = {data['length']}; {sizes}"
    form = f"text by {data['level']}" if data["kind"] == "text" else "melodies"
    words = f"{form}, {', tested on '.join(files)}"
    if run.codec is None or run.test is None:
        return f"{words}; the data are not kept in the folder"
    number, length = run.test.tokens.shape
    return f"{words}; V = {run.codec.vocab_size:,}, T = {length}; {number:,} held-out sequences"
