"""Bytes of the arrays that the models make of so many rows, on one device."""

from __future__ import annotations

import math
from typing import NamedTuple

from seqgan_jax.blocks import DRAWN_TOKENS, GRADIENT_LOGITS, LIKELIHOOD_ROWS, drawn_rows
from seqgan_jax.hparams import HParams

FLOAT = 4  # bytes, of a token's id too


class Mesh(NamedTuple):
    """Devices that share the rows, and those that share the vocabulary."""

    data: int
    model: int


class Moment(NamedTuple):
    """The arrays that live at one moment of a call."""

    name: str
    parts: dict[str, int]  # name -> bytes

    @property
    def bytes(self) -> int:
        """Of all of them."""
        return sum(self.parts.values())


class Cell(NamedTuple):
    """How many arrays `[rows, H]` a recurrent cell makes."""

    gates: int  # of its input; as many of its state
    state: int  # carried from step to step
    within: int  # that live in the midst of a step
    kept: int  # of a step, for its gradient


_CELLS = {"lstm": Cell(4, 2, within=10, kept=13), "gru": Cell(3, 1, within=8, kept=10)}


class Recurrent(NamedTuple):
    """A recurrent language model on one device."""

    cell: Cell
    vocab_size: int  # the device's share of the tokens
    embed_dim: int
    hidden_dim: int

    @property
    def output(self) -> int:
        """Of `[H + 1, V]`: the output layer with its bias, or its gradient."""
        return FLOAT * (self.hidden_dim + 1) * self.vocab_size

    @property
    def other(self) -> int:
        """Of the parameters before the output layer."""
        gates = self.cell.gates * self.hidden_dim
        inside = gates * (self.embed_dim + self.hidden_dim + 1)
        return FLOAT * (self.vocab_size * self.embed_dim + inside)

    def rows(self, number: int, arrays: int = 1) -> int:
        """Of so many arrays `[rows, H]`."""
        return FLOAT * number * arrays * self.hidden_dim

    def logits(self, number: int) -> int:
        """Of `[rows, V]`."""
        return FLOAT * number * self.vocab_size

    def drawn(self, number: int) -> int:
        """Of the logits of one token a row, and the features that they come from."""
        rows = block_rows(number, drawn_rows(self.vocab_size))
        # Filled up to whole blocks of tokens they are there three times.
        copies = 1 if self.vocab_size % min(DRAWN_TOKENS, self.vocab_size) == 0 else 3
        return copies * self.logits(rows) + self.rows(rows)

    def likelihood(self, number: int, length: int) -> int:
        """Of the log-probabilities of so many sequences, without a gradient, at the fullest."""
        tokens = number * length
        block = block_rows(tokens, LIKELIHOOD_ROWS)
        copies = 1 if tokens % block == 0 else 2  # features, and these filled up to whole blocks
        scan = self.rows(tokens) + self.rows(number, self.cell.within)
        return max(scan, self.logits(block) + self.rows(tokens, copies))

    def kept(self, tokens: int, dropout_rate: float) -> int:
        """Of what the scan over positions keeps for the gradient, and dropout's mask."""
        dropped = tokens * self.hidden_dim * (FLOAT + 1) if dropout_rate > 0.0 else 0
        return self.rows(tokens, self.cell.kept) + FLOAT * tokens * self.embed_dim + dropped

    def keeps_exponentials(self, tokens: int) -> bool:
        """Whether a gradient keeps those of all its logits."""
        return tokens * self.vocab_size <= GRADIENT_LOGITS

    def gradient(self, tokens: int, dropout_rate: float) -> list[Moment]:
        """The moments of a gradient of log-probabilities; the update by it holds no more."""
        kept = self.kept(tokens, dropout_rate)
        through_cell = kept + self.rows(tokens, 2)
        if self.keeps_exponentials(tokens):
            # The softmax's part of the output layer's gradient, and the targets'.
            softmax = {"exponentials": self.logits(tokens), "output layer": 2 * self.output}
        else:
            # Its copy too, for the exponentials are taken again, and the part of a block of rows.
            block = self.logits(min(tokens, LIKELIHOOD_ROWS))
            softmax = {"exponentials": block, "output layer": 4 * self.output}
            kept += self.rows(tokens, 3)  # features and their gradient, in blocks
        return [
            Moment("gradient, through the softmax", {"kept for it": kept} | softmax),
            Moment("gradient, through the cell", {
                "kept for it": through_cell, "gradients": 2 * self.output + self.other
            }),
        ]  # fmt: skip


def generator(hparams: HParams, mesh: Mesh) -> Recurrent:
    """The generator, and so the rollout policy."""
    return _recurrent(hparams, mesh, hparams.model.embed_dim, hparams.model.hidden_dim)


def density(hparams: HParams, mesh: Mesh) -> Recurrent:
    """A discriminator of that kind."""
    settings = hparams.discriminator
    return _recurrent(hparams, mesh, settings.embed_dim, settings.hidden_dim)


def _recurrent(hparams: HParams, mesh: Mesh, embed_dim: int, hidden_dim: int) -> Recurrent:
    vocab_size = hparams.sizes.vocab_size // mesh.model
    return Recurrent(_CELLS[hparams.model.cell], vocab_size, embed_dim, hidden_dim)


def block_rows(number: int, most: int) -> int:
    """Rows that `blocks.map_rows` works on at a time."""
    return math.ceil(number / math.ceil(number / most))


def cnn_judged(hparams: HParams, rows: int) -> int:
    """Of so many sequences that a text CNN judges, without a gradient."""
    windows, outputs = _windows(hparams, rows)
    # All windows, the slices that the largest are put together from, and the outputs of a width.
    return sum(windows) + max(windows) + max(outputs)


def cnn_gradient(hparams: HParams, mesh: Mesh, rows: int) -> dict[str, int]:
    """Of a text CNN's gradient of so many sequences, by name."""
    settings = hparams.discriminator
    windows, outputs = _windows(hparams, rows)
    size = sum(number for _, number in settings.filters)
    units = 2 if settings.softmax_head else 1
    filters = sum((width * settings.embed_dim + 1) * number for width, number in settings.filters)
    table = hparams.sizes.vocab_size // mesh.model * settings.embed_dim
    embedded = FLOAT * rows * hparams.sizes.length * settings.embed_dim
    return {
        "windows": sum(windows) + embedded,
        # As they are and masked, and the gradients of both.
        "filters' outputs": 4 * sum(outputs),
        "gradients": FLOAT * (table + filters + 2 * size * (size + 1) + units * (size + 1)),
    }


def _windows(hparams: HParams, rows: int) -> tuple[list[int], list[int]]:
    """Of a text CNN's unfolded windows and of its filters' outputs, a number a width."""
    settings, length = hparams.discriminator, hparams.sizes.length
    windows, outputs = [], []
    for width, number in settings.filters:
        places = FLOAT * rows * (length - width + 1)
        # Windows of one token are the embedded sequence itself.
        windows.append(places * width * settings.embed_dim if width > 1 else 0)
        outputs.append(places * number)
    return windows, outputs
