"""The house's rules, read from the source: who imports whom, who opens files, how long things are.

A new room has to be entered in MAY_IMPORT.
"""

import ast
import pathlib

import pytest

import seqgan_jax
from seqgan_jax.methods.registry import METHODS

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "seqgan_jax"
SOURCES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted((ROOT / "bin").glob("*.py"))
CONFIGS = sorted((ROOT / "configs").glob("*.py"))

# A room is a file or folder of the package. Downward only:
# bin -> training -> methods -> search, losses -> models -> hparams, types.
_GROUND = {
    "types",
    "checked",
    "capacity",
    "data_hparams",
    "evaluation_hparams",
    "schedule_hparams",
    "hparams",
    "version",
    "blocks",
    "mesh",
}
MAY_IMPORT = {
    "version": set(),
    "atomic": set(),
    "types": set(),
    "blocks": {"types"},
    "mesh": {"types"},
    "checked": set(),
    "files": {"checked"},
    "capacity": {"checked"},
    "data_hparams": {"checked"},
    "evaluation_hparams": {"checked", "data_hparams"},
    "schedule_hparams": {"checked", "data_hparams"},
    "hparams": {
        "capacity",
        "checked",
        "data_hparams",
        "evaluation_hparams",
        "schedule_hparams",
    },
    "data": {"atomic", "checked", "data_hparams", "files", "types"},
    "models": _GROUND | {"files"},
    "losses": _GROUND | {"models"},
    "search": _GROUND | {"models"},
    "metrics": _GROUND | {"models", "losses", "search"},
    "methods": _GROUND | {"models", "losses", "search"},
    "training": _GROUND
    | {"atomic", "files", "data", "models", "losses", "search", "methods", "metrics"},
    "benchmark": _GROUND | {"atomic", "models", "search", "metrics", "methods", "training"},
    # Importing the library must ask for none of the trainer's dependencies.
    "__init__": _GROUND | {"models", "losses", "search", "methods", "metrics"},
    "reporting": _GROUND
    | {"atomic", "files", "data", "models", "search", "metrics", "methods", "training"},
    "bin": _GROUND | {"atomic", "data", "training", "benchmark", "reporting"},
}
# Third-party package -> the rooms (or single files) that may import it.
KEPT_IN = {
    "flax": {"models"},
    "absl": {"training", "bin"},
    "ml_collections": {"training", "bin"},
    "orbax": {"training/checkpoint.py"},
    "tensorboardX": {"training"},
    "rich": {"training", "benchmark", "reporting", "bin"},
    "matplotlib": {"training", "reporting"},
    "scipy": {"reporting"},
    "mido": {"data/midi.py"},
}
MAX_FILE, MAX_FUNCTION, MAX_METHOD = 300, 60, 165
_FILE_CALLS = {"open", "read_text", "write_text", "read_bytes", "write_bytes"}


def name_of(path):
    """The path inside the package, or inside the repository for the scripts."""
    return path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else ROOT).as_posix()


def room_of(path):
    return name_of(path).split("/")[0].removesuffix(".py")


