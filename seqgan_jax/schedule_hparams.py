"""Settings of how long a run's phases are."""

from __future__ import annotations

import dataclasses

from seqgan_jax.checked import Checked, ConfigError, field
from seqgan_jax.data_hparams import MAX_SEQUENCES

_MAX_CALLS = 2 * 10**6  # of a run; a list is made of them


@dataclasses.dataclass(frozen=True)
class ScheduleHParams(Checked):
    """How long each phase is, in the paper's terms."""

    batch_size: int = field(64, at_least=1, at_most=MAX_SEQUENCES)
    g_pretrain_epochs: int = field(120, at_least=0, at_most=10**6)
    g_patience: int = field(0, at_least=0, at_most=10**6)
    d_pretrain_steps: int = field(50, at_least=0, at_most=10**6)
    rounds: int = field(200, at_least=0, at_most=10**6)
    g_steps: int = field(1, at_least=1, at_most=10**4)
    d_steps: int = field(5, at_least=0, at_most=10**4)
    d_epochs: int = field(3, at_least=1, at_most=10**4)
    d_samples: int = field(10_000, at_least=1, at_most=MAX_SEQUENCES)
    d_batch_size: int = field(64, at_least=2, at_most=2 * MAX_SEQUENCES)

    def __post_init__(self) -> None:
        """Checks the calls of all phases, too, of which a run makes a list."""
        super().__post_init__()
        calls = self.g_pretrain_epochs + self.d_pretrain_steps + self.rounds * (1 + self.d_steps)
        if calls > _MAX_CALLS:
            raise ConfigError(
                f"rounds={self.rounds}: with g_pretrain_epochs={self.g_pretrain_epochs}, "
                f"d_pretrain_steps={self.d_pretrain_steps} and d_steps={self.d_steps} a run makes "
                f"{calls:,} calls; must be at most {_MAX_CALLS:,}"
            )
