"""Data kept with a run: it comes back as it was, or it is read anew."""

import dataclasses
import json
import os

import numpy as np
import pytest

from seqgan_jax.checked import DataError
from seqgan_jax.data import cache as cache_module
from seqgan_jax.data.cache import content_key, load_or_read, read_cache
from seqgan_jax.data.dataset import Dataset
from seqgan_jax.data.ids import IdCodec
from seqgan_jax.data.text import load_text
from seqgan_jax.data_hparams import TextDataHParams
from seqgan_jax.types import Sequences

KEY = "0" * 64


@pytest.fixture
def dataset(tmp_path):
    path = tmp_path / "poems.txt"
    path.write_text("a b\n中 <eos> c d\n\nb\nc a\n" * 3, encoding="utf-8")
    return load_text(TextDataHParams(path=str(path), level="whitespace"))


@pytest.fixture
def kept(tmp_path, dataset):
    folder = str(tmp_path / "run" / "data")
    load_or_read(folder, KEY, lambda: dataset)
    return folder


def assert_same(one, other):
    for a, b in zip((*one.train, *one.test), (*other.train, *other.test), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    assert one.codec.to_json() == other.codec.to_json()
    assert one.notes == other.notes


def refuse():
    raise AssertionError("the data is read anew")


def test_what_is_kept_comes_back(kept, dataset):
    assert dataset.notes  # so that they are compared, too
    assert sorted(os.listdir(kept)) == ["data.npz", "vocabulary.json"]
    assert_same(load_or_read(kept, KEY, refuse), dataset)
    key, again = read_cache(kept)
    assert key == KEY
    assert_same(again, dataset)


def test_ids_without_an_end_come_back(tmp_path):
    rng = np.random.default_rng(0)
    parts = [
        Sequences(rng.integers(0, 300, (number, 6)).astype(np.int32), np.ones((number, 6), bool))
        for number in (9, 4)
    ]
    dataset = Dataset(*parts, IdCodec(300), ())
    load_or_read(str(tmp_path), KEY, lambda: dataset)
    assert_same(load_or_read(str(tmp_path), KEY, refuse), dataset)
    with np.load(tmp_path / "data.npz") as arrays:
        assert arrays["train_ids"].dtype == np.uint16
        assert arrays["train_lengths"].dtype == np.uint8


def test_without_a_folder_nothing_is_kept(dataset):
    assert load_or_read(None, KEY, lambda: dataset) is dataset


def test_another_key_is_read_anew(kept, dataset):
    other = dataset._replace(notes=("another",))
    assert load_or_read(kept, "1" * 64, lambda: other).notes == ("another",)
    assert read_cache(kept)[0] == "1" * 64
    assert load_or_read(kept, "1" * 64, refuse).notes == ("another",)


def replace_arrays(folder, **changed):
    with np.load(os.path.join(folder, "data.npz")) as arrays:
        contents = {**arrays, **changed}
    np.savez(
        os.path.join(folder, "data.npz"),
        **{name: array for name, array in contents.items() if array is not None},
    )


def text_array(text):
    return np.frombuffer(text.encode(), np.uint8)


def test_replaced_arrays_are_read_where_they_are_right(kept):
    """The damages below are refused for what they are, not for how they were made."""
    replace_arrays(kept, notes=text_array('["new"]'))
    assert read_cache(kept)[1].notes == ("new",)


@pytest.mark.parametrize(
    "changed",
    [
        {"train_ids": None},
        {"key": None},
        {"train_ids": np.array([9999], np.uint16), "train_lengths": np.array([1], np.uint8)},
        {"train_ids": np.array([1, 1], np.uint8), "train_lengths": np.array([1], np.uint8)},
        {"train_ids": np.array([1, 1], np.uint8), "train_lengths": np.array([2, 0], np.uint8)},
        {"train_ids": np.array([3.0]), "train_lengths": np.array([1], np.uint8)},
        {"train_ids": np.array([-3]), "train_lengths": np.array([1], np.uint8)},
        {"train_ids": np.array([[3]], np.uint8), "train_lengths": np.array([1], np.uint8)},
        {"test_ids": np.zeros(0, np.uint8), "test_lengths": np.zeros(0, np.uint8)},
        {"length": np.array(2)},  # lines are longer
        {"length": np.array(0)},
        {"length": np.array([5, 5])},
        {"notes": text_array("{}")},
        {"notes": text_array("[3]")},
        {"notes": text_array("[")},
        {"key": np.array([300], np.uint16)},
        {"key": np.array([None], object)},
        {"codec": text_array("f" * 64)},
    ],
    ids=str,
)
def test_damaged_arrays_are_never_trusted(kept, dataset, changed):
    replace_arrays(kept, **changed)
    with pytest.raises(DataError, match=r"data.npz: damaged .* start again from the source files"):
        read_cache(kept)
    assert_same(load_or_read(kept, KEY, lambda: dataset), dataset)
    assert_same(load_or_read(kept, KEY, refuse), dataset)


@pytest.mark.parametrize("name", ["data.npz", "vocabulary.json"])
@pytest.mark.parametrize("damage", ["empty", "half", "flipped", "text", "list", "missing"])
def test_damaged_files_are_never_trusted(kept, dataset, name, damage):
    path = os.path.join(kept, name)
    with open(path, "rb") as file:
        raw = file.read()
    middle = len(raw) // 2
    contents = {
        "empty": b"",
        "half": raw[:middle],
        "flipped": raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :],
        "text": b"\xffno data",
        "list": b"[" * 100_000,
    }
    os.remove(path)
    if damage != "missing":
        with open(path, "wb") as file:
            file.write(contents[damage])
    with pytest.raises(DataError, match=name if damage == "missing" else "damaged"):
        read_cache(kept)
    assert_same(load_or_read(kept, KEY, lambda: dataset), dataset)
    assert_same(load_or_read(kept, KEY, refuse), dataset)


