"""Every metric that applies, of all that a run has to show: real data, its generators, a file."""

from __future__ import annotations

import functools
import os
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import rich.console

from seqgan_jax.checked import ConfigError
from seqgan_jax.data.written import read_sequences
from seqgan_jax.metrics import lm_score as lm
from seqgan_jax.reporting import evaluation_models
from seqgan_jax.reporting.evaluation_file import FILE_SOURCE, EvaluationFile
from seqgan_jax.reporting.evaluation_models import Measures, Model
from seqgan_jax.reporting.evaluation_table import table
from seqgan_jax.reporting.reading import Metrics, Row
from seqgan_jax.reporting.table import REAL
from seqgan_jax.training import experiment, workdir
from seqgan_jax.training.progress import ReadingProgress
from seqgan_jax.types import Array, LanguageModel, Sequences

# Metrics of the LM judges that a row of real sequences has; all others have both.
_LM_SCORES = {"test": {"lm_score"}, "train": {"reverse_lm_score"}}


class Options(NamedTuple):
    """What the flags of bin/evaluate.py ask for."""

    num: int | None = None  # sequences measured of each kind; None: all test sequences up to 10,000
    seed: int = 0  # of all draws
    samples: str | None = None  # a file of sequences to measure, too
    lm_epochs: int = 10  # of the language models that judge, at most; 0: none judge


def evaluate(folder: str, options: Options, console: rich.console.Console) -> None:
    """Measures a run, prints the table, and keeps every row in evaluation.json at once.

    Without a number of sequences asked for, no row is replaced by one of fewer, and where a file of
    samples is measured the others are measured only where they are missing: see `Evaluation.rows`.

    Raises:
      ConfigError: no run there, or an option is out of range.
      DataError: the run's data, its evaluation.json or the file of samples cannot be read.
    """
    evaluation = Evaluation(folder, options, console)
    built = evaluation.experiment
    kind = built.hparams.data.kind
    file = EvaluationFile(
        folder, kind, built.sizes, evaluation.number, options.seed, options.lm_epochs
    )
    for row in evaluation.rows(file):
        file.add(row)
    console.print(table(file.content))


class _Task(NamedTuple):
    """A row that is wanted."""

    name: str
    source: str
    number: int  # of sequences
    step: int | None  # of a model's training
    measure: Callable[[], Metrics]


