"""Runs of equal settings in one process share what they build and compile, whatever their seed.

Each would trace and lower, and load from the cache, the very programs of the one before. That data
and programs are the same in another process, end_to_end_test.py tells.
"""

import contextlib
import functools

import pytest

from seqgan_jax.data_hparams import OracleDataHParams
from seqgan_jax.hparams import METHODS
from seqgan_jax.training import experiment, loop, opening

_KEPT = 4  # of each: tests of a module that have equal settings stand together


def _of_last_calls(make, key_of):
    """`make`, but what it made for an equal key is given again; where `key_of` is None, never."""
    made = {}

    @functools.wraps(make)
    def given(*args, **kwargs):
        key = key_of(*args, **kwargs)
        if key is None:
            return make(*args, **kwargs)
        made[key] = made.pop(key) if key in made else make(*args, **kwargs)
        while len(made) > _KEPT:
            del made[next(iter(made))]
        return made[key]

    return given


def _experiment_key(hparams, folder, progress=None):
    if not isinstance(hparams.data, OracleDataHParams) or hparams.method not in METHODS:
        return None  # it depends on files
    return (
        hparams.data, hparams.model, hparams.discriminator, hparams.training, hparams.method,
        hparams.precision,
    )  # fmt: skip


def _calls_key(schedule, models, sizes, num_seeds=1, layout=None):
    if layout is not None and layout.mesh is not None:
        return None
    # Of the experiments that are given again, only: the method stands for all of its models.
    return schedule, models.method, sizes, num_seeds


def _evaluator_key(experiment, layout=None):
    if layout is not None and layout.mesh is not None:
        return None
    return experiment.models.method, experiment.hparams.data, experiment.hparams.evaluation


@contextlib.contextmanager
def shared_programs():
    """While it lasts, runs share."""
    build = _of_last_calls(experiment.build, _experiment_key)

    def built(hparams, *more):
        return build(hparams, *more)._replace(hparams=hparams)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "build", built)
        patch.setattr(opening, "compile_calls", _of_last_calls(opening.compile_calls, _calls_key))
        patch.setattr(loop, "Evaluator", _of_last_calls(loop.Evaluator, _evaluator_key))
        yield
