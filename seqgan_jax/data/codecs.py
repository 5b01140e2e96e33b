"""The codecs by their kind."""

from __future__ import annotations

from typing import Any

from seqgan_jax.checked import DataError, nearest, shown
from seqgan_jax.data.dataset import Codec
from seqgan_jax.data.ids import id_codec_from_json
from seqgan_jax.data.text import text_codec_from_json

_KINDS = ("text", "pitch", "ids")


def codec_from_json(values: Any) -> Codec:
    """Rebuilds a codec from what its `to_json` gave.

    Raises:
      DataError: no such kind, or values that its class refuses.
    """
    kind = values.get("kind") if isinstance(values, dict) else None
    if kind == "text":
        return text_codec_from_json(values)
    if kind == "ids":
        return id_codec_from_json(values)
    if kind == "pitch":
        # Only melodies ask for what reads them.
        from seqgan_jax.data.pitch_codec import pitch_codec_from_json

        return pitch_codec_from_json(values)
    raise DataError(f"kind={shown(kind)}: no such codec; {nearest(shown(kind), _KINDS)}")
