"""What a file may cost, and what settings may ask for: neither is more than a machine holds."""

import dataclasses
import io
import json
import struct
import tracemalloc

import hostile
import numpy as np
import pytest

from seqgan_jax import capacity, files
from seqgan_jax import hparams as hp
from seqgan_jax.checked import ConfigError, DataError
from seqgan_jax.data import cache, corpus
from seqgan_jax.data.cache import load_or_read, read_cache
from seqgan_jax.data.dataset import Dataset
from seqgan_jax.data.ids import IdCodec
from seqgan_jax.data.text import TextCodec, load_text
from seqgan_jax.data.tokeniser import Tokeniser
from seqgan_jax.data.vocabulary import Vocabulary, build_vocabulary
from seqgan_jax.data_hparams import DataSizes, TextDataHParams
from seqgan_jax.hparams import HParams
from seqgan_jax.models.oracle import load_oracle
from seqgan_jax.reporting import reading
from seqgan_jax.training import writers
from seqgan_jax.training.fitting import fitted
from seqgan_jax.types import Sequences

MB = 1_000_000


def refused(call, *words, error=DataError):
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


def written(folder, name, contents):
    (folder / name).write_bytes(contents)
    return str(folder / name)


# Lines.


def test_lines_are_read_one_after_another(tmp_path):
    path = written(tmp_path, "a", b"one\n\ntwo")
    assert list(files.read_lines(path, 4)) == [(1, b"one\n"), (2, b"\n"), (3, b"two")]
    refused(lambda: list(files.read_lines(path, 3)), f"{path}:1: damaged (longer than 3 bytes)")
    assert list(files.read_lines(written(tmp_path, "b", b""), 4)) == []


def test_metrics_end_at_the_first_bad_line(tmp_path):
    written(tmp_path, "metrics.jsonl", b'{"phase": "round"}\n' + b"\n" * 40 * MB)
    with hostile.bounded(2, 20 * MB):
        refused(lambda: writers.read_metrics(str(tmp_path)), "metrics.jsonl:2: damaged (")


def test_metrics_of_a_long_run(tmp_path):
    values = {f"metric_{number}": number / 7 for number in range(24)}
    line = (json.dumps({"phase": "round", **values}) + "\n").encode()
    written(tmp_path, "metrics.jsonl", 20_000 * line)
    with hostile.bounded(10, 40 * MB):  # 1,500 bytes a line, which has 24 floats of 24
        lines = writers.read_metrics(str(tmp_path))
    assert len(lines) == 20_000
    assert lines[-1] == {"phase": "round", **values}


def test_too_many_metrics(tmp_path, monkeypatch):
    written(tmp_path, "metrics.jsonl", b'{"phase": "a", "b": 1}\n' * 3)
    monkeypatch.setattr(writers, "_MAX_VALUES", 3 * (2 + writers._VALUES_A_LINE))
    assert len(writers.read_metrics(str(tmp_path))) == 3
    monkeypatch.setattr(writers, "_MAX_VALUES", 3 * (2 + writers._VALUES_A_LINE) - 1)
    refused(lambda: writers.read_metrics(str(tmp_path)), "metrics.jsonl:3: too large (over 20 val")


def test_too_many_names_of_metrics(tmp_path, monkeypatch):
    written(tmp_path, "metrics.jsonl", b'{"phase": "a", "b": 1}\n{"phase": "a", "c": 1}\n')
    monkeypatch.setattr(writers, "_MAX_NAMES", 4)  # phase, a, b, c
    assert len(writers.read_metrics(str(tmp_path))) == 2
    monkeypatch.setattr(writers, "_MAX_NAMES", 3)
    refused(lambda: writers.read_metrics(str(tmp_path)), ":2: damaged (more than 3 different names")


