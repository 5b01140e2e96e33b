"""Settings: frozen dataclasses, and the one bridge from a config file's fields to them.

Frozen, so that they are hashable and can be static arguments of jit. Every field is checked when
its record is made, so a bad value ends a run before anything is compiled.
"""

from __future__ import annotations

import dataclasses
import math

from seqgan_jax import capacity
from seqgan_jax.checked import Checked, ConfigError, field, nearest, shown
from seqgan_jax.data_hparams import (
    MAX_WIDTH,
    DataHParams,
    DataSizes,
    OracleDataHParams,
    check_memory,
)
from seqgan_jax.evaluation_hparams import EvaluationHParams
from seqgan_jax.schedule_hparams import ScheduleHParams as ScheduleHParams  # known from here

Filters = tuple[tuple[int, int], ...]  # (width, number of filters) of the text CNN

# The original code's filters for T = 20, and the paper's for T = 32.
FILTERS_20: Filters = (
    *((1, 100), (2, 200), (3, 200), (4, 200), (5, 200)),
    *((6, 100), (7, 100), (8, 100), (9, 100), (10, 100), (15, 160), (20, 160)),
)
FILTERS_32: Filters = (*FILTERS_20[:10], (16, 160), (24, 160), (32, 160))

# Of the models' matrix products; parameters, sums and softmax are float32 in either.
PRECISIONS = ("float32", "bfloat16")
# The discriminator's verdict as probability D, log D, logit, 2 D - 1; the likelihood ratio with its
# two limits.
REWARDS = ("probability", "log_probability", "logit", "centred", "likelihood_ratio")
# Of the package; a method of the user's own is named by its file, see methods/registry.py.
METHODS = (
    *("mle", "scheduled_sampling", "pg_bleu", "seqgan", "reinforce", "gumbel_softmax"),
    *("wgan", "wgan_gp", "maligan", "rankgan", "constant_reward", "random_reward"),
)
# Those of them that complete every prefix.
_SEARCHING = ("pg_bleu", "seqgan", "rankgan", "constant_reward", "random_reward")


@dataclasses.dataclass(frozen=True)
class ModelHParams(Checked):
    """The generator."""

    cell: str = field("lstm", choices=("lstm", "gru"))
    embed_dim: int = field(32, at_least=1, at_most=MAX_WIDTH)
    hidden_dim: int = field(32, at_least=1, at_most=MAX_WIDTH)
    init_scale: float = field(0.1, at_least=0.0)


@dataclasses.dataclass(frozen=True)
class DiscriminatorHParams(Checked):
    """The discriminator's architecture."""

    kind: str = field("text_cnn", choices=("text_cnn", "bigru", "density"))
    embed_dim: int = field(64, at_least=1, at_most=MAX_WIDTH)
    hidden_dim: int = field(32, at_least=1, at_most=MAX_WIDTH)
    filters: Filters = FILTERS_20
    dropout_rate: float = field(0.25, at_least=0.0, below=1.0)
    softmax_head: bool = False

    def __post_init__(self) -> None:
        """Checks the filters too."""
        super().__post_init__()
        for pair in self.filters:
            if len(pair) != 2 or min(pair) < 1:
                raise ConfigError(
                    f"filters={shown(self.filters)}: {pair} must be (width >= 1, number >= 1)"
                )
            if max(pair) > MAX_WIDTH:
                raise ConfigError(
                    f"filters={shown(self.filters)}: must be at most ({MAX_WIDTH}, {MAX_WIDTH})"
                )
        widths = [width for width, _ in self.filters]
        if len(set(widths)) < len(widths):
            raise ConfigError(
                f"filters={shown(self.filters)}: each width once; add up the numbers of equal ones"
            )
        if not self.filters:
            raise ConfigError("filters=(): needs at least one (width, number)")


