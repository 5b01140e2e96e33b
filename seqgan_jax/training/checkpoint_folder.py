"""The folder of a run's checkpoints: which are whole, which are the best, which stay."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable

from seqgan_jax.checked import ConfigError
from seqgan_jax.training import manifest

_COMPLETE = re.compile(r"[1-9][0-9]{0,17}")
_UNFINISHED = re.compile(r"[0-9]+\.(partial|dropped)(\..*)?")  # being written, or deleted
_DAMAGED = ".damaged"


class CheckpointFolder:
    """Checkpoints, each a folder named by the calls finished then.

    A folder of that name is complete: it was written under another and renamed, with a manifest of
    its files. Whether they are still as written is seen when they are read.

    Args of the constructor:
      folder: that holds them; made when the first is saved.
      keep_last: how many of the newest stay.
      keep_best: how many of those with the lowest score stay beside them.
    """

    def __init__(self, folder: str, keep_last: int = 1, keep_best: int = 0) -> None:
        self._folder = os.path.abspath(folder)
        self._keep_last, self._keep_best = keep_last, keep_best

    def path(self, calls: int) -> str:
        """The folder of a checkpoint."""
        return os.path.join(self._folder, str(calls))

    def steps(self) -> list[int]:
        """Numbers of calls finished at the checkpoints that there are, ascending."""
        names = os.listdir(self._folder) if os.path.isdir(self._folder) else []
        return sorted(int(name) for name in names if _COMPLETE.fullmatch(name))

    def damage(self, calls: int) -> str | None:
        """What is wrong with a checkpoint's files; None where they are as they were written.

        Raises:
          ConfigError: it is of another format.
        """
        try:
            manifest.verify(self.path(calls))
        except manifest.DamagedError as error:
            return f"{self.path(calls)}: {error}"
        return None

    def newest(self, tell: Callable[[str], None]) -> int | None:
        """Calls finished at the newest checkpoint that is whole; None where there are none.

        Args:
          tell: says of each newer one what is wrong with it.

        Raises:
          ConfigError: there are some and none is whole, or one is of another format.
        """
        found: list[str] = []
        for calls in reversed(self.steps()):
            damage = self.damage(calls)
            if damage is None:
                for each in found:
                    tell(f"warning: {each}; going back to the checkpoint before it")
                return calls
            found.append(damage)
        if found:
            raise ConfigError(none_is_whole(found))
        return None

    def best(self) -> int | None:
        """Calls finished at the checkpoint of the lowest score; None where none has a score."""
        scores = self._scores()
        return min(scores, key=lambda calls: (scores[calls], calls)) if scores else None

    def is_among_best(self, score: float) -> bool:
        """Whether a state of this score would be kept for it."""
        scores = sorted(self._scores().values())
        return len(scores) < self._keep_best or score < max(
            scores[: self._keep_best], default=score
        )

    def _scores(self) -> dict[int, float]:
        scores = {}
        for calls in self.steps():
            try:
                score = manifest.read(self.path(calls)).score
            except (manifest.DamagedError, ConfigError):
                continue
            if score is not None:
                scores[calls] = score
        return scores

    def _keep_few(self) -> None:
        steps, scores = self.steps(), self._scores()
        best = sorted(scores, key=lambda calls: (scores[calls], calls))[: self._keep_best]
        for calls in set(steps) - set(steps[-self._keep_last :]) - set(best):
            self._drop(calls)

    def drop_after(self, calls: int) -> None:
        """Deletes the checkpoints of later calls, made again, and what a kill has left."""
        self._clear()
        for step in self.steps():
            if step > calls:
                self._drop(step)

    def set_aside(self, calls: int) -> None:
        """Renames a damaged checkpoint, so that it is none; it is left for who wants to look."""
        aside = self.path(calls) + _DAMAGED
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(self.path(calls), aside)

    def _drop(self, calls: int) -> None:
        """Deletes a checkpoint, by a name under which a half deleted one is none."""
        path = self.path(calls)
        if os.path.lexists(path):
            os.rename(path, f"{path}.dropped")
            _delete(f"{path}.dropped")

    def _clear(self) -> None:
        """Deletes what a kill, or a full disk, has left half written or half deleted.

        What cannot be deleted now is no checkpoint either, and the next one's affair: TensorStore
        may still be writing, after an error, what nobody waits for any more.
        """
        names = os.listdir(self._folder) if os.path.isdir(self._folder) else []
        for name in filter(_UNFINISHED.fullmatch, names):
            with contextlib.suppress(OSError):
                _delete(os.path.join(self._folder, name))


def none_is_whole(damages: list[str]) -> str:
    """The error of a run none of whose checkpoints can be read."""
    listed = "\n  ".join(damages)
    return (
        f"none of the checkpoints can be read:\n  {listed}\n"
        "Give one of them back as it was, or begin anew in another --workdir."
    )


def _delete(path: str) -> None:
    if os.path.islink(path) or not os.path.isdir(path):
        os.unlink(path)
    else:
        shutil.rmtree(path)