def test_of_samples_the_first_are_read(tmp_path, monkeypatch):
    codec = IdCodec(9)
    written(tmp_path, "samples.txt", b"1 2\n3 4\n5 6\n" + b"\n" * 40 * MB)
    with hostile.bounded(2, 20 * MB):
        assert reading._samples(str(tmp_path), codec)[:4] == ["1 2", "3 4", "5 6", ""]
    monkeypatch.setattr(reading, "_MAX_SAMPLES", 2)
    assert reading._samples(str(tmp_path), codec) == ["1 2", "3 4"]
    monkeypatch.setattr(reading, "_MAX_SAMPLES_BYTES", 7)
    assert reading._samples(str(tmp_path), codec) == ["1 2"]


def test_samples_end_at_the_first_bad_line(tmp_path):
    for bad, words in ((b"9", "'9' is no id"), (b"\xff", "damaged ('utf-8'")):
        written(tmp_path, "samples.txt", b"1 2\n" + bad + b"\n3 4")
        refused(lambda: reading._samples(str(tmp_path), IdCodec(9)), "samples.txt:2: ", words)
    written(tmp_path, "samples.txt", b"1 2\n3 4")
    assert reading._samples(str(tmp_path), IdCodec(9)) == ["1 2", "3 4"]


# JSON and archives.


def test_json_is_of_a_few_megabytes(tmp_path):
    path = written(tmp_path, "a.json", b"[" + b'{"":0},' * 710_000 + b"0]")  # the worst there is
    with hostile.bounded(5, 250 * MB):
        assert len(files.read_json(path)) == 710_001
    path = written(tmp_path, "a.json", b"[" + b'{"":0},' * 720_000 + b"0]")
    refused(lambda: files.read_json(path), f"{path}: damaged (larger than 5,000,000 bytes)")


def arrays(ids=(3,), lengths=(1,), length=1, notes="[]", vocabulary=b""):
    """A data.npz."""
    out = io.BytesIO()
    parts = {
        f"{side}_{name}": np.array(values, np.uint8)
        for side in ("train", "test")
        for name, values in (("ids", ids), ("lengths", lengths))
    }
    np.savez(
        out,
        key=cache._bytes("k"),
        codec=cache._bytes(cache._digest(vocabulary)),
        length=np.array(length),
        notes=cache._bytes(notes),
        **parts,
    )
    return out.getvalue()


def kept(folder, words=("a", "b"), **changed):
    """A cache of few words, in which something is as given."""
    vocabulary = json.dumps(TextCodec(Vocabulary(words), Tokeniser()).to_json()).encode()
    written(folder, "vocabulary.json", vocabulary)
    written(folder, "data.npz", arrays(vocabulary=vocabulary, **changed))
    return str(folder)


@pytest.mark.parametrize("length", [2, 99_999_999, 2**62])
def test_kept_rows_are_as_long_as_the_longest(tmp_path, length):
    assert read_cache(kept(tmp_path))[1].train.tokens.tolist() == [[3]]
    folder = kept(tmp_path, length=length)
    with hostile.bounded(2, 20 * MB):
        refused(lambda: read_cache(folder), "length must be that of the longest sequence, 1")


def test_kept_notes_are_few(tmp_path):
    assert read_cache(kept(tmp_path, notes='["a"]'))[1].notes == ("a",)
    folder = kept(tmp_path, notes="[" + "[]," * 400_000 + "0]")
    refused(lambda: read_cache(folder), "notes of more than 1,000,000 bytes")


def test_a_vocabulary_of_many_words(tmp_path):
    words = tuple(f"word{number}" for number in range(300_000))
    with hostile.bounded(10, 200 * MB):
        assert read_cache(kept(tmp_path, words))[1].codec.vocab_size == 300_003


def test_a_vocabulary_of_lists(tmp_path):
    folder = kept(tmp_path)
    path = written(tmp_path, "vocabulary.json", b"[" + b"[]," * 1_000_000 + b"0]")
    with hostile.bounded(2, 20 * MB):
        refused(lambda: read_cache(folder), f"{path}: damaged (more than 1,000,000 brackets)")


