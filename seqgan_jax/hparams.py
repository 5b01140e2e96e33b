"""Settings: frozen dataclasses, and the one bridge from a config file's fields to them.

Frozen, so that they are hashable and can be static arguments of jit. Every field is checked when
its record is made, so a bad value ends a run before anything is compiled.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

Filters = tuple[tuple[int, int], ...]  # (width, number of filters) of the text CNN

# The original code's filters for T = 20, and the paper's for T = 32.
FILTERS_20: Filters = (
    *((1, 100), (2, 200), (3, 200), (4, 200), (5, 200)),
    *((6, 100), (7, 100), (8, 100), (9, 100), (10, 100), (15, 160), (20, 160)),
)
FILTERS_32: Filters = (*FILTERS_20[:10], (16, 160), (24, 160), (32, 160))

# The discriminator's verdict as probability D, log D, logit, 2 D - 1; and two controls.
REWARDS = ("probability", "log_probability", "logit", "centred", "constant", "random")


class ConfigError(ValueError):
    """A setting that does not exist or has no meaning; the message names it and what would do."""


def _field(default: Any, **checks: Any) -> Any:
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
class _Checked:
    """Checks every field against its metadata when the record is made."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(field.name, getattr(self, field.name), field.metadata)


@dataclasses.dataclass(frozen=True)
class DataHParams(_Checked):
    """The oracle's data (see configs/oracle.py for what each field means)."""

    oracle_path: str = ""
    seed: int = _field(0, at_least=0, at_most=2**32 - 1)
    vocab_size: int = _field(5000, at_least=2)
    length: int = _field(20, at_least=1)
    oracle_embed_dim: int = _field(32, at_least=1)
    oracle_hidden_dim: int = _field(32, at_least=1)
    num_train: int = _field(10_000, at_least=1)
    num_test: int = _field(10_000, at_least=1)


@dataclasses.dataclass(frozen=True)
class ModelHParams(_Checked):
    """The generator."""

    cell: str = _field("lstm", choices=("lstm", "gru"))
    embed_dim: int = _field(32, at_least=1)
    hidden_dim: int = _field(32, at_least=1)
    init_scale: float = _field(0.1, at_least=0.0)


@dataclasses.dataclass(frozen=True)
class DiscriminatorHParams(_Checked):
    """The discriminator's architecture."""

    embed_dim: int = _field(64, at_least=1)
    filters: Filters = FILTERS_20
    dropout_rate: float = _field(0.25, at_least=0.0, below=1.0)
    softmax_head: bool = False

    def __post_init__(self) -> None:
        """Checks the filters too."""
        super().__post_init__()
        for pair in self.filters:
            if len(pair) != 2 or min(pair) < 1:
                raise ConfigError(
                    f"filters={self.filters}: {pair} must be (width >= 1, number >= 1)"
                )
        if not self.filters:
            raise ConfigError("filters=(): needs at least one (width, number)")


@dataclasses.dataclass(frozen=True)
class TrainingHParams(_Checked):
    """What the pure training steps need to know; the defaults are the paper's."""

    mle_learning_rate: float = _field(0.01, above=0.0)
    g_learning_rate: float = _field(0.01, above=0.0)
    d_learning_rate: float = _field(1e-4, above=0.0)
    g_clip_norm: float = _field(5.0, above=0.0)
    d_l2: float = _field(0.2, at_least=0.0)
    reward: str = _field("probability", choices=REWARDS)
    baseline: str = _field(
        "none", choices=("none", "batch_mean", "leave_one_out", "moving_average")
    )
    baseline_decay: float = _field(0.9, at_least=0.0, below=1.0)
    num_rollouts: int = _field(16, at_least=1)
    rollout_chunk: int = _field(2, at_least=1)
    rollout_policy: str = _field("copy", choices=("copy", "moving_average", "frozen"))
    rollout_update_rate: float = _field(0.8, at_least=0.0, at_most=1.0)


