"""Checkpoints: the training state and where the run was, through Orbax."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import jax
import orbax.checkpoint as ocp

from seqgan_jax.methods.state import TrainState
from seqgan_jax.training.sharding import Layout

FOLDER = "checkpoints"  # of a run
PRETRAINED_FOLDER = "pretrained"  # the state after maximum likelihood


@dataclasses.dataclass
class Progress:
    """Where a run is; plain values that JSON carries.

    Attributes:
      calls: compiled calls finished, an index into the plan.
      lines: lines of metrics.jsonl that belong to them.
      seconds: time spent so far, over all sittings.
      training_seconds: of these, inside compiled calls: without evaluation and reading.
      work: generator updates, discriminator updates, sequences and tokens drawn to train with.
      origin: what pre-training depends on, see `shared_start`; empty where that has changed.
      pending: metrics of a unit not yet finished, name -> [sum, number of calls].
    """

    calls: int = 0
    lines: int = 0
    seconds: float = 0.0
    training_seconds: float = 0.0
    work: list[int] = dataclasses.field(default_factory=lambda: [0, 0, 0, 0])
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)
    pending: dict[str, list[float]] = dataclasses.field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one run, newest kept."""

    def __init__(self, folder: str, kept: int | None = None) -> None:
        """Opens a run's checkpoints to write and keep the newest, or, without `kept`, to read."""
        options = ocp.CheckpointManagerOptions(
            max_to_keep=kept, enable_async_checkpointing=False, create=True, read_only=kept is None
        )
        self._manager = ocp.CheckpointManager(os.path.abspath(folder), options=options)

    def save(self, state: TrainState, progress: Progress) -> None:
        """Writes a checkpoint; it counts only when it is complete."""
        self._manager.save(
            progress.calls,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(_without_keys(state)),
                progress=ocp.args.JsonSave(dataclasses.asdict(progress)),
            ),
        )

    def newest(self) -> int | None:
        """Number of calls finished at the newest checkpoint, or None where there is none."""
        return self._manager.latest_step()

    def steps(self) -> set[int]:
        """Numbers of calls finished at the checkpoints that there are."""
        return set(self._manager.all_steps())

    def drop_after(self, calls: int) -> None:
        """Deletes the checkpoints of later calls: they will be made again."""
        for step in sorted(self.steps()):
            if step > calls:
                self._manager.delete(step)

    def restore(
        self, like: TrainState, layout: Layout | None = None, *, prng: str = "threefry2x32"
    ) -> tuple[TrainState, Progress]:
        """Reads the newest checkpoint, whatever devices and hosts it was written from.

        Args:
          like: a state, or its shapes, of the same models and settings.
          layout: of the devices that it is to lie on; the first device by default.
          prng: the kind of its key.

        Returns:
          The state and the progress.
        """
        shapes = jax.eval_shape(_without_keys, like)
        places = None if layout is None else layout.shardings(shapes)
        if places is None:
            here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
            places = jax.tree.map(lambda leaf: here, shapes)
        target = jax.tree.map(
            lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
            shapes, places,
        )  # fmt: skip
        restored = self._manager.restore(
            self.newest(),
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(target),
                progress=ocp.args.JsonRestore(),
            ),
        )
        key = jax.random.wrap_key_data(restored["state"].key, impl=prng)
        state = dataclasses.replace(restored["state"], key=key)
        return state, Progress(**restored["progress"])

    def close(self) -> None:
        """Waits for what is being written."""
        self._manager.close()


def _without_keys(state: TrainState) -> Any:
    """The state with its typed key as plain bits, which is what a file can hold."""
    return dataclasses.replace(state, key=jax.random.key_data(state.key))