class Evaluation:
    """One run's rows.

    Args of the constructor:
      folder: of the run.
      options: of the program.
      console: told what is being done.

    Attributes:
      experiment: the run's.
      number: N, sequences measured of each kind; of a file of samples that has fewer, where N was
        not asked for, all that it has.

    Raises:
      ConfigError: as of `evaluate`.
      DataError: as of `evaluate`.
    """

    def __init__(self, folder: str, options: Options, console: rich.console.Console) -> None:
        self._options, self._console = options, console
        self._models = evaluation_models.models(folder)
        self.experiment = experiment.reopened(workdir.read_hparams(folder), folder)
        self.number = evaluation_models.number_of_samples(self.experiment, options.num)
        self._file = None if options.samples is None else self._read(options.samples)
        self._measures = Measures(self.experiment)

    def rows(self, file: EvaluationFile | None = None) -> Iterator[Row]:
        """Held-out and training sequences, the generators, the file; each once it is measured.

        Args:
          file: its rows of real data, and of models at the step where they still are, are not
            measured again where N was not asked for and they are of more sequences; or, beside a
            file of samples, of as many, of the same seed, and with the LM scores, of as many
            epochs, that are asked for.
        """
        numbers = {}
        for task in self._tasks():
            earlier = None if file is None else file.earlier(task.name, task.source)
            numbers[task.name, task.source] = task.number
            if earlier is None or not self._stands(earlier, task):
                self._tell(f"{task.name}: measuring {task.number:,} sequences")
                yield Row(task.name, task.source, task.measure(), task.number, task.step)
                continue
            number = numbers[task.name, task.source] = earlier["num_samples"]
            self._tell(
                f"{task.name}: kept as measured before, on {number:,} sequences; --num=NUMBER "
                "measures it anew"
            )
        if self._file is not None and len(set(numbers.values())) > 1:
            self._tell(
                "self-BLEU, distinct-n and backward BLEU are comparable only at equal numbers of "
                f"sequences: --num={len(self._file.tokens)} gives a comparable table"
            )

    def _tasks(self) -> Iterator[_Task]:
        yield _Task(REAL["test"], "test", self.number, None, self._held_out)
        yield _Task(REAL["train"], "train", self.number, None, self._training)
        for model in self._models:
            measure = functools.partial(self._of_model, model)
            step = int(model.run.state.step)
            yield _Task(model.name, model.source, self.number, step, measure)
        if self._file is not None:
            name = os.path.basename(str(self._options.samples))
            measure = functools.partial(self._of_samples, name, self._file)
            yield _Task(name, FILE_SOURCE, len(self._file.tokens), None, measure)

    def _stands(self, earlier: dict[str, Any], task: _Task) -> bool:
        """Whether a row of evaluation.json is left as it is."""
        number, options = earlier.get("num_samples", 0), self._options
        # A file of one name may hold other sequences now, and a run may have gone on.
        changed = task.source == FILE_SOURCE or earlier.get("step") != task.step
        if changed or options.num is not None or number < task.number:
            return False
        scores = _LM_SCORES.get(task.source, {"lm_score", "reverse_lm_score"})
        judged = scores <= earlier["metrics"].keys()
        judged &= earlier.get("lm_epochs") == options.lm_epochs
        same = (judged or not options.lm_epochs) and earlier.get("seed") == options.seed
        return number > task.number or (self._file is not None and same)

    def _held_out(self) -> Metrics:
        test = self._measures.test
        return self._measures.of_held_out(self._chosen(test, "test")) | self._judged(test)

    def _training(self) -> Metrics:
        """What a perfect generator would get, but for copies and the LM score, trained on them."""
        some = self._chosen(self._measures.train, "train")
        metrics = self._measures.of(some) | self._reverse(REAL["train"], some)
        return {k: value for k, value in metrics.items() if not k.startswith("copied_")}

    def _of_model(self, model: Model) -> Metrics:
        use = evaluation_models.use("evaluate", self._options.seed)
        samples = model.draw(self.number, use)
        return {
            **self._of_samples(model.name, Sequences(*jax.device_get(samples))),
            "nll_test": model.nll(self.experiment.test),
            "entropy": model.nll(samples),
        }

    def _of_samples(self, name: str, sequences: Sequences) -> Metrics:
        measured = self._measures.of(sequences)
        return measured | self._judged(sequences) | self._reverse(name, sequences)

    def _chosen(self, sequences: Sequences, use: str) -> Sequences:
        return evaluation_models.chosen(sequences, self.number, self._options.seed, use)

    def _judged(self, sequences: Sequences) -> Metrics:
        if not self._options.lm_epochs:
            return {}
        return {"lm_score": lm.mean_nll(self._model, self._judge.params, sequences)}

    def _reverse(self, name: str, sequences: Sequences) -> Metrics:
        if not self._options.lm_epochs:
            return {}
        with self._fitting(name, len(sequences.tokens)) as advance:
            score = lm.language_model_score(
                self._model, sequences, self.experiment.test, self._key("reverse"),
                max_epochs=self._options.lm_epochs, progress=advance,
            )  # fmt: skip
        return {"reverse_lm_score": score}

    @functools.cached_property
    def _judge(self) -> lm.Fitted:
        """Trained on real sequences once a row needs it."""
        train = self.experiment.train
        with self._fitting("training sequences", len(train.tokens)) as advance:
            return lm.fit(
                self._model, train, self._key("real"), max_epochs=self._options.lm_epochs,
                progress=advance,
            )  # fmt: skip

    @property
    def _model(self) -> LanguageModel:
        """What the judges are made of: the generator's own architecture."""
        return self.experiment.models.language_model

    def _fitting(self, name: str, number: int) -> ReadingProgress:
        words = f"{name}: training a language model on {number:,}"
        self._tell(words)
        return ReadingProgress(words, self._console)

    def _tell(self, words: str) -> None:
        self._console.print(words, highlight=False)

    def _key(self, use: str) -> Array:
        """The judges' own, the same for every row: what differs is what they are trained on."""
        return jax.random.fold_in(jax.random.key(self._options.seed), zlib.crc32(use.encode()))

    def _read(self, path: str) -> Sequences:
        """The first N sequences of the file, or all where it has fewer and N was not asked for."""
        built = self.experiment
        sequences, notes = read_sequences(path, built.codec, built.sizes.length)
        for note in notes:
            self._tell(f"{path}: {note}")
        words = sequences.tokens[sequences.mask & (sequences.tokens != built.codec.end_token)]
        if words.size and (words == built.codec.unknown_token).all():
            raise ConfigError(f"--samples={path}: the run's vocabulary has none of its tokens")
        found = len(sequences.tokens)
        if found < 2 or (self._options.num is not None and found < self.number):
            asked = max(2, self.number) if self._options.num is not None else 2
            fewer = f", or --num={found}" if found >= 2 else ""
            raise ConfigError(
                f"--samples={path}: {found} sequence{'' if found == 1 else 's'}, and {asked} are "
                f"wanted of each kind; give more{fewer}"
            )
        if found > self.number:
            self._tell(f"{path}: the first {self.number:,} of {found:,} sequences are measured")
        return Sequences(*(leaf[: self.number] for leaf in sequences))
