"""Whole runs of every method under jax_debug_nans, for docs/reliability.md.

`python tests/numbers_run.py [METHOD...]` makes of each method a tiny run of every phase, and one
with the smallest numbers there are: T = 1, V = 2, one sequence a batch where the method allows it.
It ends with status 1 if any fails.
"""

import dataclasses
import sys
import tempfile
import time

import jax
from tiny_run import TINY, metric_lines, run

from seqgan_jax import hparams as hp
from seqgan_jax.hparams import METHODS

COMPARES_A_BATCH = {"maligan", "rankgan"}
SHORT = dataclasses.replace(
    TINY,
    schedule=dataclasses.replace(TINY.schedule, g_pretrain_epochs=2, d_pretrain_steps=1, rounds=2),
    evaluation=dataclasses.replace(TINY.evaluation, checkpoint_seconds=1e6),
)


def smallest(method):
    """Settings of one token a sequence, two tokens in all, and batches as small as can be."""
    return dataclasses.replace(
        SHORT,
        method=method,
        data=dataclasses.replace(SHORT.data, length=1, vocab_size=2),
        discriminator=hp.DiscriminatorHParams(embed_dim=2, filters=((1, 2),)),
        training=dataclasses.replace(SHORT.training, num_rollouts=1),
        schedule=dataclasses.replace(
            SHORT.schedule, batch_size=2 if method in COMPARES_A_BATCH else 1, d_batch_size=2,
            d_samples=2,
        ),
    )  # fmt: skip


def main(methods):
    failed = 0
    for method in methods or METHODS:
        for words, hparams in (
            ("T 4, V 12", dataclasses.replace(SHORT, method=method)),
            ("T 1, V 2", smallest(method)),
        ):
            begun = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                try:
                    run(hparams, folder)
                    told = f"{len(metric_lines(folder))} lines"
                except Exception as error:
                    failed += 1
                    told = f"{type(error).__name__}: {error}"
            print(f"{method}, {words}: {told}, {time.monotonic() - begun:.0f} s", flush=True)
    return failed


if __name__ == "__main__":
    jax.config.update("jax_debug_nans", True)
    sys.exit(1 if main(sys.argv[1:]) else 0)