def imported_modules(source):
    """Dotted names of all modules imported anywhere in a source, functions included."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # A relative import shows as a leading dot, which no rule admits.
            module = "." * node.level + (node.module or "")
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def rooms_imported(source):
    modules = [name.split(".") for name in imported_modules(source)]
    return {parts[1] if len(parts) > 1 else "" for parts in modules if parts[0] == "seqgan_jax"}


def opens_files(source):
    called = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    names = {getattr(func, "id", None) or getattr(func, "attr", None) for func in called}
    return bool(names & _FILE_CALLS)


def function_lengths(source):
    return {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_the_readers_of_source_see_what_they_look_for():
    source = (
        "import os, seqgan_jax.training.loop\n"
        "def f():\n    from seqgan_jax import models\n    with open('x') as g:\n        pass\n"
        "def h():\n    from .search import rollout\n    from flax import linen\n"
    )
    assert imported_modules(source) == {
        "os", "seqgan_jax.training.loop", "seqgan_jax.models", ".search.rollout", "flax.linen"
    }  # fmt: skip
    assert rooms_imported(source) == {"training", "models"}
    assert opens_files(source)
    assert opens_files("pathlib.Path('x').read_text()")
    assert opens_files("io.open('x')")
    assert not opens_files("reopen(x)\nx.opened()\nopen_it = 3")
    assert function_lengths(source) == {"f": 4, "h": 3}


def test_there_is_something_to_read():
    assert {"losses.py", "methods/seqgan.py", "training/loop.py"} <= set(map(name_of, SOURCES))
    assert "bin/train.py" in map(name_of, SCRIPTS)
    assert "configs/oracle.py" in map(name_of, CONFIGS)


@pytest.mark.parametrize("path", SOURCES + SCRIPTS, ids=name_of)
def test_imports_run_downward_only(path):
    source, room = path.read_text(encoding="utf-8"), room_of(path)
    assert room in MAY_IMPORT, f"a new room, {room}: say here what it may import"
    assert not [name for name in imported_modules(source) if name.startswith(".")]
    assert rooms_imported(source) <= MAY_IMPORT[room] | ({room} - {"__init__", "bin"})


@pytest.mark.parametrize("path", SOURCES + SCRIPTS, ids=name_of)
def test_dependencies_stay_in_their_rooms(path):
    packages = {name.split(".")[0] for name in imported_modules(path.read_text(encoding="utf-8"))}
    for package in packages & KEPT_IN.keys():
        assert KEPT_IN[package] & {room_of(path), name_of(path)}, package


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_only_the_edge_opens_files(path):
    may = room_of(path) in ("atomic", "files", "data", "training", "benchmark", "reporting")
    assert may or not opens_files(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_a_config_stands_alone(path):
    modules = {name.split(".")[0] for name in imported_modules(path.read_text(encoding="utf-8"))}
    assert modules <= {"ml_collections"}


@pytest.mark.parametrize("path", SOURCES + SCRIPTS, ids=name_of)
def test_files_and_functions_are_short(path):
    source = path.read_text(encoding="utf-8")
    limit = 60 if path in SCRIPTS else MAX_FILE
    assert len(source.splitlines()) <= limit, f"over {limit} lines: a room is missing"
    long = {name: n for name, n in function_lengths(source).items() if n > MAX_FUNCTION}
    assert not long, f"over {MAX_FUNCTION} lines"


# The public interface.


def test_public_names_exist_once_each():  # their order is the linter's
    assert len(seqgan_jax.__all__) == len(set(seqgan_jax.__all__))
    assert not [name for name in seqgan_jax.__all__ if not hasattr(seqgan_jax, name)]


def test_every_name_that_init_imports_is_public():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == set(seqgan_jax.__all__)


@pytest.mark.parametrize(
    "name",
    [
        *("LanguageModel", "lstm", "gru", "SequenceClassifier", "text_cnn"),
        *("sample", "log_probs", "action_values"),
        *("mle_loss", "policy_gradient_loss", "discriminator_loss"),
        *("load_oracle", "init_oracle", "TrainState", "init_state"),
        *("pretrain_generator_step", "generator_step", "discriminator_step"),
    ],
)
def test_promised_names_are_public(name):
    assert name in seqgan_jax.__all__
    assert callable(getattr(seqgan_jax, name))


@pytest.mark.parametrize(
    "name", [name for name in seqgan_jax.__all__ if callable(getattr(seqgan_jax, name))]
)
def test_public_functions_and_classes_are_documented(name):
    documentation = getattr(seqgan_jax, name).__doc__
    assert documentation
    # NamedTuples and dataclasses without a docstring get one that repeats their fields.
    assert not documentation.startswith(f"{name}(")


@pytest.mark.parametrize("path", SOURCES + SCRIPTS + CONFIGS, ids=name_of)
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_is_one_short_file(name):
    path = PACKAGE / "methods" / f"{name}.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_METHOD


@pytest.mark.parametrize("path", [p for p in SOURCES if room_of(p) == "training"], ids=name_of)
def test_the_loop_names_no_method(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert not strings & METHODS.keys()
    imported = {part for name in imported_modules(ast.unparse(tree)) for part in name.split(".")}
    assert not imported & METHODS.keys()