@dataclasses.dataclass(frozen=True)
class ScheduleHParams(_Checked):
    """How long each phase is, in the paper's terms."""

    batch_size: int = _field(64, at_least=1)
    g_pretrain_epochs: int = _field(120, at_least=0)
    d_pretrain_steps: int = _field(50, at_least=0)
    rounds: int = _field(200, at_least=0)
    g_steps: int = _field(1, at_least=1)
    d_steps: int = _field(5, at_least=0)
    d_epochs: int = _field(3, at_least=1)
    d_samples: int = _field(10_000, at_least=1)
    d_batch_size: int = _field(64, at_least=2)


@dataclasses.dataclass(frozen=True)
class EvaluationHParams(_Checked):
    """What is measured, how often, and how often the run is saved."""

    eval_every: int = _field(5, at_least=1)
    eval_samples: int = _field(10_000, at_least=2)
    num_written: int = _field(1_000, at_least=0)
    checkpoint_seconds: float = _field(60.0, at_least=0.0)
    checkpoints_kept: int = _field(2, at_least=1)


@dataclasses.dataclass(frozen=True)
class HParams(_Checked):
    """A whole experiment."""

    method: str = _field("seqgan", choices=("seqgan",))
    seed: int = _field(0, at_least=0, at_most=2**32 - 1)
    data: DataHParams = DataHParams()
    model: ModelHParams = ModelHParams()
    discriminator: DiscriminatorHParams = DiscriminatorHParams()
    training: TrainingHParams = TrainingHParams()
    schedule: ScheduleHParams = ScheduleHParams()
    evaluation: EvaluationHParams = EvaluationHParams()

    def __post_init__(self) -> None:
        """Checks what two sections must agree on."""
        super().__post_init__()
        length = self.data.length
        widest = max(width for width, _ in self.discriminator.filters)
        if widest > length:
            raise ConfigError(
                f"discriminator.filters={self.discriminator.filters}: width {widest} does "
                f"not fit sequences of data.length={length}; the widest that fits is {length}"
            )
        schedule, data = self.schedule, self.data
        for name, value, bound, why in (
            ("schedule.batch_size", schedule.batch_size, data.num_train, "data.num_train"),
            ("schedule.d_samples", schedule.d_samples, data.num_train, "data.num_train"),
            ("schedule.d_batch_size", schedule.d_batch_size, 2 * schedule.d_samples,
             "2 * schedule.d_samples"),
            ("evaluation.eval_samples", self.evaluation.eval_samples, data.num_test,
             "data.num_test"),
        ):  # fmt: skip
            if value > bound:
                raise ConfigError(
                    f"{name}={value}: more than the {bound} sequences of {why}; "
                    f"the nearest right value is {bound}"
                )
        if self.training.baseline == "leave_one_out" and self.schedule.batch_size < 2:
            raise ConfigError(
                "schedule.batch_size=1: training.baseline=leave_one_out needs at least 2"
            )


Record = TypeVar("Record", bound=_Checked)


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
    known = {field.name for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    values = {}
    for name, value in fields.items():
        if name not in known:
            raise ConfigError(f"{path}.{name}: no such field; {nearest(name, sorted(known))}")
        values[name] = _convert(hints[name], value, f"{path}.{name}")
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{path}.{error}") from None


def _convert(hint: Any, value: Any, path: str) -> Any:
    """Brings a config's value to a field's type, or says which type is wanted."""
    if isinstance(hint, type) and issubclass(hint, _Checked):
        if not isinstance(value, Mapping) and not hasattr(value, "items"):
            raise ConfigError(f"{path}={value!r}: must be a section with fields of its own")
        return from_mapping(hint, dict(value.items()), path)
    if hint == Filters:
        try:
            return tuple((_convert(int, w, path), _convert(int, n, path)) for w, n in value)
        except (TypeError, ValueError):
            raise ConfigError(
                f"{path}={value!r}: must be pairs (width, number), such as ((2, 100), (3, 200))"
            ) from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{path}={value!r}: must be of type {hint.__name__}")
    return value


def to_dict(record: Any) -> dict[str, Any]:
    """The record as nested dicts and lists, ready for JSON; `from_mapping` reads it back."""
    result: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if dataclasses.is_dataclass(value):
            result[field.name] = to_dict(value)
        elif isinstance(value, tuple):
            result[field.name] = [list(item) for item in value]
        else:
            result[field.name] = value
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
