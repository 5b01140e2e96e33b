"""evaluation.json: what is measured of a run's models, kept in its folder row by row."""

from __future__ import annotations

import math
import os
from typing import Any

from seqgan_jax.atomic import write_json
from seqgan_jax.checked import ConfigError, DataError
from seqgan_jax.data_hparams import DataSizes
from seqgan_jax.reporting.reading import (
    EVALUATION_FILE,
    EVALUATION_VERSION,
    SOURCES,
    Metrics,
    Row,
    parse_evaluation,
    read_object,
)

FILE_SOURCE = SOURCES[-1]


class EvaluationFile:
    """Writes one; what an earlier call has left and this one does not replace, stays.

    Args of the constructor:
      folder: of the run.
      kind: of its data.
      sizes: of its data.
      num_samples: sequences that this call's figures are of, but for rows that say otherwise; kept
        with each row and sweep, too.
      seed: of this call.
      lm_epochs: of this call's language models that judge; kept with each row.

    Raises:
      DataError: the one in the folder is damaged, or of another version.
    """

    def __init__(
        self, folder: str, kind: str, sizes: DataSizes, num_samples: int, seed: int,
        lm_epochs: int = 0,
    ) -> None:  # fmt: skip
        self._path = os.path.join(folder, EVALUATION_FILE)
        earlier = _read(self._path)
        data = {"kind": kind, "num_train": sizes.num_train, "num_test": sizes.num_test}
        data |= {"vocab_size": sizes.vocab_size, "length": sizes.length}
        self._of_call: dict[str, Any] = {"num_samples": num_samples, "seed": seed}
        self._of_rows = self._of_call | {"lm_epochs": lm_epochs}
        self.content: dict[str, Any] = {
            "version": EVALUATION_VERSION, "data": data, **self._of_call,
            "rows": [_of_call(earlier) | row for row in earlier.get("rows", [])],
            "sweep": earlier.get("sweep"),
        }  # fmt: skip

    def earlier(self, name: str, source: str) -> dict[str, Any] | None:
        """The row of that name and source, with its `num_samples` and `seed`, if there is one."""
        for row in self.content["rows"]:
            if (row["name"], row["source"]) == (name, source):
                return dict(row)
        return None

    def add(self, row: Row) -> None:
        """Writes a row at once, in place of an earlier one of its name.

        Raises:
          ConfigError: the file cannot be written.
        """
        values = {"name": row.name, "source": row.source, **self._of_rows}
        if row.num_samples is not None:
            values["num_samples"] = row.num_samples
        if row.step is not None:
            values["step"] = row.step
        values["metrics"] = _finite(row.metrics)
        kept = [each for each in self.content["rows"] if _identity(each) != _identity(values)]
        rows = sorted([*kept, values], key=lambda each: SOURCES.index(each["source"]))
        self.content["rows"] = rows
        self._write()

    def set_sweep(self, sweep: dict[str, Any]) -> None:
        """Writes a sweep in place of an earlier one.

        Raises:
          ConfigError: the file cannot be written.
        """
        self.content["sweep"] = sweep | self._of_call
        self._write()

    def _write(self) -> None:
        try:
            write_json(self._path, self.content)
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be written ({error.strerror})") from error


def _identity(row: dict[str, Any]) -> tuple[str, bool]:
    """A name stands for one model and one file; a run that goes on changes a model's source."""
    return row["name"], row["source"] == FILE_SOURCE


def _of_call(content: dict[str, Any]) -> dict[str, Any]:
    """What holds for rows that do not say so themselves, as those of the first files do not."""
    return {name: content[name] for name in ("num_samples", "seed") if name in content}


def _finite(metrics: Metrics) -> Metrics:
    """JSON has no NaN: a metric without a value is left out."""
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}


def _read(path: str) -> dict[str, Any]:
    if not os.path.exists(path):
        return {}
    try:
        content = read_object(path)
        parse_evaluation(path, content)
    except DataError as error:
        raise DataError(f"{error}; remove it to evaluate afresh") from error
    return content