@dataclasses.dataclass(frozen=True)
class TrainingHParams(Checked):
    """What the pure training steps need to know; the defaults are the paper's, or turn off."""

    mle_learning_rate: float = field(0.01, above=0.0)
    mle_dropout_rate: float = field(0.0, at_least=0.0, below=1.0)
    mle_weight_decay: float = field(0.0, at_least=0.0)
    g_learning_rate: float = field(0.01, above=0.0)
    d_learning_rate: float = field(1e-4, above=0.0)
    g_clip_norm: float = field(5.0, above=0.0)
    d_l2: float = field(0.2, at_least=0.0)
    reward: str = field("probability", choices=REWARDS)
    reward_entropy: float = field(1.0, at_least=0.0)
    reward_min_nll: float = field(0.0, at_least=0.0)
    reward_per_token: bool = False
    baseline: str = field(
        "none", choices=("none", "batch_mean", "leave_one_out", "moving_average", "prefix")
    )
    baseline_decay: float = field(0.9, at_least=0.0, below=1.0)
    num_rollouts: int = field(16, at_least=1, at_most=2**16)
    rollout_chunk: int = field(2, at_least=1, at_most=2**16)
    rollout_policy: str = field("copy", choices=("copy", "moving_average", "frozen"))
    rollout_update_rate: float = field(0.8, at_least=0.0, at_most=1.0)
    sampling_schedule: str = field("linear", choices=("linear", "exponential", "inverse_sigmoid"))
    sampling_fall: float = field(1.3e-5, at_least=0.0, below=1.0)
    sampling_least: float = field(0.0, at_least=0.0, at_most=1.0)
    bleu_order: int = field(3, at_least=1, at_most=9)
    bleu_references: float = field(0.4, above=0.0, at_most=1.0)
    relaxation_temperature: float = field(0.1, above=0.0)
    relaxation_least: float = field(0.1, above=0.0)
    relaxation_fall: float = field(0.01, at_least=0.0)
    straight_through: bool = False
    critic_g_learning_rate: float = field(5e-5, above=0.0)
    d_weight_clip: float = field(0.01, above=0.0)
    gradient_penalty: float = field(10.0, at_least=0.0)
    rank_sharpness: float = field(10.0, above=0.0)

    def __post_init__(self) -> None:
        """Checks the temperatures against each other too."""
        super().__post_init__()
        if self.relaxation_least > self.relaxation_temperature:
            raise ConfigError(
                f"relaxation_least={self.relaxation_least}: above relaxation_temperature; "
                f"the nearest right value is {self.relaxation_temperature}"
            )


@dataclasses.dataclass(frozen=True)
class MeshHParams(Checked):
    """How many devices share the work; no figure depends on it, but for rounding."""

    data: int = field(0, at_least=0, at_most=2**20)  # that share rows; 0: all that there are
    model: int = field(1, at_least=1, at_most=2**20)  # that share the vocabulary


