"""Compiles programs of training for meshes of virtual devices, for tests that read them.

`mesh_programs.py FOLDER` writes what each device would run, and the memory that it would take. Only
sequences of the likeliest tokens are drawn, on one device and on eight.
"""

import dataclasses
import json
import os
import pathlib
import sys

if __name__ == "__main__":
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import jax.numpy as jnp

from seqgan_jax import hparams as hp
from seqgan_jax.benchmark import phases, programs
from seqgan_jax.data_hparams import OracleDataHParams
from seqgan_jax.search.sampling import sample
from seqgan_jax.training.experiment import build_models
from seqgan_jax.training.sharding import Layout

# V is 8 times a prime that divides no other size: what it divides has an axis of the vocabulary.
PRIME, EMBED, HIDDEN, BATCH, LENGTH = 131, 12, 8, 64, 8
CNN = hp.HParams(
    data=OracleDataHParams(vocab_size=8 * PRIME, length=LENGTH, num_train=64, num_test=64),
    model=hp.ModelHParams(embed_dim=EMBED, hidden_dim=HIDDEN),
    discriminator=hp.DiscriminatorHParams(embed_dim=EMBED, filters=((1, 3), (3, 2))),
    training=hp.TrainingHParams(num_rollouts=4),
    schedule=hp.ScheduleHParams(batch_size=BATCH, d_samples=64),
    evaluation=hp.EvaluationHParams(eval_samples=64),
)
DENSITY = dataclasses.replace(
    CNN,
    discriminator=hp.DiscriminatorHParams("density", embed_dim=EMBED, hidden_dim=HIDDEN),
    training=dataclasses.replace(
        CNN.training, reward="likelihood_ratio", baseline="prefix", d_l2=0.0
    ),
)
KINDS = {"cnn": CNN, "density": DENSITY}
G_STEPS = [("cnn", 8, 1), ("cnn", 4, 2), ("cnn", 1, 8), ("density", 4, 2)]
SEARCHES = [("cnn", 1, BATCH), ("cnn", 2, BATCH), ("cnn", 8, BATCH), ("density", 8, BATCH)]
SMALL = ("cnn", 1, BATCH // 8)


def on_mesh(hparams, data, model):
    return dataclasses.replace(hparams, mesh=hp.MeshHParams(data, model))


def search(kind, data, batch_size):
    """Monte Carlo search alone."""
    schedule = dataclasses.replace(CNN.schedule, batch_size=batch_size)
    hparams = dataclasses.replace(on_mesh(KINDS[kind], data, 1), schedule=schedule)
    models, layout = build_models(hparams), Layout(hparams.mesh, hparams.sizes.vocab_size)
    state, _ = programs.described(hparams.sizes, layout, models.method.init_state)
    function = phases.build(hparams)["action_values"].function
    tokens = jax.ShapeDtypeStruct((batch_size, hparams.sizes.length), jnp.int32)
    with layout.context():
        return jax.jit(function).lower(jax.random.key(1), (state, tokens)).compile()


def likeliest(data, model):
    """A function that draws from the likeliest tokens, its layout, and its parameters."""
    hparams = on_mesh(CNN, data, model)
    language_model = build_models(hparams).language_model
    layout = Layout(hparams.mesh, hparams.sizes.vocab_size)

    @jax.jit
    def draw(params):
        key = jax.random.key(1)
        return sample(language_model, params, key, batch_size=16, length=4, top_k=5).tokens

    # Far from uniform, and with equal logits on either side of what a device holds.
    params = jax.tree.map(lambda leaf: 9.0 * leaf, language_model.init(jax.random.key(0)))
    params["output_bias"] = params["output_bias"].at[::PRIME].set(4.0)
    return draw, layout, layout.placed(params)


def main(folder):
    compiled = {
        ("g-step", kind, *mesh): programs.compile_call(
            on_mesh(KINDS[kind], *mesh), "generator_steps"
        )
        for kind, *mesh in G_STEPS
    }
    compiled |= {("search", *each): search(*each) for each in [*SEARCHES, SMALL]}
    tokens = {}
    for mesh in ((1, 1), (4, 2), (1, 8)):
        draw, layout, params = likeliest(*mesh)
        with layout.context():
            compiled["likeliest", *mesh] = draw.lower(params).compile()
            tokens["-".join(map(str, mesh))] = draw(params).tolist()
    (pathlib.Path(folder) / "tokens.json").write_text(json.dumps(tokens))
    memory = {}
    for key, program in compiled.items():
        name = "-".join(map(str, key))
        (pathlib.Path(folder) / f"{name}.txt").write_text(program.as_text())
        held = program.memory_analysis()
        memory[name] = [
            held.temp_size_in_bytes, held.argument_size_in_bytes, held.alias_size_in_bytes
        ]  # fmt: skip
    (pathlib.Path(folder) / "memory.json").write_text(json.dumps(memory))


if __name__ == "__main__":
    main(sys.argv[1])
