"""Settings of what is measured of a run, and of what is kept of it."""

from __future__ import annotations

import dataclasses

from seqgan_jax.checked import Checked, ConfigError, field
from seqgan_jax.data_hparams import MAX_SEQUENCES

# By which the best checkpoints are kept; auto: NLL_oracle, or BLEU-4 of real data.
BEST_METRICS = ("auto", "nll_oracle", "nll_test", "bleu_2", "bleu_3", "bleu_4", "bleu_5")


@dataclasses.dataclass(frozen=True)
class EvaluationHParams(Checked):
    """What is measured, how often, and how often the run is saved."""

    eval_every: int = field(5, at_least=1, at_most=10**6)
    eval_samples: int = field(10_000, at_least=2, at_most=MAX_SEQUENCES)
    num_written: int = field(1_000, at_least=0, at_most=10**6)
    checkpoint_seconds: float = field(60.0, at_least=0.0)
    keep_last: int = field(2, at_least=1, at_most=10**6)
    keep_best: int = field(1, at_least=0, at_most=10**6)
    best_metric: str = field("auto", choices=BEST_METRICS)

    def check_metric(self, kind: str) -> None:
        """Refuses a `best_metric` that runs on data of a kind do not have.

        Raises:
          ConfigError: names it.
        """
        if self.best_metric.startswith("bleu" if kind == "oracle" else "nll_oracle"):
            raise ConfigError(
                f"evaluation.best_metric={self.best_metric!r}: is not measured on "
                f"data.kind={kind!r}; give auto or nll_test"
            )
