"""Every absurd value of every setting, and of the programs' flags."""

import dataclasses
import io
import json
import math
import os
import pathlib
import subprocess
import sys

import hostile
import pytest
from hostile_inputs import refused

from seqgan_jax import hparams as hp
from seqgan_jax.checked import Checked, ConfigError, from_mapping, to_dict
from seqgan_jax.data_hparams import MusicDataHParams, TextDataHParams
from seqgan_jax.training import plan

ROOT = pathlib.Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.usefixtures("hostile_limits")


# Settings.

ABSURD = [
    -1,
    0,
    1,
    -(10**12),
    10**12,
    10**30,
    10**400,
    10**5000,
    -0.5,
    0.0,
    1e-300,
    1e-45,
    1e30,
    1e300,
    math.nan,
    math.inf,
    -math.inf,
    True,
    None,
    "",
    "x",
    "x" * 100_000,
    "a\0b",
    "\ud800",
    [],
    {},
    [1],
    [[1, 2]],
    [[10**12, 1]],
    [[1, 10**12]],
    [[0, 1]],
    [[1, 1]] * 1_000,
    ["ab"],
    {"a": 1},
    (1,),
    b"x",
]


def _fields(record, path=()):
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if isinstance(value, Checked):
            yield from _fields(value, (*path, field.name))
        yield (*path, field.name)


BASES = [
    hp.HParams(),
    hp.HParams(data=TextDataHParams(path="x.txt")),
    hp.HParams(data=MusicDataHParams(path="x.mid")),
]
FIELDS = sorted(
    {
        (number, path)
        for number, base in enumerate(BASES)
        for path in _fields(base)
        if number == 0 or path[0] == "data"
    }
)


@pytest.mark.parametrize(
    ("base", "path"),
    FIELDS,
    ids=lambda item: ".".join(item) if isinstance(item, tuple) else str(item),
)
def test_every_value_of_every_field_is_accepted_or_refused(base, path):
    for value in ABSURD:
        fields = to_dict(BASES[base])
        inner = fields
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value
        with hostile.bounded(seconds=5, most=300_000_000):
            try:
                hparams, message = from_mapping(hp.HParams, fields), ""
            except ConfigError as error:
                hparams, message = hp.HParams(), str(error)
            assert len(message) < 1_000
            assert message.isprintable()
            assert json.dumps(to_dict(hparams))
            assert len(plan.calls(hparams.schedule)) <= 2_000_000


@pytest.mark.parametrize(
    ("section", "fields"),
    [
        ("model", {"hidden_dim": 10**12}),
        ("model", {"embed_dim": 2**14, "hidden_dim": 2**14}),
        ("data", {"vocab_size": 10**12}),
        ("data", {"length": 10**9}),
        ("data", {"num_train": 10**8, "num_test": 10**8, "length": 10**4}),
        ("data", {"vocab_size": 10**7, "oracle_hidden_dim": 2**14}),
        ("schedule", {"batch_size": 10**12}),
        ("schedule", {"rounds": 10**12}),
        ("schedule", {"g_pretrain_epochs": 10**12}),
        ("schedule", {"rounds": 10**6, "d_steps": 10**4}),
        ("schedule", {"d_epochs": 10**12}),
        ("training", {"num_rollouts": 10**12}),
        ("discriminator", {"filters": ((10**9, 1),)}),
        ("discriminator", {"filters": ((1, 10**9),)}),
        ("evaluation", {"num_written": 10**12}),
    ],
)
def test_sizes_that_no_machine_has_are_refused(section, fields):
    values = {section: fields}
    if "vocab_size" in fields or section == "model":
        values.setdefault("data", {}).setdefault("vocab_size", 500_000)
    refused(lambda: from_mapping(hp.HParams, values), "config.")


def test_brackets_in_names_are_no_markup():
    from seqgan_jax.training import command_line

    assert "[/x] [bold]" in rendered(command_line.console(), "[/x] [bold] :smile:")


def rendered(console, words):
    console.file = io.StringIO()
    console.print(words, highlight=False)
    return console.file.getvalue()


# Programs. Each ends in one sentence, with status 2, before it has asked for memory.


@pytest.mark.parametrize(
    ("program", "flags", "words"),
    [
        ("train.py", ["--config=/dev/zero"], "--config=/dev/zero: is no regular file"),
        (
            "train.py",
            ["--config=configs/text.py:smoke", "--config.data.path=/dev/zero"],
            "/dev/zero",
        ),
        ("evaluate.py", ["--workdir=/nowhere", "--lm_epochs=1000000000000"], "--lm_epochs="),
        (
            "evaluate.py",
            ["--workdir=/nowhere", "--sweep=temperature", "--temperatures=nan"],
            "--temperatures=nan",
        ),
        (
            "compare.py",
            ["--config=configs/oracle.py:smoke", "--num_seeds=1000000000000"],
            "--num_seeds=1000000000000: must be in 1..1000",
        ),
    ],
)
def test_programs_refuse_what_has_no_end(tmp_path, program, flags, words):
    out = {"train.py": "--workdir", "compare.py": "--out"}.get(program)
    flags = [*flags, *([f"{out}={tmp_path}/out"] if out else [])]
    command = [sys.executable, str(ROOT / "bin" / program), *flags]
    with hostile.watched(None):
        done = subprocess.run(command, capture_output=True, text=True, timeout=50, cwd=ROOT)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert words in done.stderr
    assert os.listdir(tmp_path) == []
