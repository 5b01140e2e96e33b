"""What a compiled call holds for the while, at each of its moments that can be its fullest.

A moment is the list of the larger arrays that live at once. Which do is XLA's choice: on CPUs it
begins early with all that waits for nothing, so the policy gradient's forward pass and the zeros
that it scatters into are there throughout the search before it. Sizes are of one device.
"""

from __future__ import annotations

from seqgan_jax.benchmark.model_memory import (
    FLOAT,
    Mesh,
    Moment,
    Recurrent,
    block_rows,
    cnn_gradient,
    cnn_judged,
    density,
    generator,
)
from seqgan_jax.blocks import DRAWN_ROWS, JUDGED_ROWS, LIKELIHOOD_ROWS
from seqgan_jax.hparams import HParams
from seqgan_jax.search.rollout import num_slots

_TOKEN = FLOAT + 1  # a token's id and its mask


def calls(hparams: HParams, mesh: Mesh) -> dict[str, Moment]:
    """The fullest moment of each call, by name: as in `training.compiled`, and `evaluation`."""
    return {
        name: max(moments(hparams, mesh), key=lambda moment: moment.bytes)
        for name, moments in _MOMENTS.items()
    }


def mle_epoch(hparams: HParams, mesh: Mesh) -> list[Moment]:
    """The moments of an MLE step, many of which are one call."""
    tokens = hparams.schedule.batch_size // mesh.data * hparams.sizes.length
    return generator(hparams, mesh).gradient(tokens, hparams.training.mle_dropout_rate)


def generator_steps(hparams: HParams, mesh: Mesh) -> list[Moment]:
    """The moments of a g-step: of its gradient, and of the Monte Carlo search before."""
    model, rows = generator(hparams, mesh), hparams.schedule.batch_size // mesh.data
    tokens = rows * hparams.sizes.length
    # What the search finds there, whether or not it needs it.
    around = {
        "copies of the output layers": 2 * model.output,
        "states before every position": model.rows(tokens, model.cell.state),
        "policy gradient, begun early": _begun_early(model, tokens),
    }
    if hparams.discriminator.kind == "density":
        around["copies of the output layers"] += density(hparams, mesh).output
        if tokens <= LIKELIHOOD_ROWS:
            around["logits of the finished sequences"] = 2 * model.logits(tokens)
    return model.gradient(tokens, 0.0) + [
        Moment(f"search: {name}", around | parts)
        for name, parts in _search(hparams, mesh, rows).items()
    ]


def _begun_early(model: Recurrent, tokens: int) -> int:
    """What needs no action values: the forward pass of a gradient, and zeros to add it up in."""
    begun = model.kept(tokens, 0.0) + model.output + model.other
    if model.keeps_exponentials(tokens):
        return begun + model.logits(tokens)
    if tokens <= LIKELIHOOD_ROWS:  # one block of rows, forward and backward
        return begun + 2 * model.logits(tokens)
    return begun + model.output


def _search(hparams: HParams, mesh: Mesh, rows: int) -> dict[str, dict[str, int]]:
    """A chunk of rollouts of so many sequences; none where all are of one token."""
    model, training = generator(hparams, mesh), hparams.training
    length, cell = hparams.sizes.length, model.cell
    if length == 1:
        return {}
    chunk = min(training.rollout_chunk, training.num_rollouts)
    slots = num_slots(length, chunk) * rows
    # What whole chunks leave over begins early too.
    rest = num_slots(length, training.num_rollouts % chunk) * rows
    # The states that rollouts begin with, their uniforms, and the tokens that these give.
    begun = model.rows(slots + rest, cell.state) + 2 * FLOAT * length * (slots + rest)
    completions = 2 * slots
    return {
        "the cell": {"rollouts": begun + model.rows(slots, cell.within)},
        "drawing": {
            "rollouts": begun + model.rows(slots, cell.state + 1), "logits": model.drawn(slots)
        },
        "judging": {
            "rollouts": begun + 2 * FLOAT * length * completions,
            "judged": _judged(hparams, mesh, block_rows(completions, JUDGED_ROWS)),
        },
    }  # fmt: skip


def _judged(hparams: HParams, mesh: Mesh, rows: int) -> int:
    """So many sequences judged at a time, without a gradient."""
    if hparams.discriminator.kind != "density":
        return cnn_judged(hparams, rows)
    players = generator(hparams, mesh), density(hparams, mesh)
    return max(player.likelihood(rows, hparams.sizes.length) for player in players)


def discriminator_epochs(hparams: HParams, mesh: Mesh) -> list[Moment]:
    """The moments of a d-step: of drawing its negatives, and of a gradient."""
    schedule, length = hparams.schedule, hparams.sizes.length
    model = generator(hparams, mesh)
    samples, rows = -(-schedule.d_samples // mesh.data), schedule.d_batch_size // mesh.data
    pool = {"sequences": 2 * samples * (_TOKEN * length + FLOAT)}  # and their labels
    drawing = Moment("drawing", pool | _drawing(model, samples, length))
    if hparams.discriminator.kind != "density":
        return [drawing, Moment("gradient", pool | cnn_gradient(hparams, mesh, rows))]
    judge, dropout_rate = density(hparams, mesh), hparams.discriminator.dropout_rate
    around = pool | {"copy of the output layer": model.output}
    likelihood = {
        "likelihood": model.likelihood(rows, length),
        "kept for the gradient": judge.kept(rows * length, dropout_rate),
    }
    return [
        drawing,
        Moment("the generator's likelihood", around | likelihood),
        *(
            Moment(each.name, around | each.parts)
            for each in judge.gradient(rows * length, dropout_rate)
        ),
    ]


def _drawing(model: Recurrent, samples: int, length: int) -> dict[str, int]:
    """So many sequences drawn."""
    rows = block_rows(samples, DRAWN_ROWS)
    states = model.rows(rows, model.cell.state + 1)
    return {
        "copy of the output layer": model.output,
        "logits": model.drawn(rows),
        "states and uniforms": states + FLOAT * samples * length,
    }


def evaluation(hparams: HParams, mesh: Mesh) -> list[Moment]:
    """The moments of drawing `eval_samples` sequences, and of the likelihood of as many.

    All are on the devices at a time; where pre-training stops early, all held-out ones too.
    """
    model, length = generator(hparams, mesh), hparams.sizes.length
    samples = -(-hparams.evaluation.eval_samples // mesh.data)
    judged = samples
    if hparams.schedule.g_patience > 0:
        judged = max(samples, -(-hparams.sizes.num_test // mesh.data))
    drawn = {"sequences": 2 * samples * _TOKEN * length}
    likelihood = {
        "copy of the output layer": model.output, "likelihood": model.likelihood(judged, length)
    }  # fmt: skip
    return [
        Moment("drawing", drawn | _drawing(model, samples, length)),
        Moment("likelihood", drawn | likelihood),
    ]


_MOMENTS = {
    "pretrain_generator_epoch": mle_epoch,
    "generator_steps": generator_steps,
    "discriminator_epochs": discriminator_epochs,
    "evaluation": evaluation,
}
