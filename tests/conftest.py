"""Settings and fixtures that every test shares."""

import importlib.metadata
import os
import pathlib
import tempfile

# Most tests compile much and run little: the optimiser's passes would double their time, and so
# would, of what is left, the newer of XLA's two ways to emit a CPU's kernels. Programs that tests
# start inherit both, but for end_to_end_test.py, where all is as users have it.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault(
    "XLA_FLAGS",
    # Of jaxlib 0.10 alone: others may not know the flag, and abort.
    "--xla_cpu_use_fusion_emitters=false"
    if importlib.metadata.version("jaxlib").startswith("0.10.")
    else "",
)

import jax
import pytest

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


@pytest.fixture(scope="module")
def shared_programs(compilation_cache):
    """For modules whose runs have equal settings: see shared_programs.py."""
    from shared_programs import shared_programs

    with shared_programs():
        yield


@pytest.fixture
def hostile_limits():
    """For tests of hostile files: a program run, or a file changed elsewhere, fails them."""
    import hostile

    with hostile.bounded(seconds=120), hostile.watched(tempfile.gettempdir()):
        yield
