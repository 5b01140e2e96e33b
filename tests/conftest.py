"""Settings and fixtures that every test shares."""

import dataclasses
import hashlib
import os
import pathlib

# Most tests compile much and run little: the optimiser's passes would double their time. Programs
# that tests start inherit it, but for end_to_end_test.py, where all is as users have it.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import jax
import numpy as np
import pytest

from seqgan_jax import hparams as hp
from seqgan_jax.data.ids import IdCodec
from seqgan_jax.training import experiment, opening

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)

_ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_folder():
    """Published data, which are not part of the repository."""
    folder = pathlib.Path(os.environ.get("SEQGAN_DATA") or _ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no published data at {folder}; set SEQGAN_DATA to the folder that holds them")
    return folder


@pytest.fixture(scope="session")
def published_oracle_path(data_folder):
    """The original code's oracle."""
    path = data_folder / "oracle" / "target_params_py3.pkl"
    if not path.is_file():
        pytest.skip(f"no published oracle at {path}; set SEQGAN_DATA to the folder that holds it")
    return path


@pytest.fixture(scope="session")
def compilation_cache(tmp_path_factory):
    """For runs that compile the same programs: they do so once in a session."""
    options = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: getattr(jax.config, name) for name in options}
    for name, value in options.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="session", autouse=True)
def compiled_once():
    """Runs on an oracle of the same settings and data share their compiled calls.

    A run of its own process compiles each once; here it is once for all the runs of that kind that
    tests resume, kill and repeat.
    """
    build_models, compile_calls = experiment.build_models, opening.compile_calls
    models_of, calls_of = {}, {}

    def models(hparams, codec=None, train=None, folder=""):
        if hparams.method not in hp.METHODS or not isinstance(codec, IdCodec | None):
            return build_models(hparams, codec, train, folder)
        evaluation = hp.EvaluationHParams(eval_samples=hparams.evaluation.eval_samples)
        plain = dataclasses.replace(
            hparams, seed=0, num_seeds=1, mesh=hp.MeshHParams(), evaluation=evaluation
        )
        digest = hashlib.sha256()
        for leaf in train or ():
            digest.update(np.asarray(leaf).tobytes())
        key = plain, codec and codec.vocab_size, train is None or digest.hexdigest()
        if key not in models_of:
            models_of[key] = build_models(hparams, codec, train, folder)
        return models_of[key]

    def calls(schedule, models, sizes, num_seeds, layout):
        if not any(models is each for each in models_of.values()):
            return compile_calls(schedule, models, sizes, num_seeds, layout)
        key = schedule, id(models), sizes, num_seeds, layout.data, layout.model
        if key not in calls_of:
            calls_of[key] = compile_calls(schedule, models, sizes, num_seeds, layout)
        return calls_of[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "build_models", models)
        patch.setattr(opening, "compile_calls", calls)
        yield
