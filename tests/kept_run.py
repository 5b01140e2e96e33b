"""Folders as training leaves them, of generators that nobody has trained: what evaluation reads."""

import os

import jax

from seqgan_jax import hparams as hp
from seqgan_jax.data_hparams import OracleDataHParams
from seqgan_jax.training import checkpoint, experiment, workdir

TINY = hp.HParams(
    data=OracleDataHParams(
        vocab_size=12, length=4, num_train=40, num_test=32, oracle_embed_dim=4, oracle_hidden_dim=4
    ),
    # Parameters so large that untrained generators differ and know what they like.
    model=hp.ModelHParams(embed_dim=4, hidden_dim=5, init_scale=1.0),
    discriminator=hp.DiscriminatorHParams(kind="density", embed_dim=4, hidden_dim=4),
    training=hp.TrainingHParams(
        num_rollouts=2, reward="likelihood_ratio", mle_dropout_rate=0.2, d_l2=0.0
    ),
    schedule=hp.ScheduleHParams(batch_size=8, rounds=1, d_samples=16, d_batch_size=8),
    evaluation=hp.EvaluationHParams(eval_every=1, eval_samples=32, num_written=1),
)  # fmt: skip


def keep_run(folder, hparams, pretrained=True):
    """Writes settings, data and the checkpoint of a fresh state, and of another beside it."""
    os.makedirs(folder, exist_ok=True)
    workdir.claim(str(folder), hparams)
    models = experiment.build(hparams, str(folder)).models
    init_state = jax.jit(models.method.init_state)
    names = [checkpoint.FOLDER, *([checkpoint.PRETRAINED_FOLDER] if pretrained else [])]
    for seed, name in enumerate(names):
        checkpoints = checkpoint.Checkpoints(str(folder / name), workdir.identity(hparams))
        checkpoints.save(init_state(jax.random.key(seed)), checkpoint.Progress(calls=1))
        checkpoints.close()
    return str(folder)
