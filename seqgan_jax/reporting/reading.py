"""Reads the folders of runs, and checks all that a report is made of."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from seqgan_jax.checked import ConfigError, DataError, shown, to_dict
from seqgan_jax.data.cache import DATA_FILE, VOCABULARY_FILE, read_cache
from seqgan_jax.data.dataset import Codec
from seqgan_jax.data.ids import IdCodec
from seqgan_jax.data_hparams import OracleDataHParams
from seqgan_jax.files import is_finite, read_file, read_json, read_lines
from seqgan_jax.hparams import HParams
from seqgan_jax.models.generator import parameter_count
from seqgan_jax.training import experiment, outputs
from seqgan_jax.training.plan import UNITS
from seqgan_jax.training.run_folder import SAMPLES_FILE
from seqgan_jax.training.summary import summarise
from seqgan_jax.training.workdir import expanded, name_of, read_hparams
from seqgan_jax.training.writers import FILE_NAME as METRICS_FILE
from seqgan_jax.training.writers import read_metrics
from seqgan_jax.types import Sequences

EVALUATION_FILE, SUMMARY_FILE, ROLL_FILE = "evaluation.json", "summary.json", "piano_roll.png"
EVALUATION_VERSION = 1
SOURCES = ("test", "train", "pretrained", "generator", "file")  # of rows, in their order
_MAX_PICTURE_BYTES = 10_000_000
# Of samples.txt the first are read, as many as stay within both.
_MAX_SAMPLES, _MAX_SAMPLES_BYTES = 10_000, 20_000_000

Line = dict[str, Any]
Metrics = dict[str, float]


class Row(NamedTuple):
    """A model, or real data, as evaluation.json has it."""

    name: str
    source: str  # one of SOURCES
    metrics: Metrics
    num_samples: int | None = None  # that the metrics are of; None: unknown
    step: int | None = None  # of training, where it is a model


class Point(NamedTuple):
    """A generator at one temperature."""

    temperature: float
    metrics: Metrics


class Sweep(NamedTuple):
    """Generators at several temperatures."""

    x: str  # the metric of diversity
    y: str  # the metric of quality
    curves: dict[str, list[Point]]
    real: Metrics  # of real data, in the same number
    num_samples: int | None  # at each temperature; None: unknown


class Evaluation(NamedTuple):
    """What evaluation.json holds."""

    rows: list[Row]  # those measured so far
    sweep: Sweep | None


class Run(NamedTuple):
    """All that a report takes from the folder of one run."""

    name: str
    hparams: HParams
    lines: list[Line]
    seconds: float
    finished: bool
    evaluation: Evaluation | None
    data_key: str  # equal where the data are
    codec: Codec | None  # None, like `test`, where the folder does not keep the data
    test: Sequences | None
    samples: list[str] | None  # the first 10,000, a line each; None: no samples.txt yet
    piano_rolls: bytes | None
    parameters: int | None  # of the generator


def read_runs(folders: list[str]) -> list[Run]:
    """Reads runs; of a folder that holds those of several seeds, all of them.

    Raises:
      ConfigError: no folder; two of one name; or one that holds no run.
      DataError: the metrics.jsonl of one is missing, or any of its files is damaged.
    """
    if not folders:
        raise ConfigError("no run is given; name the folders that bin/train.py wrote")
    names: dict[str, str] = {}
    for folder in expanded(folders):
        name = name_of(folder)
        if name in names:
            raise ConfigError(
                f"{names[name]} and {folder}: both are called {name}, the name that tables and "
                "pictures would give them; name each run once, and rename one of two"
            )
        names[name] = folder
    return [_read(name, folder) for name, folder in names.items()]


def _read(name: str, folder: str) -> Run:
    hparams = read_hparams(folder)
    lines = _lines(folder)
    summary = os.path.join(folder, SUMMARY_FILE)
    finished = os.path.exists(summary)
    content = read_object(summary) if finished else summarise(lines)
    seconds: Any = content.get("total_seconds")
    if not is_finite(seconds):
        raise DataError(f"{summary}: damaged (total_seconds={shown(seconds)} must be a number)")
    data_key, codec, test = _data(folder, hparams)
    rolls = os.path.join(folder, outputs.MUSIC_FOLDER, ROLL_FILE)
    parameters = None if codec is None else _parameters(hparams, codec)
    return Run(
        name, hparams, lines, seconds, finished, _evaluation(folder), data_key, codec, test,
        _samples(folder, codec), _bytes(rolls), parameters,
    )  # fmt: skip


def _lines(folder: str) -> list[Line]:
    """The lines of metrics.jsonl, each checked."""
    path = os.path.join(folder, METRICS_FILE)
    lines = read_metrics(folder)
    for number, line in enumerate(lines, 1):
        unit = UNITS.get(line["phase"])
        if unit is None or {unit, "seconds"} - line.keys():
            raise DataError(
                f"{path}:{number}: damaged (a line must have a phase, its "
                f"{'/'.join(UNITS.values())}, and seconds)"
            )
    return lines


def read_object(path: str) -> dict[str, Any]:
    """A file of one object in JSON.

    Raises:
      DataError: it cannot be read, is damaged, or holds something else.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path}: damaged (must be an object)")
    return value


