"""Records that check their fields when they are made, and the bridge to them from a config file."""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

_SHOWN = 80  # characters of a value in a message
# The least and largest that a float32 holds with all its digits.
_LEAST, _LARGEST = 2.0**-126, (2.0 - 2.0**-23) * 2.0**127


class UserError(ValueError):
    """What the user gave cannot be used; the message names it and says what would be right."""


class ConfigError(UserError):
    """A setting that does not exist or has no meaning; the message names it and what would do."""


class DataError(UserError):
    """A file that cannot be used as data; the message names it, and the line where there is one."""


def field(default: Any, **checks: Any) -> Any:
    """A field with bounds (`at_least`, `above`, `at_most`, `below`) or `choices`."""
    return dataclasses.field(default=default, metadata=checks)


def nearest(word: str, words: typing.Iterable[str]) -> str:
    """A hint naming the closest of `words`, and all of them where none is close."""
    words = list(words)
    close = difflib.get_close_matches(word[:_SHOWN], words, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"there are: {', '.join(words)}"


def shown(value: Any) -> str:
    """A value as messages give it, of whatever length it is."""
    try:
        words = repr(value)
    except (ValueError, RecursionError):  # Python writes no number of thousands of digits
        return f"({type(value).__name__} of great length)"
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}..."


def _check(path: str, value: Any, checks: Mapping[str, Any]) -> None:
    choices = checks.get("choices")
    if choices is not None:
        if value not in choices:
            raise ConfigError(f"{path}={shown(value)}: {nearest(str(value), choices)}")
        return
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{path}={value}: must be finite")
    if isinstance(value, float) and value and not _LEAST <= abs(value) <= _LARGEST:
        raise ConfigError(
            f"{path}={value}: must be 0 or from {_LEAST:.3g} to {_LARGEST:.3g}, as of float32"
        )
    bounds = {
        "at_least": (lambda bound: value >= bound, "at least"),
        "above": (lambda bound: value > bound, "above"),
        "at_most": (lambda bound: value <= bound, "at most"),
        "below": (lambda bound: value < bound, "below"),
    }
    for name, (holds, words) in bounds.items():
        if name in checks and not holds(checks[name]):
            raise ConfigError(
                f"{path}={shown(value)}: must be {words} {checks[name]}; "
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


Record = TypeVar("Record", bound=Checked)


def from_mapping(kind: type[Record], fields: Mapping[str, Any], path: str = "config") -> Record:
    """Builds a settings record from nested mappings, such as a ConfigDict or parsed JSON.

    Args:
      kind: the record's class, `HParams` for a whole experiment.
      fields: name -> value; a missing field keeps its default.
      path: what to call the mapping in errors.

    Returns:
      The record.

    Raises:
      ConfigError: an unknown field, a value of the wrong type or out of range.
    """
    if not hasattr(fields, "items"):
        raise ConfigError(f"{path}={shown(fields)}: must be a section with fields of its own")
    known = {field.name for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    values = {}
    for name, value in fields.items():
        if name not in known:
            hint = nearest(str(name), sorted(known))
            raise ConfigError(f"{path}.{str(name)[:_SHOWN]}: no such field; {hint}")
        values[name] = _convert(hints[name], value, f"{path}.{name}")
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{path}.{error}") from None


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Checked)


def _chosen(kinds: list[type[Checked]], fields: Mapping[str, Any], path: str) -> type[Checked]:
    """Of several records the one whose `kind` the fields name; the first where they name none."""
    if len(kinds) == 1 or "kind" not in fields:
        return kinds[0]
    names = {str(kind.__dataclass_fields__["kind"].default): kind for kind in kinds}
    if not isinstance(fields["kind"], str) or fields["kind"] not in names:
        given = shown(fields["kind"])
        raise ConfigError(f"{path}.kind={given}: {nearest(given, names)}")
    return names[fields["kind"]]


def _convert(hint: Any, value: Any, path: str) -> Any:
    """Brings a config's value to a field's type, or says which type is wanted."""
    kinds = [kind for kind in typing.get_args(hint) or (hint,) if _is_record(kind)]
    if kinds:
        if not isinstance(value, Mapping) and not hasattr(value, "items"):
            raise ConfigError(f"{path}={shown(value)}: must be a section with fields of its own")
        fields = dict(value.items())
        return from_mapping(_chosen(kinds, fields, path), fields, path)
    if typing.get_origin(hint) is tuple:  # of any length, of pairs of ints
        try:
            return tuple((_convert(int, w, path), _convert(int, n, path)) for w, n in value)
        except (TypeError, ValueError):
            raise ConfigError(
                f"{path}={shown(value)}: must be pairs (width, number), such as "
                "((2, 100), (3, 200))"
            ) from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf  # which is refused as that
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{path}={shown(value)}: must be of type {hint.__name__}")
    return value


def to_dict(record: Any) -> dict[str, Any]:
    """The record as nested dicts and lists, ready for JSON; `from_mapping` reads it back."""
    result: dict[str, Any] = {}
    for entry in dataclasses.fields(record):
        value = getattr(record, entry.name)
        if dataclasses.is_dataclass(value):
            result[entry.name] = to_dict(value)
        elif isinstance(value, tuple):
            result[entry.name] = [list(item) for item in value]
        else:
            result[entry.name] = value
    return result


def differences(one: Mapping[str, Any], other: Mapping[str, Any], path: str = "") -> list[str]:
    """Fields in which two nested dicts differ, as `name: a != b`."""
    found = []
    for name in sorted(one.keys() | other.keys()):
        a, b = one.get(name, "(absent)"), other.get(name, "(absent)")
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{path}{name}.")
        elif a != b:
            found.append(f"{path}{name}: {a!r} != {b!r}")
    return found
