"""Dependencies: each is needed, none is there by chance, and the extras can be left out."""

import configparser
import importlib.metadata
import json
import pathlib
import re
import subprocess
import sys

import pytest
from structure_test import CONFIGS, SCRIPTS, SOURCES, imported_modules, name_of

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Declared, though nothing imports it, because
NEEDED_UNIMPORTED = {
    "jaxlib",  # it is what jax runs on, and hosts.py goes by its version
}
# What is imported of an extra, and where.
OPTIONAL = {"mido": "data/midi.py", "nltk": "benchmark/bleu.py"}


def declared():
    """Names of the distributions of setup.cfg: of the package itself, and of all its extras."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")

    def names(lines):
        return {re.match(r"[\w-]+", line)[0].lower() for line in lines.split("\n") if line}

    extras = [names(lines) for lines in setup["options.extras_require"].values()]
    return names(setup["options"]["install_requires"]), set().union(*extras)


def distributions():
    """Imported name -> names of the installed distributions that bring it."""
    found = importlib.metadata.packages_distributions()
    return {
        module: {name.lower().replace("_", "-") for name in names}
        for module, names in found.items()
    }


@pytest.fixture(scope="module")
def imported():
    """(file, third-party package) for each import of the package, its programs and configs."""
    own = {"seqgan_jax", *sys.stdlib_module_names}
    return {
        (name_of(path), name.split(".")[0])
        for path in SOURCES + SCRIPTS + CONFIGS
        for name in imported_modules(path.read_text(encoding="utf-8"))
        if name.split(".")[0] not in own
    }


def test_nothing_is_imported_that_is_there_by_chance(imported):
    required, optional = declared()
    assert len(required) > 10
    brought_by = distributions()
    for path, package in sorted(imported):
        if package in OPTIONAL:
            assert path == OPTIONAL[package]
            assert brought_by[package] & optional
        else:
            assert brought_by[package] & required, f"{path}: {package} is not in setup.cfg"


def test_every_dependency_is_needed(imported):
    required, _ = declared()
    brought_by = distributions()
    used = set().union(*(brought_by[package] for _, package in imported))
    assert required - used == NEEDED_UNIMPORTED


# Without the extras.


@pytest.fixture(scope="module")
def without_extras(tmp_path_factory):
    """What without_extras.py says with all of them hidden, and the folder it worked in."""
    folder = tmp_path_factory.mktemp("without")
    required, optional = declared()
    hidden = {module for module, names in distributions().items() if names <= optional - required}
    assert {"mido", "nltk", "pytest"} <= hidden
    command = [sys.executable, str(ROOT / "tests" / "without_extras.py"), str(folder), *hidden]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), folder


def test_every_module_can_be_imported(without_extras):
    paths = [path.relative_to(ROOT).with_suffix("").parts for path in SOURCES]
    modules = {".".join(parts).removesuffix(".__init__") for parts in paths}
    assert {"seqgan_jax", *without_extras[0]["modules"]} == modules


@pytest.mark.parametrize("name", [path.name for path in SCRIPTS])
def test_every_program_tells_what_it_does(without_extras, name):
    status, output, errors = without_extras[0]["help"][name]
    assert (status, errors) == (1, "")  # as absl has it
    assert "flags:" in output


def test_a_run_on_the_oracle_ends(without_extras):
    found, folder = without_extras
    assert "after round 3" in found["oracle"]
    assert (folder / "oracle" / "summary.json").is_file()


@pytest.mark.parametrize(("asked_for", "extra"), [("music", "music"), ("bleu", "test")])
def test_what_needs_an_extra_names_it_in_one_sentence(without_extras, asked_for, extra):
    found, folder = without_extras
    status, output, errors = found[asked_for]
    assert (status, output) == (2, "")
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert f"pip install -e '.[{extra}]'" in errors
    assert not (folder / "music").exists()
