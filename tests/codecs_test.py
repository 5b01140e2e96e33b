"""Codecs found again by their kind, and the codec of plain ids."""

import json

import numpy as np
import pytest

from seqgan_jax.checked import DataError
from seqgan_jax.data.codecs import codec_from_json
from seqgan_jax.data.ids import IdCodec, id_codec_from_json
from seqgan_jax.data.text import TextCodec
from seqgan_jax.data.tokeniser import Tokeniser
from seqgan_jax.data.vocabulary import Vocabulary


@pytest.mark.parametrize("codec", [IdCodec(7), TextCodec(Vocabulary(("a",)), Tokeniser())])
def test_codecs_come_back_by_their_kind(codec):
    again = codec_from_json(json.loads(json.dumps(codec.to_json())))
    assert type(again) is type(codec)
    assert again.to_json() == codec.to_json()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "txt"}, "kind='txt': no such codec; did you mean text?"),
        ({"vocab_size": 3}, "kind=None: no such codec"),
        ([], "kind=None"),
        ({"kind": "ids"}, "vocab_size=None: must be a number of at least 1"),
        ({"kind": "ids", "vocab_size": True}, "vocab_size=True"),
        ({"kind": "text"}, "tokens_per_line=None"),
    ],
)
def test_json_of_no_codec(values, message):
    with pytest.raises(DataError, match=message.replace("?", r"\?")):
        codec_from_json(values)


def test_ids():
    codec = IdCodec(5000)
    assert (codec.vocab_size, codec.start_token, codec.pad_token) == (5000, 0, 0)
    assert codec.end_token is None
    assert codec.unknown_token is None
    ids = np.array([0, 4999, 12, 0], np.int32)
    assert codec.decode(ids) == codec.layout(ids) == "0 4999 12 0"
    assert codec.encode("0 4999  12 0", strict=True) == ids.tolist()
    assert codec.encode("") == []
    assert id_codec_from_json(codec.to_json()).vocab_size == 5000


@pytest.mark.parametrize("word", ["5", "-1", "1.0", "x", "1_0", "٣", "²", "9" * 5000])
def test_what_is_no_id(word):
    with pytest.raises(DataError, match=f"'{word[:40]}' is no id; must be in 0..4"):
        IdCodec(5).encode(f"0 {word} 1")