@pytest.mark.parametrize("bound", ["_MAX_VOCABULARY_BYTES", "_MAX_BRACKETS"])
def test_a_vocabulary_that_could_not_be_read_is_not_kept(tmp_path, monkeypatch, bound):
    part = Sequences(np.full((1, 1), 3, np.int32), np.ones((1, 1), bool))
    dataset = Dataset(part, part, TextCodec(Vocabulary(("[a", "[b")), Tokeniser()), ())
    monkeypatch.setattr(cache, bound, 4)
    folder = str(tmp_path / "run")
    refused(lambda: load_or_read(folder, "k", lambda: dataset), "of 5 tokens", "data.max_size")
    assert not any((tmp_path / "run").iterdir())


def directory(entries):
    """An archive of nothing but the list of what is in it."""
    header = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 0, 20, *[0] * 7, 1, *[1], *[0] * 6)
    entry = header[:28] + b"\1\0" + header[30:] + b"a"
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, len(entry) * entries, 0, 0)
    return entry * entries + end


def test_an_archive_lists_few_arrays(tmp_path):
    path = written(tmp_path, "a.npz", directory(200_000))
    with hostile.bounded(2, 30 * MB):
        refused(lambda: load_oracle(path), "its directory has more than 100,000 bytes")
    few = hostile.zip_of([(f"{number}.npy", b"") for number in range(900)])
    refused(lambda: load_oracle(written(tmp_path, "a.npz", few)), "holds 0, 1, 10,")


# Text.


def text_of(folder, contents, **settings):
    path = written(folder, "a.txt", contents)
    return load_text(TextDataHParams(path=path, level="whitespace", **settings))


def test_different_tokens_are_bounded(tmp_path, monkeypatch):
    contents = b"a b\nb c\nc d\na d\n" * 3
    monkeypatch.setattr(corpus, "_MAX_TYPES", 4)
    assert text_of(tmp_path, contents).codec.vocab_size == 7
    monkeypatch.setattr(corpus, "_MAX_TYPES", 3)
    refused(lambda: text_of(tmp_path, contents), "a.txt:3: over 3 different tokens", "data.level")


def test_characters_of_different_tokens_are_bounded(tmp_path, monkeypatch):
    contents = b"aa bb\nbb cc\n" * 3
    monkeypatch.setattr(corpus, "_MAX_CHARACTERS", 6)
    assert text_of(tmp_path, contents).codec.vocab_size == 5
    monkeypatch.setattr(corpus, "_MAX_CHARACTERS", 5)
    refused(lambda: text_of(tmp_path, contents), "a.txt:2: over", "over 5 characters")


def test_tokens_that_repeat_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "_MAX_TYPES", 100)
    monkeypatch.setattr(corpus, "_MAX_CHARACTERS", 600)
    rows = np.random.default_rng(0).integers(0, 100, (20_000, 20)).tolist()
    contents = "\n".join(" ".join(f"w{word}" for word in row) for row in rows)
    assert text_of(tmp_path, contents.encode()).codec.vocab_size == 103


def test_words_are_put_in_order_without_a_copy_of_each():
    counts = {f"w{number}": number % 999 for number in range(200_000)}
    tracemalloc.start()
    build_vocabulary(counts, max_size=5000)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 40 * len(counts)  # bytes; a pair of count and word each takes 100


def test_a_vocabulary_is_in_the_order_of_counts_and_letters():
    random = np.random.default_rng(0)
    counts = {f"w{n}": int(count) for n, count in enumerate(random.integers(1, 9, 500))}
    words = build_vocabulary(counts, max_size=400).words
    assert list(words) == sorted(counts, key=lambda word: (-counts[word], word))[:397]


# Settings, each in range by itself.


