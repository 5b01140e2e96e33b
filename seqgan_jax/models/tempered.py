"""A language model at a temperature: the same distribution, flatter or sharper at every token."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from seqgan_jax.types import Array, LanguageModel, Params


@functools.cache
def tempered(language_model: LanguageModel) -> LanguageModel:
    """Divides the logits by a temperature that is one of the parameters.

    Args:
      language_model: the model.

    Returns:
      A language model whose parameters are the pair `(params, temperature)`, so that a sweep over
      temperatures compiles once. Its `init` gives temperature 1.
    """
    features, output = language_model.features, language_model.output

    def init(key: Array) -> Params:
        return language_model.init(key), 1.0

    def initial_state(params: Params, batch_size: int) -> Any:
        return language_model.initial_state(params[0], batch_size)

    def step(params: Params, state: Any, token: Array) -> tuple[Any, Array]:
        state, logits = language_model.step(params[0], state, token)
        return state, logits / params[1]

    changed: dict[str, Any] = {"init": init, "initial_state": initial_state, "step": step}
    if features is not None and output is not None:
        changed["features"] = lambda params, state, token: features(params[0], state, token)
        changed["output"] = lambda params: tuple(leaf / params[1] for leaf in output(params[0]))
    return dataclasses.replace(language_model, **changed)
