"""Log-softmax of a linear layer at given tokens, without an array of log-softmax.

Where the vocabulary is spread over devices, each takes the exponentials of its own tokens; what
they exchange are a few numbers a row, and the gradient of the features.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from seqgan_jax import mesh
from seqgan_jax.blocks import (
    GRADIENT_LOGITS,
    LIKELIHOOD_ROWS,
    LiveBlocks,
    in_place,
    live_blocks,
    map_live,
    map_rows,
)
from seqgan_jax.models.linear_output import linear_output, shifted_logits, with_ones
from seqgan_jax.types import Array


@jax.custom_vjp
def linear_log_probs(
    features: Array, kernel: Array, bias: Array, targets: Array, blocks: LiveBlocks | None = None
) -> Array:
    """Log-softmax of `features @ kernel + bias` at the targets.

    The target's logit comes from its own column of the kernel, and the gradient is written out
    once: exponentials are taken a single time, and their normalisation is folded into the small
    `[R, H]` operands. Where R rows of V are too many to keep (`blocks.GRADIENT_LOGITS`), the
    gradient takes the exponentials again, some rows at a time.

    Args:
      features: `[R, H]`; float32, or bfloat16 to be multiplied in that.
      kernel: `[H, V]`.
      bias: `[V]`.
      targets: `[R]` int32.
      blocks: which of the R rows count; None for all.

    Returns:
      `[R]` float32; 0 for rows that do not count.
    """
    return _spread_log_probs(features, kernel, bias, targets, blocks, keeps=False)[0]


Kept = tuple[Array | None, Array]  # exponentials and their sums, or None and log-sums


def _spread_log_probs(
    features: Array,
    kernel: Array,
    bias: Array,
    targets: Array,
    blocks: LiveBlocks | None,
    *,
    keeps: bool,
) -> tuple[Array, Kept]:
    """Log-probabilities, and what a gradient needs of the softmax."""
    output = linear_output(kernel, bias, features.dtype)

    def of_part(
        features: Array, kernel: Array, longest: Array, targets: Array, blocks: LiveBlocks | None
    ) -> tuple[Array, Array | None, Array]:
        def forward(block: tuple[Array, Array]) -> tuple[Array, Array | None]:
            chosen, shift, weights = _exponentials(block[0], kernel, longest, block[1])
            few = jnp.stack([chosen, shift, weights.sum(axis=-1)], axis=-1)
            return few, weights if keeps else None

        rows, weights = (features, targets), None
        if blocks is not None:
            each, weights = map_live(forward, rows, blocks)
        elif keeps:
            each, weights = forward(rows)
        else:
            each = map_rows(lambda block: forward(block)[0], rows, LIKELIHOOD_ROWS)
        result, sums = _of_all_parts(*jnp.moveaxis(each, -1, 0), logarithm=not keeps)
        return (result if blocks is None else in_place(result, blocks)), weights, sums

    columns = 1 if blocks is None else 2
    spread = mesh.over_vocabulary(
        of_part, (None, 1, None, None, None), (None, columns if keeps else None, None)
    )
    result, weights, sums = spread(features, output.kernel, output.longest, targets, blocks)
    return result, (weights, sums)


def _exponentials(
    features: Array, kernel: Array, longest: Array, targets: Array
) -> tuple[Array, Array, Array]:
    """Of a part's tokens: the target's logit (else 0), the shift, and `exp(logits - shift)`."""
    logits, shift = shifted_logits(features, kernel, longest)
    place = targets - mesh.first_token(kernel.shape[1])
    mine = (place >= 0) & (place < kernel.shape[1])
    column = kernel.T[jnp.clip(place, 0, kernel.shape[1] - 1)].astype(jnp.float32)
    chosen = jnp.sum(with_ones(features) * column, axis=-1)
    return jnp.where(mine, chosen, 0.0), shift, jnp.exp(logits - shift[:, None])


def _of_all_parts(
    chosen: Array, shift: Array, sums: Array, *, logarithm: bool
) -> tuple[Array, Array]:
    """Log-probabilities from what each part of the vocabulary has of them, of any shape.

    The second result divides the part's exponentials to make them probabilities; or, as
    `logarithm`, it is the log-sum of all exponentials without a shift.
    """
    if mesh.parts() > 1:
        # In one exchange; of the target's logits all but one are 0.
        each = mesh.of_each_part(jnp.stack([chosen, shift, sums]))
        chosens, shifts, totals = jnp.moveaxis(each, 1, 0)
        chosen, top = chosens.sum(axis=0), shifts.max(axis=0)
        total = (totals * jnp.exp(shifts - top)).sum(axis=0)
        shift, sums, divisor = top, total, total * jnp.exp(top - shift)
    else:
        divisor = sums
    result = chosen - shift - jnp.log(sums)
    return result, shift + jnp.log(sums) if logarithm else divisor


Residuals = tuple[Array, Array, Array, Array, LiveBlocks | None, Kept]


def _linear_log_probs_fwd(
    features: Array, kernel: Array, bias: Array, targets: Array, blocks: LiveBlocks | None
) -> tuple[Array, Residuals]:
    logits = features.shape[0] * kernel.shape[1] // mesh.shards(mesh.MODEL)
    result, kept = _spread_log_probs(
        features, kernel, bias, targets, blocks, keeps=logits <= GRADIENT_LOGITS
    )
    return result, (features, kernel, bias, targets, blocks, kept)


def _linear_log_probs_bwd(residuals: Residuals, cotangent: Array) -> tuple:
    features, kernel, bias, targets, blocks, (weights, sums) = residuals

    def of_part(
        features: Array, kernel: Array, bias: Array, targets: Array, blocks: LiveBlocks | None,
        weights: Array | None, sums: Array, cotangent: Array,
    ) -> tuple[Array, Array, Array]:  # fmt: skip
        # The bias rides along as one more feature that is always 1.
        with_bias = jnp.concatenate([features, jnp.ones_like(features[:, :1])], axis=1)
        if blocks is not None:
            cotangent = jnp.where(blocks.live, cotangent, 0.0)
        place = targets - mesh.first_token(kernel.shape[1])
        mine = (place >= 0) & (place < kernel.shape[1])
        place = jnp.clip(place, 0, kernel.shape[1] - 1)
        # d log p(target) / d logits = onehot(target) - weights / sum.
        of_target = jnp.where(mine, cotangent, 0.0)[:, None]
        if blocks is None and weights is not None:
            softmax = _through_softmax(kernel, with_bias, weights, cotangent / sums)
        else:
            softmax = _through_blocks(
                kernel, bias, with_bias, blocks, weights, sums, cotangent
            )  # fmt: skip
        d_features = mesh.vocabulary_sum(of_target * kernel.T[place] - softmax[0])
        sparse = jnp.zeros(softmax[1].T.shape, softmax[1].dtype)
        sparse = sparse.at[place].add(with_bias * of_target)
        d_both = sparse.T - softmax[1]
        return d_features.astype(features.dtype), d_both[:-1], d_both[-1]

    axis = None if weights is None else weights.ndim - 1
    spread = mesh.over_vocabulary(
        of_part, (None, 1, 0, None, None, axis, None, None), (None, 1, 0)
    )  # fmt: skip
    gradients = spread(features, kernel, bias, targets, blocks, weights, sums, cotangent)
    return *gradients, None, None


def _through_softmax(
    kernel: Array, with_bias: Array, weights: Array, scaled: Array
) -> tuple[Array, Array]:
    """What the normaliser takes from the gradients of features `[R, H]` and layer `[H + 1, V]`.

    The weights times `scaled`, `[R]`, are the gradient's; the products are taken in the features'
    dtype and summed in float32.
    """
    dtype = with_bias.dtype
    weights, rows = weights.astype(dtype), (with_bias * scaled[:, None]).astype(dtype)
    back = jnp.matmul(weights, kernel.T.astype(dtype), preferred_element_type=jnp.float32)
    layer = jnp.matmul(rows.T, weights, preferred_element_type=jnp.float32)
    return back * scaled[:, None], layer


def _through_blocks(
    kernel: Array,
    bias: Array,
    with_bias: Array,
    blocks: LiveBlocks | None,
    weights: Array | None,
    sums: Array,
    cotangent: Array,
) -> tuple[Array, Array]:
    """`_through_softmax` block after block, passing over those not live.

    Without weights they are taken again, from the log-sums in `sums`.
    """
    if blocks is None:
        blocks = live_blocks(jnp.ones(cotangent.shape, bool), LIKELIHOOD_ROWS)
        sums = sums[blocks.rows]
    size = blocks.rows.shape[1]
    output = linear_output(kernel, bias, with_bias.dtype)
    # What follows the live rows in the last block of them repeats row 0; it must not count again.
    counts = jnp.arange(blocks.rows.size).reshape(blocks.rows.shape) < blocks.live.sum()

    def step(dense: Array, block: tuple) -> tuple[Array, Array]:
        rows, is_live, counted, block_weights, block_sums = block

        def live() -> tuple[Array, Array]:
            scaled = cotangent[rows]
            if block_weights is None:
                again = with_ones(with_bias[rows, :-1])
                logits = jnp.matmul(again, output.kernel, preferred_element_type=jnp.float32)
                each = jnp.exp(logits - block_sums[:, None])
            else:
                each, scaled = block_weights, scaled / block_sums
            part, more = _through_softmax(
                kernel, with_bias[rows], each, jnp.where(counted, scaled, 0.0)
            )
            return dense + more, part

        return jax.lax.cond(
            is_live, live, lambda: (dense, jnp.zeros((size, kernel.shape[0]), jnp.float32))
        )

    start = jnp.zeros((kernel.shape[0] + 1, kernel.shape[1]), jnp.float32)
    dense, each = jax.lax.scan(step, start, (blocks.rows, blocks.is_live, counts, weights, sums))
    return in_place(each, blocks), dense


linear_log_probs.defvjp(_linear_log_probs_fwd, _linear_log_probs_bwd)
