"""The smallest run of every phase, for tests that need a whole one."""

import io

import jax
import rich.console

from seqgan_jax import hparams as hp
from seqgan_jax.data_hparams import OracleDataHParams
from seqgan_jax.training import writers
from seqgan_jax.training.loop import Trainer

TINY = hp.HParams(
    data=OracleDataHParams(
        vocab_size=12, length=4, num_train=40, num_test=32, oracle_embed_dim=4, oracle_hidden_dim=4
    ),
    model=hp.ModelHParams(embed_dim=4, hidden_dim=5),
    discriminator=hp.DiscriminatorHParams(embed_dim=4, filters=((1, 3), (2, 3))),
    training=hp.TrainingHParams(num_rollouts=2, rollout_policy="moving_average"),
    schedule=hp.ScheduleHParams(
        batch_size=8, g_pretrain_epochs=3, d_pretrain_steps=2, rounds=3, g_steps=2, d_steps=2,
        d_epochs=2, d_samples=16, d_batch_size=8,
    ),
    evaluation=hp.EvaluationHParams(
        eval_every=2, eval_samples=32, num_written=7, checkpoint_seconds=0.0
    ),
)  # fmt: skip
# Wall-clock figures differ from run to run; everything else must not.
CLOCKS = {"seconds", "training_seconds", "tokens_per_second"}


class StoppedError(Exception):
    """Stands for a kill."""


def run(hparams, folder, stop_after=None, monkeypatch=None):
    """Runs to the end, or raises StoppedError after some calls; returns the output."""
    output = io.StringIO()
    trainer = Trainer(hparams, str(folder), rich.console.Console(file=output, width=200))
    # Of runs before it, where they share programs.
    before = {name: call._cache_size() for name, call in trainer._opened.calls.items()}
    if stop_after is not None:
        run_call = trainer._run_call
        count = iter(range(10_000))

        def counted(call):
            if next(count) == stop_after:
                raise StoppedError
            return run_call(call)

        monkeypatch.setattr(trainer, "_run_call", counted)
    trainer.run()
    # Each program was traced at most once, whatever the phase it is called from.
    # On a mesh the first call's arrays may be described in other words, and be looked up twice.
    for name, compiled in trainer._opened.calls.items():
        assert compiled._cache_size() - before[name] <= (1 if jax.device_count() == 1 else 2)
    return output.getvalue()


def metric_lines(folder):
    lines = writers.read_metrics(str(folder))
    return [{k: v for k, v in line.items() if k not in CLOCKS} for line in lines]
