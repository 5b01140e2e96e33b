"""Records that check their fields when they are made, and say what would be right."""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from collections.abc import Mapping
from typing import Any


class ConfigError(ValueError):
    """A setting that does not exist or has no meaning; the message names it and what would do."""


def field(default: Any, **checks: Any) -> Any:
    """A field with bounds (`at_least`, `above`, `at_most`, `below`) or `choices`."""
    return dataclasses.field(default=default, metadata=checks)


def nearest(word: str, words: typing.Iterable[str]) -> str:
    """A hint naming the closest of `words`, and all of them where none is close."""
    words = list(words)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"there are: {', '.join(words)}"


def _check(path: str, value: Any, checks: Mapping[str, Any]) -> None:
    choices = checks.get("choices")
    if choices is not None:
        if value not in choices:
            raise ConfigError(f"{path}={value!r}: {nearest(str(value), choices)}")
        return
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{path}={value}: must be finite")
    bounds = {
        "at_least": (lambda bound: value >= bound, "at least"),
        "above": (lambda bound: value > bound, "above"),
        "at_most": (lambda bound: value <= bound, "at most"),
        "below": (lambda bound: value < bound, "below"),
    }
    for name, (holds, words) in bounds.items():
        if name in checks and not holds(checks[name]):
            raise ConfigError(
                f"{path}={value}: must be {words} {checks[name]}; "
                f"the nearest right value is {_nearest_value(value, name, checks[name])}"
            )


def _nearest_value(value: Any, bound_name: str, bound: Any) -> str:
    """The value next to a bound that was missed."""
    if bound_name in ("at_least", "at_most"):
        return str(bound)
    if isinstance(value, int):
        return str(bound + 1 if bound_name == "above" else bound - 1)
    return f"one just {bound_name} {bound}"


@dataclasses.dataclass(frozen=True)
class Checked:
    """Checks every field against its metadata when the record is made."""

    def __post_init__(self) -> None:
        for record_field in dataclasses.fields(self):
            name = record_field.name
            _check(name, getattr(self, name), record_field.metadata)
