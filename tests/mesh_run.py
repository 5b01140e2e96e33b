"""Tiny runs on meshes of eight virtual devices, one after another: `mesh_run.py FOLDER NAME...`.

A name is `4x2`, a whole run on that mesh; or `8x1-2x2`, begun on one and ended on another.
"""

import dataclasses
import os
import sys

if __name__ == "__main__":
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
from tiny_run import TINY, StoppedError, run

from seqgan_jax.hparams import MeshHParams

# The vocabulary and the batches divide by 8; so few draws that rounding changes none of them.
WIDE = dataclasses.replace(
    TINY,
    data=dataclasses.replace(TINY.data, vocab_size=16),
    schedule=dataclasses.replace(
        TINY.schedule, g_pretrain_epochs=2, d_pretrain_steps=1, rounds=20, g_steps=1, d_steps=1,
        d_epochs=1,
    ),
    evaluation=dataclasses.replace(TINY.evaluation, eval_every=10, checkpoint_seconds=1e6),
)  # fmt: skip
STOP = 20  # calls after which a run that changes its mesh is stopped


def on_mesh(name):
    data, model = map(int, name.split("x"))
    return dataclasses.replace(WIDE, mesh=MeshHParams(data, model))


class _Undone:
    """The part of pytest's monkeypatch that `run` uses."""

    def setattr(self, target, name, value):
        setattr(target, name, value)


def main(folder, names):
    for name in names:
        first, *later = name.split("-")
        if later:
            saving = dataclasses.replace(WIDE.evaluation, checkpoint_seconds=0.0)
            begun = dataclasses.replace(on_mesh(first), evaluation=saving)
            try:
                run(begun, f"{folder}/{name}", STOP, _Undone())
            except StoppedError:
                run(dataclasses.replace(begun, mesh=on_mesh(later[0]).mesh), f"{folder}/{name}")
        else:
            run(on_mesh(name), f"{folder}/{name}")
        jax.clear_caches()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
