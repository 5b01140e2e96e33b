"""Tiny runs on meshes of virtual devices, for tests that compare them.

`mesh_run.py FOLDER NAME...` makes a run on each mesh, called like `4x2`, in one process of eight
devices; one called `8x1-2x2` begins on the first mesh and goes on, from its checkpoint, on the
other; `8x1s8` is of eight seeds.
"""

import dataclasses
import math
import os
import shutil
import sys

if __name__ == "__main__":
    os.environ["XLA_FLAGS"] = (
        os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    )

import contextlib
import io

import jax
import numpy as np
import pytest
import rich.console
from tiny_run import TINY, StoppedError, metric_lines

from seqgan_jax.hparams import MeshHParams
from seqgan_jax.training import trained
from seqgan_jax.training.loop import Trainer

# The vocabulary and the batches divide by 8; so few draws that rounding changes none of them.
WIDE = dataclasses.replace(
    TINY,
    data=dataclasses.replace(TINY.data, vocab_size=16),
    schedule=dataclasses.replace(
        TINY.schedule, g_pretrain_epochs=2, g_patience=2, d_pretrain_steps=1, rounds=10,
        g_steps=1, d_steps=1, d_epochs=1,
    ),
    evaluation=dataclasses.replace(
        TINY.evaluation, eval_every=5, checkpoint_seconds=1.0, num_written=500
    ),
)  # fmt: skip
STOP = 8  # calls after which a run that changes its mesh is saved and stopped


def trainer(folder, name):
    mesh, _, seeds = name.partition("s")
    hparams = dataclasses.replace(
        WIDE, mesh=MeshHParams(*map(int, mesh.split("x"))), num_seeds=int(seeds or 1)
    )
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
    with contextlib.suppress(StoppedError):
        begun.run()


def same_run(one, other):
    """Within rounding: equal samples, parameters and metrics within 1e-5."""
    assert (one / "samples.txt").read_text() == (other / "samples.txt").read_text()
    lines = metric_lines(one), metric_lines(other)
    for first, second in zip(*lines, strict=True):
        for line in (first, second):
            line.pop("together", None)
        assert first.keys() == second.keys()
        for name, value in first.items():
            near = value if isinstance(value, str) else pytest.approx(value, rel=1e-5, abs=1e-5)
            assert second[name] == near, name
    states = [trained.read(str(each)).state for each in (one, other)]
    assert int(states[0].step) == int(states[1].step) > 0
    for name in ("generator", "rollout", "discriminator"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5),
            *(getattr(state, name) for state in states),
        )


def main(folder, names):
    for name in names:
        first, _, later = name.partition("-")
        path, begun = os.path.join(folder, name), os.path.join(folder, f"begun-{first}")
        if later:
            if not os.path.exists(begun):
                begin(begun, first)
            shutil.copytree(begun, path)
        trainer(path, later or first).run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