def _evaluation(folder: str) -> Evaluation | None:
    path = os.path.join(folder, EVALUATION_FILE)
    if not os.path.exists(path):
        return None
    try:
        return parse_evaluation(path, read_object(path))
    except DataError as error:
        raise DataError(f"{error}; remove it, and evaluate the run again") from error


def parse_evaluation(path: str, values: Mapping[str, Any]) -> Evaluation:
    """What an evaluation.json holds.

    Raises:
      DataError: it is of another version, or damaged.
    """
    if values.get("version") != EVALUATION_VERSION:
        raise DataError(f"{path}: version {shown(values.get('version'))}, not {EVALUATION_VERSION}")
    try:
        # Of rows without a number of their own.
        every = {"num_samples": values["num_samples"]} if "num_samples" in values else {}
        rows = [_row(every | row) for row in values["rows"]]
        return Evaluation(rows, _sweep(values.get("sweep")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: damaged ({type(error).__name__}: {error})") from error


def _row(values: Mapping[str, Any]) -> Row:
    number = _number(values["num_samples"], "num_samples")
    name, source = _text(values["name"]), _text(values["source"])
    if source not in SOURCES:
        raise ValueError(f"{shown(source)}: no source; there are {', '.join(SOURCES)}")
    return Row(name, source, _metrics(values), int(number))


def _sweep(values: Mapping[str, Any] | None) -> Sweep | None:
    if values is None:
        return None
    curves = {
        _text(curve["name"]): [
            Point(_number(point["temperature"], "temperature"), _metrics(point))
            for point in curve["points"]
        ]
        for curve in values["curves"]
    }
    real = _metrics({"metrics": values.get("real", {})})
    number = values.get("num_samples")
    return Sweep(
        _text(values["x"]), _text(values["y"]), curves, real,
        None if number is None else int(_number(number, "num_samples")),
    )  # fmt: skip


def _metrics(values: Mapping[str, Any]) -> Metrics:
    """Those that have a value: JSON's NaN, should there be one, is none."""
    found = {name: value for name, value in values["metrics"].items() if value == value}
    return {name: _number(value, name) for name, value in found.items()}


def _number(value: Any, name: str) -> float:
    if not is_finite(value):
        raise ValueError(f"{name[:40]}={shown(value)} must be a finite number")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{shown(value)} must be a name")
    return value


def _data(folder: str, hparams: HParams) -> tuple[str, Codec | None, Sequences | None]:
    """Key, codec and held-out sequences of the data that the folder keeps."""
    settings = to_dict(hparams.data)
    settings |= {
        name: os.path.basename(value) for name, value in settings.items() if name.endswith("path")
    }
    if isinstance(hparams.data, OracleDataHParams):
        return json.dumps(settings), IdCodec(hparams.data.vocab_size), None
    files = (DATA_FILE, VOCABULARY_FILE)
    if not any(os.path.exists(os.path.join(folder, name)) for name in files):
        return json.dumps(settings), None, None
    key, dataset = read_cache(folder)
    return key, dataset.codec, dataset.test


def _samples(folder: str, codec: Codec | None) -> list[str] | None:
    path = os.path.join(folder, SAMPLES_FILE)
    if not os.path.exists(path):
        return None
    samples: list[str] = []
    left = _MAX_SAMPLES_BYTES
    for number, raw in read_lines(path, _MAX_SAMPLES_BYTES):
        left -= len(raw)
        if number > _MAX_SAMPLES or left < 0:
            break
        try:
            line = raw.decode("utf-8").removesuffix("\n")
            if codec is not None:
                codec.encode(line)
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        except ValueError as error:
            raise DataError(f"{path}:{number}: damaged ({error})") from None
        samples.append(line)
    return samples


def _bytes(path: str) -> bytes | None:
    try:
        return read_file(path, _MAX_PICTURE_BYTES)
    except DataError:
        return None


def _parameters(hparams: HParams, codec: Codec) -> int:
    """Of the generator; counts shapes and makes none of them."""
    model = experiment.build_generator(hparams, codec)
    return parameter_count(jax.eval_shape(model.init, jax.random.key(0)))
