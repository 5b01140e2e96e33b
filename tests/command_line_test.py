"""Where compiled programs are kept."""

import jax
import pytest
from absl import flags

from seqgan_jax.training import command_line

OPTIONS = (
    "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)  # fmt: skip


@pytest.fixture(autouse=True)
def options():
    before = {name: getattr(jax.config, name) for name in OPTIONS}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HOME": "/home/me"}, "/home/me/.cache/seqgan_jax"),
        ({"HOME": "/home/me", "XDG_CACHE_HOME": "/caches"}, "/caches/seqgan_jax"),
    ],
)
def test_programs_are_kept_in_the_users_cache_folder(monkeypatch, environment, expected):
    for name in ("JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    command_line.use_compilation_cache()
    assert jax.config.jax_compilation_cache_dir == expected
    # Small ones too: a run has dozens.
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0.0


def test_or_where_a_flag_says(monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    before = jax.config.jax_compilation_cache_dir
    given = flags.FlagValues()
    flags.DEFINE_string("jax_compilation_cache_dir", None, "JAX's own.", flag_values=given)
    given(["program", "--jax_compilation_cache_dir=/elsewhere"])
    monkeypatch.setattr(command_line.flags, "FLAGS", given)
    command_line.use_compilation_cache()
    assert jax.config.jax_compilation_cache_dir == before  # JAX reads its flags by itself


def test_or_where_jax_is_told(monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/elsewhere")
    before = jax.config.jax_compilation_cache_dir
    command_line.use_compilation_cache()
    assert jax.config.jax_compilation_cache_dir == before  # JAX reads the variable by itself
