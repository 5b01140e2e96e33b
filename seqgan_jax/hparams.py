"""Settings: frozen dataclasses, and the one bridge from a config file's fields to them.

Frozen, so that they are hashable and can be static arguments of jit. Every field is checked when
its record is made, so a bad value ends a run before anything is compiled.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from seqgan_jax.checked import Checked, ConfigError, field, nearest

Filters = tuple[tuple[int, int], ...]  # (width, number of filters) of the text CNN

# The original code's filters for T = 20, and the paper's for T = 32.
FILTERS_20: Filters = (
    *((1, 100), (2, 200), (3, 200), (4, 200), (5, 200)),
    *((6, 100), (7, 100), (8, 100), (9, 100), (10, 100), (15, 160), (20, 160)),
)
FILTERS_32: Filters = (*FILTERS_20[:10], (16, 160), (24, 160), (32, 160))

# The discriminator's verdict as probability D, log D, logit, 2 D - 1; the likelihood ratio with its
# two limits; and two controls.
REWARDS = (
    *("probability", "log_probability", "logit", "centred", "likelihood_ratio"),
    *("constant", "random"),
)


@dataclasses.dataclass(frozen=True)
class DataHParams(Checked):
    """The oracle's data (see configs/oracle.py for what each field means)."""

    oracle_path: str = ""
    seed: int = field(0, at_least=0, at_most=2**32 - 1)
    vocab_size: int = field(5000, at_least=2)
    length: int = field(20, at_least=1)
    oracle_embed_dim: int = field(32, at_least=1)
    oracle_hidden_dim: int = field(32, at_least=1)
    num_train: int = field(10_000, at_least=1)
    num_test: int = field(10_000, at_least=1)


@dataclasses.dataclass(frozen=True)
class ModelHParams(Checked):
    """The generator."""

    cell: str = field("lstm", choices=("lstm", "gru"))
    embed_dim: int = field(32, at_least=1)
    hidden_dim: int = field(32, at_least=1)
    init_scale: float = field(0.1, at_least=0.0)


@dataclasses.dataclass(frozen=True)
class DiscriminatorHParams(Checked):
    """The discriminator's architecture."""

    kind: str = field("text_cnn", choices=("text_cnn", "density"))
    embed_dim: int = field(64, at_least=1)
    hidden_dim: int = field(32, at_least=1)
    filters: Filters = FILTERS_20
    dropout_rate: float = field(0.25, at_least=0.0, below=1.0)
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
class TrainingHParams(Checked):
    """What the pure training steps need to know; the defaults are the paper's."""

    mle_learning_rate: float = field(0.01, above=0.0)
    mle_dropout_rate: float = field(0.0, at_least=0.0, below=1.0)
    g_learning_rate: float = field(0.01, above=0.0)
    d_learning_rate: float = field(1e-4, above=0.0)
    g_clip_norm: float = field(5.0, above=0.0)
    d_l2: float = field(0.2, at_least=0.0)
    reward: str = field("probability", choices=REWARDS)
    reward_entropy: float = field(1.0, at_least=0.0)
    reward_min_nll: float = field(0.0, at_least=0.0)
    baseline: str = field(
        "none", choices=("none", "batch_mean", "leave_one_out", "moving_average", "prefix")
    )
    baseline_decay: float = field(0.9, at_least=0.0, below=1.0)
    num_rollouts: int = field(16, at_least=1)
    rollout_chunk: int = field(2, at_least=1)
    rollout_policy: str = field("copy", choices=("copy", "moving_average", "frozen"))
    rollout_update_rate: float = field(0.8, at_least=0.0, at_most=1.0)


@dataclasses.dataclass(frozen=True)
class ScheduleHParams(Checked):
    """How long each phase is, in the paper's terms."""

    batch_size: int = field(64, at_least=1)
    g_pretrain_epochs: int = field(120, at_least=0)
    d_pretrain_steps: int = field(50, at_least=0)
    rounds: int = field(200, at_least=0)
    g_steps: int = field(1, at_least=1)
    d_steps: int = field(5, at_least=0)
    d_epochs: int = field(3, at_least=1)
    d_samples: int = field(10_000, at_least=1)
    d_batch_size: int = field(64, at_least=2)


@dataclasses.dataclass(frozen=True)
class EvaluationHParams(Checked):
    """What is measured, how often, and how often the run is saved."""

    eval_every: int = field(5, at_least=1)
    eval_samples: int = field(10_000, at_least=2)
    num_written: int = field(1_000, at_least=0)
    checkpoint_seconds: float = field(60.0, at_least=0.0)
    checkpoints_kept: int = field(2, at_least=1)


@dataclasses.dataclass(frozen=True)
class HParams(Checked):
    """A whole experiment."""

    method: str = field("seqgan", choices=("seqgan",))
    seed: int = field(0, at_least=0, at_most=2**32 - 1)
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
        if widest > length and self.discriminator.kind == "text_cnn":
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
        self._check_players()

    def _check_players(self) -> None:
        """Refuses settings of two players that contradict each other."""
        training, kind = self.training, self.discriminator.kind
        baseline, alone = training.baseline, self.schedule.batch_size < 2
        if baseline in ("batch_mean", "leave_one_out", "prefix") and alone:
            raise ConfigError(
                f"schedule.batch_size=1: training.baseline={baseline} needs at least 2"
            )
        if training.reward == "constant" and baseline != "none":
            raise ConfigError(
                f"training.baseline={baseline!r}: takes all of a constant reward away; give none"
            )
        if kind == "density":
            if training.d_l2 > 0.0:
                raise ConfigError(
                    f"training.d_l2={training.d_l2}: a density has no penalty; give 0"
                )
            if self.discriminator.softmax_head:
                raise ConfigError("discriminator.softmax_head=True: a density has none; give False")
        if training.reward != "likelihood_ratio":
            return
        if kind != "density":
            raise ConfigError(
                f"training.reward='likelihood_ratio': a discriminator of kind {kind} knows no "
                "likelihood; give discriminator.kind=density, or another reward"
            )
        uniform = math.log(self.data.vocab_size)
        if training.reward_min_nll >= uniform:
            raise ConfigError(
                f"training.reward_min_nll={training.reward_min_nll}: not below the NLL of uniform "
                f"tokens, ln(data.vocab_size) = {uniform:.2f}, so no sequence would earn more than "
                "another; give less"
            )


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
    if isinstance(hint, type) and issubclass(hint, Checked):
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
