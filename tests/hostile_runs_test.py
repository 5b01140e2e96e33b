"""A run's own folder, its codec and a user's own method, damaged in every way."""

import importlib.util
import json
import os
import pathlib

import fuzz_loaders
import hostile
import pytest
from hostile_inputs import metrics_of, refused, unnamed, written

from seqgan_jax.data.codecs import codec_from_json
from seqgan_jax.training import own_method, workdir, writers

pytestmark = pytest.mark.usefixtures("hostile_limits")


# A run's own folder.


METRICS = hostile.loaders()["metrics"].files["metrics.jsonl"]


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    whole = metrics_of(tmp_path, METRICS)
    assert whole == hostile.METRICS
    for size in range(len(METRICS)):
        ends = METRICS[:size].count(b"\n")
        assert metrics_of(tmp_path, METRICS[:size]) == whole[:ends]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"null",
        b"{}",
        b'{"phase": 3}',
        b'{"phase": "x", "a": NaN}',
        b"\xff",
        b'{"phase": "x", "a": 1e999}',
        b'{"phase": "x", "a": -Infinity}',
        b'{"phase": "x", "a": "1"}',
        b'{"phase": "x", "a": ' + b"9" * 400 + b"}",
        b'{"phase": "x", "a": ' + b"9" * 5000 + b"}",
        b'{"phase": "x", "a": true}',
        b'{"phase": "x", "a": [1]}',
        b"[" * 100_000,
        b"{} {}",
        b"\0",
    ],
    ids=unnamed,
)
def test_any_other_damaged_line_is_named(tmp_path, line):
    first, rest = METRICS.split(b"\n", 1)
    message = refused(lambda: metrics_of(tmp_path, first + b"\n" + line + b"\n" + rest))
    assert message.startswith(f"{tmp_path}/metrics.jsonl:2: damaged (")


def test_metrics_that_are_missing(tmp_path):
    refused(lambda: writers.read_metrics(str(tmp_path)), "metrics.jsonl: no such file")


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"NaN",
        b'{"seed": 1e400}',
        b'{"seed": ' + b"9" * 5_000 + b"}",
        b'{"model": []}',
        b'{"": 1}',
        b'{"training": {"d_l2": ' + b"9" * 400 + b"}}",
        b'{"data": {"kind": ["text"]}}',
        b'{"data": {"kind": {"text": 1}}}',
        b'{"method": "' + b"x" * 1_000_000 + b'"}',
        b'{"discriminator": {"filters": "ab"}}',
        b'{"discriminator": {"filters": [[1, 2, 3]]}}',
        b'{"discriminator": {"filters": [[1e9, 2]]}}',
        b'{"discriminator": {"filters": {"ab": 1}}}',
    ],
    ids=unnamed,
)
def test_a_config_of_a_run_that_is_none(tmp_path, contents):
    (tmp_path / "config.json").write_bytes(contents)
    refused(lambda: workdir.read_hparams(str(tmp_path)), f"{tmp_path}/config.json: ", "damaged")


@pytest.mark.parametrize("loader", ["evaluation", "run"])
@pytest.mark.parametrize("value", fuzz_loaders.VALUES[:30], ids=unnamed)
def test_an_evaluation_of_odd_values(tmp_path, loader, value):
    files = hostile.loaders()[loader].files
    for place in (
        ("num_samples",),
        ("rows",),
        ("sweep",),
        ("rows", 0),
        ("rows", 0, "name"),
        ("rows", 0, "source"),
        ("rows", 0, "num_samples"),
        ("rows", 0, "metrics"),
        ("rows", 0, "metrics", "bleu_2"),
        ("sweep", "x"),
        ("sweep", "curves"),
        ("sweep", "curves", 0, "points", 0, "temperature"),
        ("version",),
    ):
        changed = json.loads(files["evaluation.json"])
        inner = changed
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = value
        for name, contents in files.items():
            (tmp_path / name).write_bytes(contents)
        (tmp_path / "evaluation.json").write_text(json.dumps(changed))
        outcome = hostile.attempt(hostile.loaders()[loader].load, str(tmp_path), "evaluation.json")
        assert outcome.words in ("loaded", "refused"), place


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        *(("text", "words", [word]) for word in ([], {}, None, 3, "")),
        ("text", "words", ["x" * 9_000 + "\ud800"] * 2),
        ("text", "words", {"a": 1}),
        ("text", "has_end", "x" * 9_000),
        ("ids", "vocab_size", 10**5_000),
        ("ids", "vocab_size", -1),
        ("text", "tokens_per_line", 10**5_000),
        ("pitch", "seconds_per_step", 10**400),
        ("pitch", "kind", ["x"] * 9_000),
    ],
    ids=unnamed,
)
def test_a_vocabulary_that_is_none(kind, field, value):
    values = {each.kind: each.to_json() for each in hostile.CODECS}[kind]
    (values if field in values else values["vocabulary"])[field] = value
    refused(lambda: codec_from_json(values))


# A user's own method.


def test_a_method_is_what_its_file_says(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def method(*_):\n    return 1\n")
    assert own_method.find(str(path))() == 1
    assert os.listdir(tmp_path) == ["mine.py"]  # nothing compiled is left beside it
    # Nor is what lies there, compiled from something else, run in its place.
    cached = pathlib.Path(importlib.util.cache_from_source(str(path)))
    cached.parent.mkdir()
    code = importlib._bootstrap_external._code_to_timestamp_pyc(
        compile("def method(*_):\n    return 2\n", str(path), "exec"),
        int(path.stat().st_mtime),
        path.stat().st_size,
    )
    cached.write_bytes(code)
    assert own_method.find(str(path))() == 1


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"x = 1\n",
        b"method = 3\n",
        b"def",
        b"\0",
        b"\xff",
        b"raise SystemExit(0)\n",
        b"1 / 0\n",
        b"import no_such_module\n",
        b"(" * 50_000,
        b"x = " + b"-" * 100_000 + b"1\n",
    ],
    ids=unnamed,
)
def test_a_method_s_file_that_is_none(tmp_path, contents):
    path = written(tmp_path / "mine.py", contents)
    refused(lambda: own_method.find(path), f"config.method={path}: ")
