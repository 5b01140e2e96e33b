"""Shows how far a run is: a bar a phase on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import rich.console
import rich.progress

# What a line on screen shows of the metrics, in this order.
_SHOWN = (
    ("mle_loss", "mle_loss {:.3f}"),
    ("g_loss", "g_loss {:.1f}"),
    ("d_loss", "d_loss {:.3f}"),
    ("reward_mean", "reward {:.3f}"),
    ("reward_std", "+- {:.3f}"),
    ("g_grad_norm", "g_grad_norm {:.2g}"),
    ("tokens_per_second", "{:,.0f} tokens/s"),
    ("nll_oracle", "NLL_oracle {:.3f}"),
    ("bleu_2", "BLEU-2 {:.3f}"),
    ("bleu_4", "BLEU-4 {:.3f}"),
    ("self_bleu_4", "self-BLEU-4 {:.3f}"),
    ("nll_test", "NLL_test {:.3f}"),
    ("entropy", "entropy {:.3f}"),
    ("distinct", "distinct {:.3f}"),
    ("copied", "copied {:.4f}"),
    ("d_accuracy_train", "D accuracy train {:.2f}"),
    ("d_accuracy_heldout", "held out {:.2f}"),
)


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def describe(metrics: Mapping[str, float]) -> str:
    """The metrics worth a glance, floor and ceiling beside NLL_oracle."""
    words = [form.format(metrics[name]) for name, form in _SHOWN if name in metrics]
    if "nll_oracle_floor" in metrics:
        limits = "(floor {nll_oracle_floor:.3f}, ceiling {nll_oracle_ceiling:.3f})"
        place = next(i for i, word in enumerate(words) if word.startswith("NLL_oracle"))
        words[place] += " " + limits.format(**metrics)
    return " · ".join(words)


class ReadingProgress:
    """The progress of reading data; a context manager that gives a function of the share read.

    Args of the constructor:
      words: what is being done.
      console: where to write.
      seconds_between_lines: no two lines stand closer, nor the first to the beginning.
    """

    def __init__(
        self, words: str, console: rich.console.Console, seconds_between_lines: float = 5.0
    ) -> None:
        self._words, self._console, self._between = words, console, seconds_between_lines
        self._begun = self._last_line = time.monotonic()

    def __enter__(self) -> Callable[[float], None]:
        return self._advance

    def __exit__(self, *_: object) -> None:
        pass

    def _advance(self, share: float) -> None:
        now = time.monotonic()
        if now - self._last_line < self._between or not 0.0 < share < 1.0:
            return
        self._last_line = now
        left = clock((now - self._begun) * (1.0 - share) / share)
        self._console.print(f"{self._words} · {share:.0%} · {left} left", highlight=False)


class PhaseProgress:
    """The progress of one phase; a context manager.

    Args of the constructor:
      phase: its name.
      unit: what it is counted in.
      done: units finished before now.
      total: units in all.
      console: where to write; decides between bar and lines.
      seconds_between_lines: without a terminal, no two lines stand closer, unless evaluated.
    """

    def __init__(
        self,
        phase: str,
        unit: str,
        done: float,
        total: int,
        console: rich.console.Console,
        seconds_between_lines: float = 15.0,
    ) -> None:
        self._phase, self._unit, self._total = phase, unit, total
        self._done = done
        self._console = console
        self._between = seconds_between_lines
        self._begun = self._last_line = time.monotonic()
        self._first = done
        self._bar: rich.progress.Progress | None = None
        if console.is_terminal:
            columns = rich.progress
            self._bar = columns.Progress(
                columns.TextColumn("{task.description}"),
                columns.BarColumn(),
                columns.TextColumn("{task.fields[place]} " + f"{unit}s"),
                columns.TextColumn("{task.fields[rate]}"),
                columns.TimeElapsedColumn(),
                columns.TextColumn("{task.fields[left]}"),
                console=console,
            )
            self._task = self._bar.add_task(phase, total=total, place="", rate="", left="")
            self._bar.update(self._task, completed=done, place=self._place())

    def __enter__(self) -> PhaseProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, done: float) -> None:
        """Notes how many units are finished, parts of one included."""
        self._done = done
        if self._bar is not None:
            rate, left = self._pace()
            self._bar.update(self._task, completed=done, place=self._place(), rate=rate, left=left)
        else:
            # Where a unit takes minutes, its parts are told too.
            self.line({}, evaluated=False)

    def line(self, metrics: Mapping[str, float], evaluated: bool) -> None:
        """Tells a finished unit's metrics: always if evaluated, else now and then."""
        now = time.monotonic()
        if not evaluated and (self._bar is not None or now - self._last_line < self._between):
            return
        self._last_line = now
        rate, left = self._pace()
        place = f"{self._phase} {self._unit} {self._place()}"
        words = [place, describe(metrics)] if self._bar else [place, describe(metrics), rate, left]
        self._console.print(" · ".join(word for word in words if word), highlight=False)

    def _place(self) -> str:
        """Finished units of all; a unit counts when it is whole."""
        return f"{int(self._done)}/{self._total}"

    def _pace(self) -> tuple[str, str]:
        """Seconds a unit and time left, measured in this sitting."""
        finished = self._done - self._first
        if finished <= 0:
            return "", ""
        pace = (time.monotonic() - self._begun) / finished
        seconds = f"{pace:.3g}" if pace < 1000.0 else f"{pace:,.0f}"
        return f"{seconds} s/{self._unit}", f"{clock(pace * (self._total - self._done))} left"
