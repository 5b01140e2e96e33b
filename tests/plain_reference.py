"""SeqGAN as the paper's text says it, word for word and with nothing saved.

What the library is checked against, and what `bin/benchmark.py` measures it against in the same
process: whole arrays of log-softmax, `jax.random.categorical`, `lax.conv`, and Eq. 4 by running
every prefix again for every rollout. Parameters are the library's own pytrees, of the LSTM and the
text CNN; each function is one that a careful first implementation would have.
"""

import functools

import jax
import jax.numpy as jnp
import optax


def lstm_step(params, state, token):
    """Eq. 9-10: the next state and the logits `[B, V]` of the token after `token` `[B]`."""
    cell, hidden = state
    gates = (
        params["embedding"][token] @ params["input_kernel"]
        + hidden @ params["recurrent_kernel"]
        + params["bias"][None, :]
    )
    i, f, o, c = jnp.split(gates, 4, axis=-1)
    cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(c)
    hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
    logits = hidden @ params["output_kernel"] + params["output_bias"][None, :]
    return (cell, hidden), logits


def initial_state(params, batch_size):
    zeros = jnp.zeros((batch_size, params["recurrent_kernel"].shape[0]))
    return zeros, zeros


@jax.jit
def log_probs(params, tokens):
    """`log G(y_t | Y_1:t-1)`, `[B, T]`, picked from an array of log-softmax `[B, T, V]`."""

    def step(state, token):
        state, logits = lstm_step(params, state, token)
        return state, logits

    inputs = jnp.pad(tokens, ((0, 0), (1, 0)))[:, :-1]  # the start token is 0
    _, logits = jax.lax.scan(step, initial_state(params, tokens.shape[0]), inputs.T)
    everything = jax.nn.log_softmax(logits.transpose(1, 0, 2))
    return jnp.take_along_axis(everything, tokens[..., None], axis=-1)[..., 0]


@functools.partial(jax.jit, static_argnames="optimizer")
def mle_step(params, opt_state, tokens, *, optimizer):
    """One step of maximum likelihood; also the loss before it."""
    loss, grads = jax.value_and_grad(lambda p: -log_probs(p, tokens).mean())(params)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss


@functools.partial(jax.jit, static_argnames=("batch_size", "length"))
def sample(params, key, *, batch_size, length):
    """Sequences `[B, T]`, a random number for every token of the vocabulary at every step."""

    def step(carry, step_key):
        state, token = carry
        state, logits = lstm_step(params, state, token)
        token = jax.random.categorical(step_key, logits)
        return (state, token), token

    carry = initial_state(params, batch_size), jnp.zeros(batch_size, jnp.int32)
    return jax.lax.scan(step, carry, jax.random.split(key, length))[1].T


@jax.jit
def complete(params, tokens, known, key):
    """Runs each sequence from its start: the first `known` tokens as given, the rest drawn."""

    def step(carry, inputs):
        state, token = carry
        position, given, step_key = inputs
        state, logits = lstm_step(params, state, token)
        token = jnp.where(position < known, given, jax.random.categorical(step_key, logits))
        return (state, token), token

    batch_size, length = tokens.shape
    carry = initial_state(params, batch_size), jnp.zeros(batch_size, jnp.int32)
    inputs = jnp.arange(length), tokens.T, jax.random.split(key, length)
    return jax.lax.scan(step, carry, inputs)[1].T


def action_values(params, reward, tokens, key, *, num_rollouts):
    """Eq. 4, `[B, T]`; `reward` maps tokens `[B, T]` to `[B]`."""
    length = tokens.shape[1]
    columns = []
    for known in range(1, length):
        total = 0.0
        for rollout in range(num_rollouts):
            rollout_key = jax.random.fold_in(jax.random.fold_in(key, known), rollout)
            total += reward(complete(params, tokens, known, rollout_key))
        columns.append(total / num_rollouts)
    return jnp.stack([*columns, reward(tokens)], axis=1)


@functools.partial(jax.jit, static_argnames="dropout_rate")
def discriminator_logits(params, tokens, dropout_key=None, *, dropout_rate=0.25):
    """Eq. 11-12 with `lax.conv`: the logit of D `[B]`, under either head."""
    embedded = params["embedding"][tokens]
    embed_dim = embedded.shape[-1]
    widths = {name: int(name.split("_")[1]) for name in params if name.startswith("width_")}
    pooled = []
    for name in sorted(widths, key=widths.get):
        kernel = params[name]["kernel"].reshape(widths[name], embed_dim, -1)
        convolved = jax.lax.conv_general_dilated(
            embedded, kernel, (1,), "VALID", dimension_numbers=("NHC", "HIO", "NHC")
        )
        pooled.append(jax.nn.relu(convolved + params[name]["bias"][None, None]).max(axis=1))
    features = jnp.concatenate(pooled, axis=-1)

    def dense(name, x):
        return x @ params[name]["kernel"] + params[name]["bias"][None]

    gate = jax.nn.sigmoid(dense("highway_gate", features))
    transformed = jax.nn.relu(dense("highway_transform", features))
    features = gate * transformed + (1.0 - gate) * features
    if dropout_key is not None:
        kept = jax.random.bernoulli(dropout_key, 1.0 - dropout_rate, features.shape)
        features = jnp.where(kept, features / (1.0 - dropout_rate), 0.0)
    scores = dense("output", features)
    return scores[:, 0] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]


@functools.partial(jax.jit, static_argnames=("optimizer", "l2", "dropout_rate"))
def discriminator_step(params, opt_state, tokens, labels, key, *, optimizer, l2, dropout_rate):
    """One step on Eq. 5, with the L2 penalty of the output layer; also the loss before it."""

    def loss_of(params):
        logits = discriminator_logits(params, tokens, key, dropout_rate=dropout_rate)
        output = params["output"]
        penalty = 0.5 * (jnp.sum(output["kernel"] ** 2) + jnp.sum(output["bias"] ** 2))
        loss = -jnp.mean(
            labels * jax.nn.log_sigmoid(logits) + (1.0 - labels) * jax.nn.log_sigmoid(-logits)
        )
        return loss + l2 * penalty, loss

    (_, loss), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss


@functools.partial(jax.jit, static_argnames="optimizer")
def policy_gradient_step(params, opt_state, tokens, values, *, optimizer):
    """Eq. 8, summed over batch and time; also the loss before it."""
    loss, grads = jax.value_and_grad(lambda p: -jnp.sum(log_probs(p, tokens) * values))(params)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss


def generator_step(
    params, opt_state, discriminator, key, *, batch_size, length, num_rollouts, optimizer
):
    """One g-step: draw, search with D's probability, follow the policy gradient; also the loss."""
    sample_key, search_key = jax.random.split(key)
    tokens = sample(params, sample_key, batch_size=batch_size, length=length)
    values = action_values(
        params,
        lambda finished: jax.nn.sigmoid(discriminator_logits(discriminator, finished)),
        tokens, search_key, num_rollouts=num_rollouts,
    )  # fmt: skip
    return policy_gradient_step(params, opt_state, tokens, values, optimizer=optimizer)
