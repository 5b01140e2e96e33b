"""Whether a config fits its devices, as `bin/benchmark.py --plan` prints it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator

import jax
import rich.table

from seqgan_jax.benchmark import memory
from seqgan_jax.benchmark.memory import Footprint
from seqgan_jax.checked import ConfigError
from seqgan_jax.hparams import HParams

GIB = 2**30

_CALLS = {
    "pretrain_generator_epoch": "MLE step",
    "generator_steps": "g-step",
    "discriminator_epochs": "d-step",
    "evaluation": "evaluation",
}
_MOST_DEVICES = 4096  # along an axis, that a way out asks for


def device_memory() -> tuple[int, str]:
    """Bytes of this machine's first device, and in words whose they are."""
    device = jax.local_devices()[0]
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if limit:
        return int(limit), f"this machine's {device.device_kind}"
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "this machine's memory"


def report(hparams: HParams, gib: float | None) -> tuple[rich.table.Table, str]:
    """What a config needs of a device, and whether a device has it.

    Args:
      hparams: as of `memory.footprint`.
      gib: GiB of a device; by default what this machine's first one has.

    Returns:
      A table of bytes, and a sentence on the largest `rollout_chunk` that fits, or on what would.

    Raises:
      ConfigError: as `memory.footprint`; or the memory is not above 0.
    """
    if gib is not None and not 0 < gib <= 1e9:
        raise ConfigError(f"--plan_memory={gib}: must be above 0, in GiB, and at most 1e9")
    limit, whose = device_memory() if gib is None else (int(gib * GIB), "--plan_memory")
    needed = memory.footprint(hparams)
    verdict = _verdict(hparams, needed, limit)
    return table(hparams, needed), f"{readable(limit)} a device ({whose}): {verdict}"


def table(hparams: HParams, needed: Footprint) -> rich.table.Table:
    """A row an item that a device holds: between calls, then at each call's fullest moment."""
    mesh, sizes, training = memory.mesh_of(hparams), hparams.sizes, hparams.training
    result = rich.table.Table(
        title=f"one of {mesh.data} x {mesh.model} devices (data x model): V {sizes.vocab_size:,}, "
        f"H {hparams.model.hidden_dim:,}, T {sizes.length}, B {hparams.schedule.batch_size}, "
        f"N {training.num_rollouts}, rollout_chunk {training.rollout_chunk}"
    )
    result.add_column("held")
    result.add_column("bytes", justify="right")
    for name, size in needed.held.items():
        result.add_row(name, readable(size))
    result.add_row("between calls", readable(needed.resident), style="bold", end_section=True)
    for call, moment in needed.calls.items():
        for name, size in moment.parts.items():
            result.add_row(f"  {name}", readable(size))
        result.add_row(
            f"{_CALLS[call]}, temporarily ({moment.name})", readable(moment.bytes), style="bold",
            end_section=True,
        )  # fmt: skip
    fullest = max(needed.calls, key=lambda call: needed.calls[call].bytes)
    result.add_row(f"at the peak, {_CALLS[fullest]}", readable(needed.peak), style="bold")
    return result


def readable(size: float) -> str:
    """Bytes in binary units, three digits."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:,.3g} TiB" if size < 1000 else f"{size:,.0f} TiB"


def _verdict(hparams: HParams, needed: Footprint, limit: int) -> str:
    chunk, rollouts = memory.largest_chunk(hparams, limit), hparams.training.num_rollouts
    if chunk is not None:
        given = hparams.training.rollout_chunk
        fits = "fits" if needed.peak <= limit else "does not fit"
        return (
            f"rollout_chunk {given} {fits}; the largest that does is {chunk}"
            + (", all N at a time" if chunk == rollouts else f" of N = {rollouts}")
        )  # fmt: skip
    least = memory.footprint(memory.with_chunk(hparams, 1))
    ways = list(ways_out(hparams, limit))
    others = f"what fits: {'; or '.join(ways)}" if ways else (
        "neither more devices along one axis of the mesh nor a smaller schedule.batch_size is "
        "enough; change several settings, or give a smaller model"
    )  # fmt: skip
    return f"does not fit even with rollout_chunk 1, {readable(least.peak)}; {others}"


def ways_out(hparams: HParams, limit: int) -> Iterator[str]:
    """Settings with which a config that does not fit does, with `rollout_chunk` 1, each alone."""
    hparams = memory.with_chunk(hparams, 1)
    mesh, schedule = memory.mesh_of(hparams), hparams.schedule
    powers = [2**power for power in range(1, _MOST_DEVICES.bit_length())]

    def changed(section: str, **fields: int) -> HParams:
        record = dataclasses.replace(getattr(hparams, section), **fields)
        return dataclasses.replace(hparams, **{section: record})

    tried = (  # of each kind one after the other, until it fits
        [("mesh", {"data": mesh.data, "model": mesh.model * by}) for by in powers],
        [("mesh", {"data": mesh.data * by, "model": mesh.model}) for by in powers],
        [("schedule", {"batch_size": schedule.batch_size // by})
         for by in powers if by <= schedule.batch_size // 2],
    )  # fmt: skip
    for settings in tried:
        for section, fields in settings:
            if _fits(changed(section, **fields), limit):
                flags = (f"--config.{section}.{name}={value}" for name, value in fields.items())
                yield " ".join(flags)
                break


def _fits(hparams: HParams, limit: int) -> bool:
    try:
        return memory.footprint(hparams).peak <= limit
    except ConfigError:  # its devices cannot share what it has
        return False
