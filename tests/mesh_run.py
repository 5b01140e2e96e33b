"""Tiny runs on meshes of virtual devices, for tests that compare them.

`mesh_run.py FOLDER NAME...` makes a run on each mesh, called like `4x2`, in one process of eight
devices; one called `8x1-2x2` begins on the first mesh and goes on, from its checkpoint, on the
other. `mesh_run.py FOLDER NAME --process=I/N@PORT` is one process of N that share the devices.
"""

import dataclasses
import math
import os
import shutil
import sys

if __name__ == "__main__":
    number = 8
    if sys.argv[-1].startswith("--process="):
        number = 8 // int(sys.argv[-1].partition("/")[2].partition("@")[0])
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={number}"

import io

import rich.console
from tiny_run import TINY, StoppedError

from seqgan_jax.hparams import MeshHParams
from seqgan_jax.training import hosts
from seqgan_jax.training.loop import Trainer

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
STOP = 20  # calls after which a run that changes its mesh is saved and stopped


def trainer(folder, name):
    data, model = map(int, name.split("x"))
    hparams = dataclasses.replace(WIDE, mesh=MeshHParams(data, model))
    return Trainer(hparams, folder, rich.console.Console(file=io.StringIO(), width=200))


def begin(folder, name, stop=STOP):
    """Runs so many calls, saves and stops."""
    begun = trainer(folder, name)
    run_call, count = begun._run_call, iter(range(1, 1000))

    def counted(call):
        number = next(count)
        if number > stop:
            raise StoppedError
        if number == stop:
            begun._saved_at = -math.inf
        return run_call(call)

    begun._run_call = counted
    try:
        begun.run()
    except StoppedError:
        pass


def main(folder, names):
    for name in names:
        first, _, later = name.partition("-")
        path, begun = os.path.join(folder, name), os.path.join(folder, f"begun-{first}")
        if later:
            if not os.path.exists(begun):
                begin(begun, first)
            shutil.copytree(begun, path)
        trainer(path, later or first).run()


def join(process):
    """Joins the other processes: I/N@PORT."""
    place, _, port = process.partition("@")
    index, _, number = place.partition("/")
    hosts.join(hosts.Address(f"127.0.0.1:{port}", int(number), int(index)))


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[-1].startswith("--process="):
        join(words.pop().partition("=")[2])
    main(words[0], words[1:])
