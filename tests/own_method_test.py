"""A method of the user's own takes one file: it trains, samples and reports like any other."""

import dataclasses
import pathlib
import re

import pytest
from tiny_run import TINY, run

from seqgan_jax import hparams
from seqgan_jax.checked import ConfigError
from seqgan_jax.methods.registry import METHODS
from seqgan_jax.training import own_method, trained, writers

pytestmark = pytest.mark.usefixtures("shared_programs")
README = (pathlib.Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
# As the README has it, and by another name too.
OWN = re.search(r"```python\n(# sevens\.py.*?)```", README, re.DOTALL)[1] + "\nsevens = method\n"


@pytest.fixture
def own_file(tmp_path):
    path = tmp_path / "sevens.py"
    path.write_text(OWN)
    return path


@pytest.mark.parametrize("name", ["", ":sevens"])
def test_one_file_is_a_method(tmp_path, own_file, name):
    training = dataclasses.replace(
        TINY.training, g_learning_rate=0.1, num_rollouts=4, baseline="leave_one_out"
    )
    schedule = dataclasses.replace(TINY.schedule, batch_size=32, g_steps=20, rounds=3)
    settings = dataclasses.replace(
        TINY, method=f"{own_file}{name}", training=training, schedule=schedule
    )
    folder = tmp_path / "run"
    run(settings, folder)
    lines = writers.read_metrics(str(folder))
    assert {line["phase"] for line in lines} == {"g_pretrain", "adversarial"}
    assert lines[-1]["reward_mean"] > 0.5  # of uniform tokens 1 / 12
    # What the run began with is kept, so that it is sampled when the file is gone, and no run goes
    # on by another one.
    assert (folder / "method.py").read_text() == own_file.read_text()
    own_file.write_text(own_file.read_text().replace("tokens == 7", "tokens == 8"))
    with pytest.raises(ConfigError, match=r"sevens.py has changed since the run in .* began"):
        run(settings, folder)
    own_file.unlink()
    drawn = trained.draw(trained.read(str(folder)), number=100)
    assert (drawn.tokens == 7).mean() > 0.5
    assert "finished" in run(settings, folder)


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (None, "", "no file .*own.py"),
        ("x = 1", "", "has no function method; give .*own.py:FUNCTION"),
        ("x = 1", ":make", "has no function make"),
        ("x = 1", ":x", "has no function x"),
        ("raise KeyError('a')", "", "fails when it is run, KeyError: 'a'"),
        ("x = (", "", "fails when it is run, SyntaxError"),
    ],
)
def test_what_is_no_method_is_named(tmp_path, content, name, message):
    path = tmp_path / "own.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=f"(?s)config.method=.*own.py{name}: .*{message}"):
        own_method.find(f"{path}{name}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def method(model, classifier, hparams):\n    pass\n", "takes 3 positional arguments"),
        ("def method(*_):\n    return 3\n", "returns int; must be a seqgan_jax.Method"),
    ],
)
def test_a_function_that_makes_no_method_is_named(tmp_path, content, message):
    path = tmp_path / "own.py"
    path.write_text(content)
    with pytest.raises(ConfigError, match=f"config.method=.*own.py: .*{message}"):
        run(dataclasses.replace(TINY, method=str(path)), tmp_path / "run")


def test_a_file_may_define_dataclasses(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        "from __future__ import annotations\nimport dataclasses\n\n\n@dataclasses.dataclass\n"
        "class Settings:\n    rate: float = 0.5\n\n\ndef method(*_):\n    pass\n"
    )
    assert callable(own_method.find(str(path)))


def test_a_method_that_refuses_its_settings_is_named(tmp_path):
    path = tmp_path / "own.py"
    path.write_text("def method(*_):\n    raise ValueError('only for V = 3')\n")
    with pytest.raises(ConfigError, match=r"config.method=.*own.py: only for V = 3"):
        run(dataclasses.replace(TINY, method=str(path)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["seqgam", "mle.txt", "", "a:b"])
def test_an_unknown_name_is_refused_with_the_nearest(name):
    with pytest.raises(ConfigError, match=r"method='.*': .*PATH\.py:FUNCTION"):
        dataclasses.replace(TINY, method=name)


def test_every_method_of_the_package_is_offered_by_config():
    assert set(hparams.METHODS) == set(METHODS)
    for name in hparams.METHODS:
        assert own_method.find(name) is METHODS[name]
