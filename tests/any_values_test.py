"""Any text, any values, any bytes (hypothesis): taken as they are, or refused by our own error."""

import dataclasses
import json
import tempfile

import hostile
import hypothesis
import pytest
from hostile_inputs import END, metrics_of, midi_bytes
from hypothesis import strategies as st

from seqgan_jax import hparams as hp
from seqgan_jax.checked import ConfigError, DataError, from_mapping, to_dict
from seqgan_jax.data.codecs import codec_from_json
from seqgan_jax.data.lines import read_blocks
from seqgan_jax.data.midi import read_melody
from seqgan_jax.data.text import TextCodec
from seqgan_jax.data.tokeniser import Tokeniser
from seqgan_jax.data.vocabulary import build_vocabulary, vocabulary_from_json
from seqgan_jax.models.oracle import load_oracle

# The same examples each time and on each machine; nothing kept in the repository.
hypothesis.configuration.set_hypothesis_home_dir(tempfile.mkdtemp(prefix="hypothesis-"))
hypothesis.settings.register_profile(
    "fixed", derandomize=True, database=None, deadline=None, max_examples=60
)
hypothesis.settings.load_profile("fixed")


@pytest.fixture(autouse=True)  # Hypothesis objects to one that a test asks for
def limits():
    """A program run, or a file changed elsewhere, fails every test here."""
    with hostile.bounded(seconds=120), hostile.watched(tempfile.gettempdir()):
        yield


TEXT = st.text(st.characters(codec="utf-8"), max_size=60)
TOKENISERS = st.builds(
    Tokeniser,
    level=st.sampled_from(("word", "whitespace")),
    normal_form=st.sampled_from(("NFC", "NFKC", "none")),
    lowercase=st.booleans(),
    drop_punctuation=st.booleans(),
) | st.builds(
    Tokeniser,
    level=st.just("character"),
    normal_form=st.sampled_from(("NFC", "NFKC", "none")),
    lowercase=st.booleans(),
    drop_punctuation=st.booleans(),
    drop_spaces=st.booleans(),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)


@hypothesis.given(TOKENISERS, TEXT)
def test_tokens_of_any_text_come_back(tokeniser, line):
    tokens = tokeniser.split(line)
    assert all(tokens)
    assert tokeniser.split(tokeniser.join(tokens)) == tokens


@hypothesis.given(TOKENISERS, st.lists(TEXT, min_size=1, max_size=5))
def test_ids_of_any_text_come_back(tokeniser, lines):
    counts = {}
    for line in lines:
        for token in tokeniser.split(line):
            counts[token] = counts.get(token, 0) + 1
    codec = TextCodec(build_vocabulary(counts, max_size=1_000), tokeniser)
    again = codec_from_json(json.loads(json.dumps(codec.to_json())))
    for line in lines:
        ids = codec.encode(line, strict=True)
        assert codec.unknown_token not in ids
        assert codec.encode(codec.decode(ids)) == again.encode(again.decode(ids)) == ids


@hypothesis.given(JSON)
def test_any_values_make_a_codec_or_none(values):
    for read in (codec_from_json, vocabulary_from_json):
        try:
            made = read(values)
        except DataError:
            continue
        assert made.to_json()


@hypothesis.given(
    st.dictionaries(
        st.sampled_from([field.name for field in dataclasses.fields(hp.HParams)])
        | st.text(max_size=9),
        JSON | st.dictionaries(st.sampled_from(["kind", "hidden_dim", "rounds", "filters"]), JSON),
        max_size=4,
    )
)
def test_any_values_make_settings_or_none(fields):
    try:
        hparams = from_mapping(hp.HParams, fields)
    except ConfigError:
        return
    assert from_mapping(hp.HParams, to_dict(hparams)) == hparams


@hypothesis.given(st.binary(max_size=300))
def test_any_bytes_are_lines_or_none(tmp_path_factory, contents):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(contents)
    try:
        lines = [line for _, block in read_blocks(str(path)) for line in block]
    except DataError:
        return
    text = contents.decode().removeprefix("\ufeff").replace("\r\n", "\n")
    assert "".join(f"{line}\n" for line in lines).removesuffix("\n") == text.removesuffix("\n")


STEPS = st.lists(
    st.sampled_from(
        [bytes([code]) for code in b"(].)0201NlatRbq\x00h\x00K\x05X\x02\x8c\x93\x94cI1\n"]
    )
    | st.sampled_from(
        [b"cos\nsystem\n", b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"X\x02\x00\x00\x00f4"]
    )
    | st.binary(max_size=4),
    max_size=40,
)


@hypothesis.given(STEPS)
def test_any_steps_of_a_pickle_are_harmless(tmp_path_factory, steps):
    path = tmp_path_factory.getbasetemp() / "any.pkl"
    path.write_bytes(b"".join(steps) + b".")
    with pytest.raises(DataError):
        load_oracle(path)


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 127),
        st.sampled_from((b"\x90", b"\x80", b"\xb0", b"\xff\x51\x03", b"\xf0")),
        st.binary(min_size=2, max_size=3),
    ),
    max_size=40,
)


@hypothesis.given(EVENTS, st.integers(-32_768, 32_767), st.floats(0.001, 60.0))
def test_any_events_are_a_melody_or_none(events, division, seconds_per_step):
    track = b"".join(bytes([delta]) + status + rest for delta, status, rest in events)
    try:
        melody = read_melody(midi_bytes(track + END, division=division), "a.mid", seconds_per_step)
    except DataError:
        return
    assert not len(melody) or (melody[0] > 0 and melody[-1] > 0 and melody.max() <= 88)


@hypothesis.given(
    st.lists(JSON | st.dictionaries(st.just("phase"), st.text(max_size=5)), max_size=5)
)
def test_any_lines_are_metrics_or_none(tmp_path_factory, values):
    folder = tmp_path_factory.getbasetemp()
    contents = "".join(json.dumps(value) + "\n" for value in values).encode()
    try:
        lines = metrics_of(folder, contents)
    except DataError:
        return
    assert lines == values
