"""Samples as people want them: lines of text, MIDI files, piano rolls."""

from __future__ import annotations

import os

import matplotlib.figure
import numpy as np

from seqgan_jax.atomic import write_atomically
from seqgan_jax.data.dataset import Codec
from seqgan_jax.data.midi import write_midi
from seqgan_jax.data.pitch_codec import PitchCodec, pitches
from seqgan_jax.training import rendering
from seqgan_jax.types import Sequences

MUSIC_FOLDER = "music"
_PLAYED = 8  # samples of a run written as MIDI and drawn


def decoded(sequences: Sequences, codec: Codec) -> list[str]:
    """One line a sequence, as `codec.encode` reads it back."""
    return [
        codec.decode(row[real].tolist())
        for row, real in zip(sequences.tokens, sequences.mask, strict=True)
    ]


def laid_out(sequences: Sequences, codec: Codec) -> str:
    """As a person reads them: a poem on several lines, with a blank one between two poems."""
    rows = zip(sequences.tokens, sequences.mask, strict=True)
    texts = [codec.layout(row[real].tolist()) for row, real in rows]
    between = "\n\n" if any("\n" in text for text in texts) else "\n"
    return between.join(texts) + "\n" if texts else ""


def write_samples(path: str, sequences: Sequences, codec: Codec) -> None:
    """Writes a line a sequence, and beside it, of melodies, the first as MIDI and piano rolls."""
    write_atomically(path, "".join(line + "\n" for line in decoded(sequences, codec)))
    if isinstance(codec, PitchCodec) and len(sequences.tokens):
        few = sequences.tokens[:_PLAYED]
        write_music(os.path.join(os.path.dirname(path), MUSIC_FOLDER), few, codec)


def write_music(folder: str, tokens: np.ndarray, codec: PitchCodec) -> None:
    """Writes melodies `[B, T]` as sample-1.mid and so on, and all of them as piano_roll.png."""
    os.makedirs(folder, exist_ok=True)
    for number, row in enumerate(tokens, 1):
        write_midi(os.path.join(folder, f"sample-{number}.mid"), row, codec.seconds_per_step)
    draw_piano_rolls(os.path.join(folder, "piano_roll.png"), tokens, codec)


def draw_piano_rolls(path: str, tokens: np.ndarray, codec: PitchCodec) -> None:
    """Draws melodies `[B, T]`, at most eight, pitch against time; triangles mark notes beyond."""
    shown = pitches(tokens[:_PLAYED])
    count, length = shown.shape
    rows = -(-count // 2)
    figure = matplotlib.figure.Figure(figsize=(9, 1.0 + 1.6 * rows), layout="constrained")
    grid = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False)
    sounding = shown[~np.isnan(shown)]
    # A single note far off must not press all others together: it is marked at the edge instead.
    low, high = np.percentile(sounding, [1, 99]) if sounding.size else (60.0, 72.0)
    low, high = low - 2.5, high + 2.5
    for index, axes in enumerate(grid.flat):
        if index >= count:
            axes.set_visible(False)
            continue
        step = np.flatnonzero(~np.isnan(shown[index]))
        axes.barh(
            shown[index][step], codec.seconds_per_step, left=step * codec.seconds_per_step,
            height=0.9, color="#0072B2", edgecolor="white", linewidth=0.3,
        )  # fmt: skip
        for far, edge, marker in (
            (shown[index] > high, high - 0.6, "^"), (shown[index] < low, low + 0.6, "v"),
        ):  # fmt: skip
            at = (np.flatnonzero(far) + 0.5) * codec.seconds_per_step
            axes.plot(at, np.full(len(at), edge), marker, color="#D55E00", markersize=4)
        axes.set_title(f"sample {index + 1}", fontsize=8, loc="left")
        axes.set_ylim(low, high)
        axes.set_xlim(0, length * codec.seconds_per_step)
        named = [p for p in range(128) if p % 12 in (0, 7) and low < p < high]
        axes.set_yticks(named, [f"{'C' if p % 12 == 0 else 'G'}{p // 12 - 1}" for p in named])
        axes.grid(alpha=0.3)
    figure.supxlabel("time, seconds (triangles: notes beyond the range shown)", fontsize=9)
    figure.supylabel("pitch (C4 is middle C)", fontsize=9)
    write_atomically(path, rendering.png(figure))