@dataclasses.dataclass(frozen=True)
class HParams(Checked):
    """A whole experiment."""

    method: str = "seqgan"
    seed: int = field(0, at_least=0, at_most=2**32 - 1)
    num_seeds: int = field(1, at_least=1, at_most=2**16)
    precision: str = field("float32", choices=PRECISIONS)
    prng: str = field("threefry2x32", choices=("threefry2x32", "rbg"))
    mesh: MeshHParams = MeshHParams()
    data: DataHParams = dataclasses.field(default_factory=OracleDataHParams)
    model: ModelHParams = ModelHParams()
    discriminator: DiscriminatorHParams = DiscriminatorHParams()
    training: TrainingHParams = TrainingHParams()
    schedule: ScheduleHParams = dataclasses.field(default_factory=ScheduleHParams)
    evaluation: EvaluationHParams = dataclasses.field(default_factory=EvaluationHParams)

    def __post_init__(self) -> None:
        """Checks what two sections must agree on."""
        super().__post_init__()
        own_file = self.method.partition(":")[0].endswith(".py")
        if self.method not in METHODS and not own_file:
            raise ConfigError(
                f"method={shown(self.method)}: {nearest(self.method, METHODS)}; "
                "of your own, give the file: PATH.py or PATH.py:FUNCTION"
            )
        if isinstance(self.data, OracleDataHParams):
            check_sizes(self, self.sizes)
        self.evaluation.check_metric(self.data.kind)
        self._check_players()

    @property
    def sizes(self) -> DataSizes:
        """Of an oracle's data, which are known before anything is drawn.

        Raises:
          ConfigError: the data are read from files, which know their sizes.
        """
        data = self.data
        if not isinstance(data, OracleDataHParams):
            raise ConfigError(
                f"data.kind={data.kind!r}: sizes are known once its files are read; "
                "give a config of an oracle, such as configs/oracle.py"
            )
        return DataSizes(data.vocab_size, data.length, data.num_train, data.num_test)

    def _check_players(self) -> None:
        """Refuses settings of two players that contradict each other."""
        training, kind = self.training, self.discriminator.kind
        baseline, alone = training.baseline, self.schedule.batch_size < 2
        if baseline in ("batch_mean", "leave_one_out", "prefix") and alone:
            raise ConfigError(
                f"schedule.batch_size=1: training.baseline={baseline} needs at least 2"
            )
        if self.method in ("maligan", "rankgan") and alone:
            raise ConfigError(
                f"schedule.batch_size=1: method={self.method} compares the sequences of a batch; "
                "give at least 2"
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


def check_sizes(hparams: HParams, sizes: DataSizes) -> None:
    """Checks settings against the data they are meant for.

    Raises:
      ConfigError: they do not fit; names the field and the nearest right value.
    """
    settings, schedule = hparams.discriminator, hparams.schedule
    widest = max(width for width, _ in settings.filters)
    if widest > sizes.length and settings.kind == "text_cnn":
        raise ConfigError(
            f"discriminator.filters={shown(settings.filters)}: width {widest} does "
            f"not fit sequences of data.length={sizes.length}; the widest that fits is "
            f"{sizes.length}"
        )
    dims = {"model": (hparams.model.embed_dim, hparams.model.hidden_dim)}
    if settings.kind != "text_cnn":
        dims["discriminator"] = (settings.embed_dim, settings.hidden_dim)
    if isinstance(hparams.data, OracleDataHParams):
        dims["data.oracle"] = (hparams.data.oracle_embed_dim, hparams.data.oracle_hidden_dim)
    check_memory(sizes, dims)
    _check_capacity(hparams, sizes)
    bounds = [
        ("schedule.batch_size", schedule.batch_size, sizes.num_train, "data.num_train"),
        ("schedule.d_samples", schedule.d_samples, sizes.num_train, "data.num_train"),
        ("schedule.d_batch_size", schedule.d_batch_size, 2 * schedule.d_samples,
         "2 * schedule.d_samples"),
    ]  # fmt: skip
    if isinstance(hparams.data, OracleDataHParams):  # which draws as many as are asked for
        number = hparams.evaluation.eval_samples
        bounds.append(("evaluation.eval_samples", number, sizes.num_test, "data.num_test"))
    for name, value, bound, why in bounds:
        if value > bound:
            raise ConfigError(
                f"{name}={value}: more than the {bound} sequences of {why}; "
                f"the nearest right value is {bound}"
            )
    uniform = math.log(sizes.vocab_size)
    training = hparams.training
    if training.reward == "likelihood_ratio" and training.reward_min_nll >= uniform:
        raise ConfigError(
            f"training.reward_min_nll={training.reward_min_nll}: not below the NLL of uniform "
            f"tokens, ln(data.vocab_size) = {uniform:.2f}, so no sequence would earn more than "
            "another; give less"
        )


def _check_capacity(hparams: HParams, sizes: DataSizes) -> None:
    model, judge, training = hparams.model, hparams.discriminator, hparams.training
    # 0 is all that there are, which are not known here.
    devices = max(hparams.mesh.data, 1) * hparams.mesh.model
    parameters = capacity.recurrent_parameters(sizes.vocab_size, model.embed_dim, model.hidden_dim)
    if judge.kind == "text_cnn":
        capacity.check_filters(sizes.vocab_size, judge.embed_dim, judge.filters)
        parameters += capacity.cnn_parameters(sizes.vocab_size, judge.embed_dim, judge.filters)
    else:
        parameters += capacity.recurrent_parameters(
            sizes.vocab_size, judge.embed_dim, judge.hidden_dim
        )
    capacity.check_seeds(hparams.num_seeds, parameters, devices)
    if hparams.method in _SEARCHING:
        capacity.check_search(
            sizes.length, model.hidden_dim, hparams.schedule.batch_size, devices,
            training.num_rollouts, training.rollout_chunk,
        )  # fmt: skip
    capacity.check_written(hparams.evaluation.num_written, sizes.length)