def made(method="seqgan", num_seeds=1, mesh=(0, 1), **sections):
    """The paper's settings, with some fields changed: `discriminator={"embed_dim": 9}`."""
    paper = HParams(method=method, num_seeds=num_seeds, mesh=hp.MeshHParams(*mesh))
    changed = {
        name: dataclasses.replace(getattr(paper, name), **fields)
        for name, fields in sections.items()
    }
    return dataclasses.replace(paper, **changed)


@pytest.mark.parametrize(
    ("given", "field", "make"),
    [
        (16_384, "discriminator.filters=((1, 16384), ",
         lambda n: made(discriminator={
             "filters": tuple((width, n) for width, _ in hp.FILTERS_20), "embed_dim": 16_384})),
        (65_536, "num_seeds=65536: ", lambda n: made(num_seeds=n)),
        (65_536, "training.rollout_chunk=65536: ",
         lambda n: made(training={"num_rollouts": 65_536, "rollout_chunk": n})),
        (10**6, "evaluation.num_written=1000000: ",
         lambda n: made(evaluation={"num_written": n}, data={"length": 30})),
    ],
    ids=["filters", "seeds", "rollouts", "written"],
)  # fmt: skip
def test_what_no_device_holds_is_refused_with_what_does(given, field, make):
    with pytest.raises(ConfigError) as caught:
        make(given)
    assert str(caught.value).startswith(field)
    nearest = int(str(caught.value).rsplit(" is ", 1)[1])
    assert 0 < nearest < given
    make(nearest)
    refused(lambda: make(nearest + 1), f" is {nearest}", error=ConfigError)


def test_what_no_change_of_one_number_mends():
    filters = {"embed_dim": 16_384, "filters": ((1, 1),)}
    refused(
        lambda: made(data={"vocab_size": 300_000}, discriminator=filters),
        "4,915,216,386 parameters",  # 300,000 * 16,384 + 16,384 + 2
        "give a smaller embed_dim",
        error=ConfigError,
    )
    refused(
        lambda: made(data={"length": 20_000}, evaluation={"num_written": 9}),
        "rollout_chunk=2: ",
        "give a smaller schedule.batch_size=64, or more devices",
        error=ConfigError,
    )


def test_a_search_holds_what_the_plan_says():
    # 655,360 slots of 64 sequences, each of 4 T + 10 H numbers.
    refused(
        lambda: capacity.check_search(21, 32, 64, 1, 65_536, 65_536),
        "make 16,944,988,160 numbers at a time",  # 655,360 * 64 * (84 + 320)
        error=ConfigError,
    )
    capacity.check_search(21, 32, 64, 2, 65_536, 65_536)  # each device half of the rows
    capacity.check_search(21, 32, 64, 1, 16, 65_536)  # no more live than there are


@pytest.mark.parametrize("method", ["mle", "reinforce", "maligan", "wgan"])
def test_only_a_search_is_held_to_its_memory(method):
    made(method, training={"num_rollouts": 65_536, "rollout_chunk": 65_536})


def test_large_models_on_a_mesh():
    made(mesh=(16, 16), data={"vocab_size": 256_000}, model={"hidden_dim": 2048})
    made(data={"vocab_size": 256_000}, model={"hidden_dim": 2048})
    made(num_seeds=8, mesh=(8, 1))
    made(
        mesh=(8, 1), model={"hidden_dim": 2048}, data={"vocab_size": 256_000, "length": 1024},
        schedule={"batch_size": 1024, "d_batch_size": 1024},
    )  # fmt: skip


def test_long_sequences_of_files_have_fewer_written():
    sizes = DataSizes(vocab_size=100, length=40_000, num_train=100, num_test=10)
    hparams, lowered = fitted(HParams(method="mle", data=TextDataHParams()), sizes)
    assert hparams.evaluation.num_written == 500  # 20,000,000 positions
    assert any(
        line.startswith("evaluation.num_written lowered from 1000 to 500") for line in lowered
    )