def test_every_flipped_byte_is_seen_or_does_no_harm(kept, dataset):
    path = os.path.join(kept, "data.npz")
    with open(path, "rb") as file:
        raw = bytearray(file.read())
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.choice(len(raw), 300, replace=False):
        raw[place] ^= 0xFF
        with open(path, "wb") as file:
            file.write(raw)
        raw[place] ^= 0xFF
        try:
            key, again = read_cache(kept)
        except DataError:
            refused += 1
            continue
        assert key == KEY
        assert_same(again, dataset)  # a byte that nothing reads, such as a date
    assert refused > 150


def test_vocabulary_and_data_of_two_runs_are_told_apart(kept, dataset, tmp_path):
    """What a run that ended between the two writes leaves behind."""
    codec = dataset.codec.to_json()
    codec["vocabulary"]["words"] = codec["vocabulary"]["words"][::-1]
    with open(os.path.join(kept, "vocabulary.json"), "w", encoding="utf-8") as file:
        json.dump(codec, file)
    with pytest.raises(DataError, match=r"belongs to another vocabulary.json"):
        read_cache(kept)


def test_an_interrupted_write_leaves_the_old_data(kept, dataset, monkeypatch):
    def interrupted(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(DataError, match=r"cannot be kept there .*No space left"):
        load_or_read(kept, "1" * 64, lambda: dataset)
    assert sorted(os.listdir(kept)) == ["data.npz", "vocabulary.json"]
    assert read_cache(kept)[0] == KEY


def test_a_folder_that_cannot_be_made(tmp_path, dataset):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be kept there"):
        load_or_read(str(tmp_path / "file" / "data"), KEY, lambda: dataset)


def test_nothing_kept(tmp_path):
    with pytest.raises(DataError, match=r"vocabulary.json: no such file"):
        read_cache(str(tmp_path))


@pytest.mark.parametrize(
    "mask", [[[True, False, True]], [[True, True, False]]], ids=["a gap", "no padding"]
)
def test_data_that_cannot_be_kept_is_refused(tmp_path, mask):
    part = Sequences(np.array([[1, 2, 3]], np.int32), np.array(mask))
    dataset = Dataset(part, part, IdCodec(9), ())
    with pytest.raises(ValueError, match="only padding may stand outside the mask"):
        load_or_read(str(tmp_path), KEY, lambda: dataset)


def test_the_key_is_that_of_contents_and_settings(tmp_path, monkeypatch):
    for name, contents in (("one", b"a b\n"), ("two", b"a b\n"), ("other", b"a c\n")):
        (tmp_path / name).write_bytes(contents)
    one, two, other = (str(tmp_path / name) for name in ("one", "two", "other"))
    settings = TextDataHParams(path=one)
    key = content_key([[one]], settings)
    assert len(key) == 64
    assert key == content_key([[two]], TextDataHParams(path=two))
    assert key != content_key([[other]], settings)
    assert key != content_key([[one], [two]], dataclasses.replace(settings, test_path=two))
    # The files and their order are the same: what counts is on which side the second stands.
    sides = ([[one], [other]], [[other], [one]], [[one, other]], [[one, other], []])
    assert len({content_key(each, settings) for each in sides}) == 4
    one_test, two_test = ([[one, other], [two]], [[one], [other, two]])
    assert content_key(one_test, settings) != content_key(two_test, settings)
    assert key != content_key([[one]], dataclasses.replace(settings, seed=1))
    monkeypatch.setattr(cache_module, "_FORMAT", 0)
    assert key != content_key([[one]], settings)


def test_the_key_of_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="gone: no such file"):
        content_key([[str(tmp_path / "gone")]], TextDataHParams())
