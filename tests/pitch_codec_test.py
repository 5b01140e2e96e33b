"""The pitch codec against names of keys that any piano book gives."""

import json
import math

import numpy as np
import pytest

from seqgan_jax.checked import DataError
from seqgan_jax.data.codecs import codec_from_json
from seqgan_jax.data.pitch_codec import PitchCodec, pitch_codec_from_json, pitches

CODEC = PitchCodec(0.4)


def test_88_keys_and_the_rest():
    assert CODEC.vocab_size == 89
    assert (CODEC.start_token, CODEC.pad_token) == (0, 0)
    assert CODEC.end_token is None
    assert CODEC.unknown_token is None


@pytest.mark.parametrize(
    ("word", "token"),
    [
        ("A0", 1), ("C8", 88), ("A4", 49), ("C4", 40), ("C#5", 53), ("B3", 39), ("G#7", 84),
        ("-", 0),
    ],
)  # fmt: skip
def test_names_of_tokens(word, token):
    # Keys of a piano count from A0 = 1; middle C is the 40th, the concert A the 49th.
    assert CODEC.decode([token]) == word
    assert CODEC.encode(word) == [token]


@pytest.mark.parametrize(
    ("word", "token"),
    [
        ("69", 49), ("21", 1), ("108", 88), ("R", 0), ("r", 0), ("a4", 49), ("Bb3", 38),
        ("bb3", 38), ("Db5", 53), ("Cb4", 39), ("B#3", 40), ("E#4", 45), ("Fb4", 44),
    ],
)  # fmt: skip
def test_other_ways_to_write_a_pitch(word, token):
    assert CODEC.encode(word, strict=True) == [token]


def test_a_line_comes_back():
    tokens = list(range(89))
    line = CODEC.decode(tokens)
    assert CODEC.encode(line) == tokens
    assert len(set(line.split(" "))) == 89
    assert CODEC.layout(np.array([49, 53, 0, 0])) == "A4 C#5 - -"
    assert CODEC.encode("69  R\t72 ") == [49, 0, 52]
    assert CODEC.encode("") == []
    assert CODEC.decode([]) == ""


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    "word",
    [
        "H4", "A", "A#", "4", "20", "109", "G#0", "C#8", "B#8", "C-1", "A44", "--", "-1", "1e2",
        "\uff16\uff19", "<pad>", "A4,", "E##4", "9" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_pitch_is_named(word, strict):
    with pytest.raises(DataError, match=r"is no pitch|is outside the piano") as caught:
        CODEC.encode(f"A4 {word} B4", strict=strict)
    assert word[:40] in str(caught.value)
    assert len(str(caught.value)) < 200


def test_json_brings_it_back():
    values = json.loads(json.dumps(PitchCodec(0.25).to_json()))
    for rebuild in (pitch_codec_from_json, codec_from_json):
        codec = rebuild(values)
        assert isinstance(codec, PitchCodec)
        assert codec.seconds_per_step == 0.25
    assert type(pitch_codec_from_json({"seconds_per_step": 2}).seconds_per_step) is float


@pytest.mark.parametrize(
    "seconds", [None, "0.4", True, 0, -0.4, math.nan, math.inf, 61, 10**400, [0.4]]
)
def test_json_without_a_length_of_a_step_is_refused(seconds):
    with pytest.raises(DataError, match=r"seconds_per_step=.*from 0\.001 to 60"):
        pitch_codec_from_json({"kind": "pitch", "seconds_per_step": seconds})


def test_pitches_are_midi_numbers():
    tokens = np.array([[49, 0, 1], [88, 40, 0]], np.int32)
    expected = np.array([[69, np.nan, 21], [108, 60, np.nan]])
    np.testing.assert_array_equal(pitches(tokens), expected)
