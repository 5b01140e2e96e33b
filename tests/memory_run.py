"""Compiles calls of settings that differ in what fills the memory, and prints what XLA says of it.

`memory_run.py` writes `{name: bytes by kind}` as JSON; of several devices each figure is one's.
Nothing is allocated: the calls are compiled for shapes.
"""

import dataclasses
import functools
import json
import os

if __name__ == "__main__":
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
    # Twice as fast; the analysis is the same to the byte.
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from seqgan_jax.benchmark.scaling import resized
from seqgan_jax.data_hparams import OracleDataHParams
from seqgan_jax.hparams import (
    DiscriminatorHParams,
    HParams,
    MeshHParams,
    ModelHParams,
    ScheduleHParams,
    TrainingHParams,
)
from seqgan_jax.mesh import DATA
from seqgan_jax.metrics.likelihood import negative_log_likelihood
from seqgan_jax.training.compiled import compile_calls
from seqgan_jax.training.experiment import build_models
from seqgan_jax.training.sharding import Layout
from seqgan_jax.types import Samples

_KINDS = ("argument", "output", "alias", "temp")


def config(
    kind, *, embed=32, chunk=2, cell="lstm", d_hidden=16, d_batch=64, data=1, model=1, train=2048,
    test=2, **sizes,
):  # fmt: skip
    """A config of one kind of discriminator, its `sizes` in the letters of the paper."""
    density = kind == "density"
    filters = ((1, 8),) if density else ((1, 64), (3, 128), (5, 64))
    hparams = HParams(
        mesh=MeshHParams(data, model),
        data=OracleDataHParams(num_train=train, num_test=test),
        model=ModelHParams(cell=cell, embed_dim=embed),
        discriminator=DiscriminatorHParams(
            kind=kind, embed_dim=16 if density else 64, hidden_dim=d_hidden, filters=filters
        ),
        training=TrainingHParams(
            rollout_chunk=chunk, d_l2=0.0 if density else 0.2,
            reward="likelihood_ratio" if density else "probability",
        ),
        schedule=ScheduleHParams(d_samples=512, d_batch_size=d_batch),
        evaluation=dataclasses.replace(HParams().evaluation, eval_samples=test),
    )  # fmt: skip
    return resized(hparams, **({"H": 64} | sizes))


MLE, G_STEP, D_STEP = "pretrain_generator_epoch", "generator_steps", "discriminator_epochs"
EVALUATION = "evaluation"
SETTINGS = {
    "V": (config("density", V=200_000), MLE),
    "H": (config("density", V=1000, H=1024, embed=128), MLE),
    "B, gru": (config("density", B=1024, cell="gru"), MLE),
    "chunk": (config("density", V=100, H=256, T=32, chunk=16), G_STEP),
    "T, text_cnn": (config("text_cnn", T=64, B=32), G_STEP),
    "text_cnn": (config("text_cnn", T=64, d_batch=512), D_STEP),
    "V, filled up": (config("density", V=50_050), D_STEP),
    "held out": (config("density", H=256, test=8192), EVALUATION),
    "8 x 1": (config("density", V=64_000, d_batch=128, data=8), D_STEP),
    "4 x 2": (config("density", V=64_000, data=4, model=2), G_STEP),
    "1 x 8": (config("density", V=64_000, model=8), MLE),
}


def analysis(hparams, call):
    """Bytes of one device, by kind, as XLA gives them for a compiled call."""
    models, sizes = build_models(hparams), hparams.sizes
    layout = Layout(hparams.mesh, sizes.vocab_size)
    state = jax.eval_shape(models.method.init_state, jax.random.key(0))
    places, of_rows = layout.shardings(state), None
    if layout.mesh is not None:
        of_rows = NamedSharding(layout.mesh, PartitionSpec(DATA))
        state = jax.tree.map(
            lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
            state, places,
        )  # fmt: skip
    shape = sizes.num_test if call == EVALUATION else sizes.num_train, sizes.length
    real = Samples(
        jax.ShapeDtypeStruct(shape, jnp.int32, sharding=of_rows),
        jax.ShapeDtypeStruct(shape, bool, sharding=of_rows),
    )
    if call == EVALUATION:
        function = functools.partial(negative_log_likelihood, models.language_model)
        compiled = jax.jit(function).lower(state.generator, real).compile()
    else:
        calls = compile_calls(hparams.schedule, models, sizes, layout=layout)
        with layout.context():
            compiled = calls[call].lower(state, real).compile()
    memory = compiled.memory_analysis()
    return {kind: getattr(memory, f"{kind}_size_in_bytes") for kind in _KINDS}


if __name__ == "__main__":
    print(json.dumps({name: analysis(*setting) for name, setting in SETTINGS.items()}))
