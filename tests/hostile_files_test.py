"""Files that mean harm, one of each kind; any text and any values; a short form of the fuzz.

Every input is loaded, or refused by the package's own error in 10 s and 1 GB, without a program run
or a file changed outside its folder. fuzz_loaders.py is the long form.
"""

import bz2
import dataclasses
import gzip
import importlib.util
import io
import json
import math
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib

import fuzz_loaders
import hostile
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from seqgan_jax import hparams as hp
from seqgan_jax.checked import Checked, ConfigError, DataError, UserError, from_mapping, to_dict
from seqgan_jax.data import archive, midi
from seqgan_jax.data.archive import members
from seqgan_jax.data.codecs import codec_from_json
from seqgan_jax.data.lines import read_blocks
from seqgan_jax.data.midi import read_melody
from seqgan_jax.data.music import load_music
from seqgan_jax.data.text import TextCodec, load_text
from seqgan_jax.data.tokeniser import Tokeniser
from seqgan_jax.data.vocabulary import build_vocabulary, vocabulary_from_json
from seqgan_jax.data_hparams import MusicDataHParams, TextDataHParams
from seqgan_jax.models.oracle import load_oracle
from seqgan_jax.training import own_method, plan, real_data, workdir, writers

ROOT = pathlib.Path(__file__).resolve().parents[1]

# The same examples each time and on each machine; nothing kept in the repository.
hypothesis.configuration.set_hypothesis_home_dir(tempfile.mkdtemp(prefix="hypothesis-"))
hypothesis.settings.register_profile(
    "fixed", derandomize=True, database=None, deadline=None, max_examples=60
)
hypothesis.settings.load_profile("fixed")


@pytest.fixture(autouse=True)
def limits():
    """Of every test here: a program run, or a file changed elsewhere, fails it."""
    with hostile.bounded(seconds=120), hostile.watched(tempfile.gettempdir()):
        yield


def unnamed(_):
    """Of inputs that make no names of tests."""
    return "input"


def refused(load, *words):
    """A call ends at once in the package's own error, which names what is wrong; the message."""
    with hostile.bounded(), pytest.raises(UserError) as caught:
        load()
    message = str(caught.value)
    assert len(message) < 2_000
    for word in words:
        assert word in message
    return message


def written(path, contents):
    path.write_bytes(contents)
    return str(path)


# The harness itself: what it lets through is no proof.


def _writes(folder, name):
    with open(os.path.join(os.path.dirname(folder), "elsewhere"), "w") as file:
        file.write(name)


def _runs(folder, name):
    del folder
    os.system(f"true {name}")


def _waits(folder, name):
    del folder, name
    while True:
        pass


def _takes_memory(folder, name):
    del folder
    assert np.ones(20_000_000).sum(), name


def _fails(folder, name):
    del folder
    raise KeyError(name)


def _says_much(folder, name):
    del folder, name
    raise DataError("x" * 3_000)


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (_writes, "elsewhere"),
        (_runs, "did ['os.system']"),
        (_waits, "TooLongError: over 1 s"),
        (_takes_memory, "took 1"),
        (_fails, "KeyError: 'name' (hostile_files_test.py:"),
        (_says_much, "says 3,000 characters"),
        (lambda folder, name: None, "loaded"),
    ],
)
def test_the_harness_sees_what_an_input_must_not_do(tmp_path, monkeypatch, load, words):
    monkeypatch.setattr(hostile, "SECONDS", 1)
    monkeypatch.setattr(hostile, "BYTES", 100_000_000)
    (tmp_path / "in").mkdir()
    outcome = hostile.attempt(load, str(tmp_path / "in"), "name")
    assert words in outcome.words


# Oracles.


class Call:
    """Unpickling this calls a function."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


PAYLOADS = [
    lambda trace: Call(os.system, f"touch {trace}"),
    lambda trace: Call(eval, f"open({trace!r}, 'w')"),
    lambda trace: Call(exec, f"open({trace!r}, 'w')"),
    lambda trace: Call(open, trace, "w"),
    lambda trace: Call(subprocess.getoutput, f"touch {trace}"),
    # An argument of a call is a call.
    lambda trace: Call(str, Call(os.system, f"touch {trace}")),
    lambda trace: Call(getattr, Call(__import__, "os"), "system"),
    lambda trace: [*hostile.weights(), [[({"a": Call(os.system, f"touch {trace}")},)]]],
    lambda trace: {"emb": hostile.weights()[0], "Wi": Call(os.mkdir, trace)},
    lambda trace: np.array([Call(os.system, f"touch {trace}")] * 4, object),
    lambda trace: np.void(b"x") if not trace else np.float64(1.0),
]
PACKED = [lambda raw: raw, gzip.compress, bz2.compress, zlib.compress]


@pytest.mark.parametrize("payload", range(len(PAYLOADS)))
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_no_payload_of_a_pickle_runs(tmp_path, payload, protocol):
    trace = tmp_path / "trace"
    raw = pickle.dumps(PAYLOADS[payload](str(trace)), protocol)
    for number, pack in enumerate(PACKED):
        path = written(tmp_path / f"{number}.pkl", pack(raw))
        refused(lambda path=path: load_oracle(path), path, "no readable pickle")
    # Inside an honest list, as its first element; and in an array of objects.
    honest = [PAYLOADS[payload](str(trace)), *hostile.weights()[1:]]
    refused(lambda: load_oracle(written(tmp_path / "a.pkl", pickle.dumps(honest, protocol))))
    objects = np.empty(4, object)
    objects[:] = [PAYLOADS[payload](str(trace))] * 4
    raw = hostile.npz_of(*hostile.weights()[:14], objects)
    refused(lambda: load_oracle(written(tmp_path / "a.npz", raw)), "no readable .npz")
    assert not trace.exists()


def test_the_payloads_are_live(tmp_path):
    # What is refused above would have run.
    trace = tmp_path / "trace"
    raw = pickle.dumps(PAYLOADS[3](str(trace)))
    pickle.loads(raw).close()
    assert trace.exists()


def _pickled(*steps):
    return b"\x80\x04" + b"".join(steps) + b"."


@pytest.mark.parametrize(
    "raw",
    [
        _pickled(b"]r\xff\xff\xff\x7f"),  # a table of values of 2^31 numbers
        _pickled(b"]p2147483647\n"),
        _pickled(b"(" * 20_000, b"l"),  # deep
        _pickled(b"]", b"]a" * 20_000),
        _pickled(b"]", b"(2222" * 5_000, b"l"),  # doubled again and again
        _pickled(b"\x8e", struct.pack("<Q", 2**40), b"x"),  # bytes that are not there
        _pickled(b"\x96", struct.pack("<Q", 2**62)),
        _pickled(b"\x95", struct.pack("<Q", 2**62), b"]"),
        _pickled(b"\x8b", struct.pack("<i", 100_000), b"\xff" * 100_000),  # of 30,000 digits
        b"I" + b"9" * 100_000 + b"\n.",
        # Keys of one hash: a dictionary of n of them takes n^2 steps.
        _pickled(
            b"}(",
            *(b"\x8a\x0a" + (n * (2**61 - 1)).to_bytes(10, "little") + b"N" for n in range(50_000)),
            b"u",
        ),
        # One text of a million characters as the contents of two hundred arrays.
        _pickled(
            b"X",
            struct.pack("<I", 1_000_000),
            b"a" * 1_000_000,
            b"q\x00]0",
            b"(",
            b"cnumpy\nndarray\n)R(K\x01K\x01\x85cnumpy\ndtype\nX\x02\x00\x00\x00f4"
            b"\x85R\x89h\x00tb" * 200,
            b"l",
        ),
        b"",
        b"\x80",
        b".",
        b"not a pickle at all",
    ],
    ids=unnamed,
)
def test_pickles_that_only_take_memory_or_time(tmp_path, raw):
    refused(lambda: load_oracle(written(tmp_path / "a.pkl", raw)), "no readable pickle")


def test_one_array_in_many_places_is_counted_as_many(tmp_path):
    # 27 MB of pickle, whose arrays would take 400 MB.
    square = np.zeros((2_600, 2_600), np.float32)
    raw = pickle.dumps([square] * 15, 5)
    message = refused(lambda: load_oracle(written(tmp_path / "a.pkl", raw)))
    assert "more than 100,000,000 bytes" in message


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0, np.zeros((6, 3), object)),
        (0, np.zeros((6, 3), np.int32)),
        (0, np.zeros((6, 3), np.complex64)),
        (0, np.zeros((0, 3), np.float32)),
        (3, np.zeros((0,), np.float32)),
        (1, np.full((3, 4), np.nan, np.float32)),
        (2, np.full((4, 4), np.inf, np.float32)),
        (2, np.full((4, 4), 1e300)),  # infinite as float32
        (5, np.zeros((4, 5), np.float32)),
        (14, np.zeros((6, 1), np.float32)),
        (14, np.zeros((), np.float32)),
        (14, np.zeros(6, [("a", "f4")])),
        (14, np.array(["x"] * 6)),
    ],
    ids=unnamed,
)
def test_arrays_that_make_no_oracle(tmp_path, index, value):
    arrays = hostile.weights()
    arrays[index] = value
    path = written(tmp_path / "a.npz", hostile.npz_of(*arrays))
    refused(lambda: load_oracle(path), path)
    path = written(tmp_path / "a.pkl", pickle.dumps(arrays))
    refused(lambda: load_oracle(path), path)


def test_npz_bombs_and_headers_that_lie(tmp_path):
    def header(shape, dtype="<f4"):
        text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text

    names = [f"arr_{n}.npy" for n in range(15)]
    one = header("(1,)") + bytes(4)
    bomb = header("(30000, 1000)") + bytes(120_000_000)
    packed = hostile.zip_of([(names[0], bomb), *((name, one) for name in names[1:])])
    assert len(packed) < 200_000
    message = refused(lambda: load_oracle(written(tmp_path / "a.npz", packed)))
    assert (
        "no readable .npz of plain arrays (its arrays have more than 100,000,000 bytes)" in message
    )
    for shape in ("(1000000000000,)", "(10**12, 10**12)", "(-1,)", "(2,) * 9", "None"):
        for dtype in ("<f4", "|V2000000000", "|O"):
            raw = hostile.zip_of([(name, header(shape, dtype) + bytes(4)) for name in names])
            refused(lambda raw=raw: load_oracle(written(tmp_path / "a.npz", raw)), "no readable")
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        raw = hostile.zip_of([(name, one) for name in names], method)
        refused(lambda raw=raw: load_oracle(written(tmp_path / "a.npz", raw)), "stored or deflated")
    good = hostile.npz_of(*hostile.weights())
    for size in (1, 30, len(good) // 2, len(good) - 1):
        refused(lambda size=size: load_oracle(written(tmp_path / "a.npz", good[:size])))


# What is no file.


def everything_that_reads(path, folder):
    """Calls that read a file at a path, or one of that name in a folder."""
    text = TextDataHParams(path=path)
    yield lambda: load_text(text)
    yield lambda: load_text(dataclasses.replace(text, path=str(ROOT / "README.md"), test_path=path))
    yield lambda: load_music(MusicDataHParams(path=path))
    yield lambda: real_data.load(text, str(folder / "run"))
    yield lambda: real_data.load(MusicDataHParams(path=path), str(folder / "run"))
    yield lambda: list(read_blocks(path))
    yield lambda: load_oracle(path)
    yield lambda: own_method.find(f"{path}:method")
    yield lambda: hostile.loaders()["samples"].load(os.path.dirname(path), os.path.basename(path))
    yield lambda: hostile.loaders()["codec"].load(os.path.dirname(path), os.path.basename(path))


@pytest.mark.parametrize(
    "suffix", [".txt", ".pkl", ".npz", ".zip", ".tar.gz", ".mid", ".py", ".json"]
)
def test_pipes_devices_folders_and_loops_are_no_files(tmp_path, suffix):
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"device{suffix}").symlink_to("/dev/zero")
    (tmp_path / f"loop{suffix}").symlink_to(f"loop{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    names = ("pipe", "device", "loop", "folder", "absent")
    paths = [f"{tmp_path}/{name}{suffix}" for name in names]
    for path in [*paths, "/dev/zero", f"a\0b{suffix}", f"\udcff{suffix}", "x" * 300 + suffix]:
        for load in everything_that_reads(path, tmp_path):
            refused(load)


@pytest.mark.parametrize("name", ["pipe", "zero", "folder", "loop"])
def test_a_run_s_files_that_are_none(tmp_path, name):
    for loader in ("run", "text run"):
        files = hostile.loaders()[loader].files
        for file in files:
            folder = tmp_path / loader / file
            folder.mkdir(parents=True)
            for other, contents in files.items():
                (folder / other).write_bytes(contents)
            (folder / file).unlink()
            if name == "pipe":
                os.mkfifo(folder / file)
            elif name == "folder":
                (folder / file).mkdir()
            else:
                (folder / file).symlink_to("/dev/zero" if name == "zero" else file)
            outcome = hostile.attempt(hostile.loaders()[loader].load, str(folder), file)
            may_lack = file in ("samples.txt", "evaluation.json", "summary.json") and name == "loop"
            assert outcome.words == ("loaded" if may_lack else "refused"), (loader, file)


def test_links_in_a_folder_of_tunes_are_not_followed_round(tmp_path):
    folder = tmp_path / "tunes"
    (folder / "deep").mkdir(parents=True)
    for number in range(3):
        (folder / f"{number}.mid").write_bytes(hostile.midi_of(8 + number))
    (folder / "deep" / "up").symlink_to(folder)
    (folder / "a.mid").symlink_to("a.mid")
    (folder / "zero.mid").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.mid")
    settings = MusicDataHParams(path=str(folder), length=4, stride=4)
    with hostile.bounded():
        assert len(members(str(folder))) == 3
        real_data.load(settings, str(tmp_path / "run"))


def test_folders_nested_without_end(tmp_path):
    # Deeper than Python calls itself, and than a path may be long: made from the inside.
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        for _ in range(1_500):
            os.mkdir("d")
            os.chdir("d")
        os.chdir(tmp_path)
        settings = MusicDataHParams(path=str(tmp_path / "d"))
        refused(lambda: real_data.load(settings, str(tmp_path / "run")), "nested too deep")
        refused(lambda: members(str(tmp_path)))
        for _ in range(1_500):
            os.chdir("d")
        for _ in range(1_500):  # what removes folders does not go as deep either
            os.chdir("..")
            os.rmdir("d")
    finally:
        os.chdir(before)


# Text.


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"a b\nc \0 d\n", ":2: holds a NUL"),
        (b"\0" * 100_000, ":1: holds a NUL"),
        ("a b\n".encode("utf-16"), ":1: not UTF-8"),
        ("a b\n".encode("utf-32"), ":1: not UTF-8"),
        (b"a b\nna\xefve\n", ":2: not UTF-8"),
        ("ä b\n".encode() + "ä b\n".encode("latin-1"), ":2: not UTF-8"),  # two encodings
        (b"\xed\xa0\x80\n", "not UTF-8"),  # half a surrogate pair
        (b"\xf4\x90\x80\x80\n", "not UTF-8"),  # beyond Unicode
        (b"\xc0\x80\n", "not UTF-8"),  # an overlong NUL
        (b"x" * 10_000_000, ":1: more than 1,000,000 characters"),
        (b"a\n" + b"x " * 5_000_000 + b"\n", ":2: more than 1,000,000 characters"),
        ("ä".encode() * 5_000_000, ":1: more than 1,000,000 characters"),
        (b"a b c\r" * 3, "only one line"),  # ends of lines as of forty years ago
        (b"", "no line with a token"),
        (b"\xef\xbb\xbf", "no line with a token"),
        (b"\x01\x02\x1b\x7f\n" * 9, "none to test with"),
        # A million accents on a letter: the normal form sorts them in n^2 steps.
        (("a\na" + "\u0323\u0301" * 200_000 + "\n").encode(), ":2: over 1,000 combining marks"),
        (("\u0f73" * 200_000).encode(), ":1: over 1,000 combining marks"),
        (("\uff9e\u0301" * 200_000).encode(), ":1: over 1,000 combining marks"),
    ],
    ids=unnamed,
)
def test_text_that_is_none(tmp_path, contents, words):
    path = written(tmp_path / "a.txt", contents)
    for form in ("NFC", "NFKC"):
        settings = TextDataHParams(path=path, level="character", normal_form=form)
        refused(lambda settings=settings: load_text(settings), path, words)


def test_text_that_grows(tmp_path):
    # A ligature that NFKC writes in eighteen characters.
    path = written(tmp_path / "a.txt", ("\ufdfa" * 300_000 + "\n").encode() * 2)
    settings = TextDataHParams(path=path, level="character", normal_form="NFKC")
    refused(lambda: load_text(settings), f"{path}:1: more than 2,000,000 characters")
    # One long line among many short ones: rows are as long as the longest.
    path = written(tmp_path / "b.txt", b"a b " * 100_000 + b"\n" + b"a b\n" * 50_000)
    settings = TextDataHParams(path=path, max_length=1_000_000, test_fraction=0.5)
    refused(lambda: load_text(settings), "give a smaller data.max_length")


def test_odd_text_that_is_text(tmp_path):
    # Marks of order and control characters are spaces, CR LF an end; the byte order mark goes.
    lines = ["\ufeffa \x1b[31mb", "c\u202e d", "e\x85f\u2028g", "\U0001f469\u200d\U0001f680 h"] * 5
    path = written(tmp_path / "a.txt", "\r\n".join(lines).encode())
    with hostile.bounded():
        dataset = load_text(TextDataHParams(path=path))
    assert {"31mb", "d", "g"} <= set(dataset.codec.vocabulary.words)
    assert all(word.isprintable() or not word.isascii() for word in dataset.codec.vocabulary.words)


# MIDI.


def midi_bytes(track, *, tracks=1, kind=0, division=96):
    chunk = b"MTrk" + struct.pack(">I", len(track)) + track
    return b"MThd" + struct.pack(">IHHh", 6, kind, tracks, division) + chunk * tracks


NOTE = b"\x00\x90\x3c\x40\x60\x80\x3c\x40"
END = b"\x00\xff\x2f\x00"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (midi_bytes(b"\x00\xff\x51\x03\x00\x00\x01" + NOTE + END), "tempo of 1 microseconds"),
        (midi_bytes(b"\x00\xff\x51\x03\x00\x00\x00" + NOTE + END), "tempo of 0 microseconds"),
        (
            midi_bytes(
                b"\x00\xff\x51\x03\xff\xff\xff\x00\x90\x3c\x40\xff\xff\xff\x7f\x80\x3c\x40" + END
            ),
            "must be at most 3,600",
        ),
        (
            midi_bytes(b"\x00\x90\x3c\x40\xff\xff\xff\x7f\x80\x3c\x40" + END, division=1),
            "at most 3,600",
        ),
        (midi_bytes((b"\xff\xff\xff\x7f\x90\x3c\x40") * 9_999 + END), "at most 3,600"),
        (midi_bytes(NOTE + END, division=0), "timed by SMPTE"),
        (midi_bytes(NOTE + END, division=-6_360), "timed by SMPTE"),
        (midi_bytes(NOTE + END, kind=2), "of type 2"),
        (midi_bytes(NOTE + END, kind=77), "of type 77"),
        (midi_bytes(NOTE + END)[:-6], "damaged"),
        (midi_bytes(b"\x00\x3c\x40" * 100), "damaged"),  # running status without a status
        (
            midi_bytes(b"\x00\xff\x7f\xff\xff\xff\x7f" + b"x" * 99),
            "damaged",
        ),  # 268 MB that are not there
        (midi_bytes(b"\x00\xf0\xff\xff\xff\x7f" + b"x" * 99), "damaged"),
        (b"MThd" + struct.pack(">I", 2**32 - 1) + bytes(90), "timed by"),
        (midi_bytes(NOTE)[:18] + struct.pack(">I", 2**32 - 1) + NOTE, "damaged"),
        (midi_bytes(b"\xff" * 900_000 + NOTE), "damaged"),
        (bytes(3_000_000), "must be at most 1,000,000"),
        (b"RIFF" + bytes(900), "damaged"),
    ],
    ids=unnamed,
)
def test_midi_that_makes_no_sense(data, words):
    refused(lambda: read_melody(data, "tune.mid", 0.4), "tune.mid: ", words)


def test_midi_of_as_much_as_is_admitted():
    # Thousands of tracks, a megabyte of the shortest messages, and notes that never end.
    for data in (
        midi_bytes(NOTE + END, tracks=30_000, kind=1),
        midi_bytes(b"\x00\xc0\x01" + b"\x00\x01" * 499_000 + END),
        midi_bytes(b"\x00\x90\x3c\x40" + b"\x01\x3c\x40" * 330_000 + END),
        b"MThd" + struct.pack(">IHHh", 6, 1, 65_535, 96) + b"MTrk" + bytes(4),
    ):
        assert len(data) <= midi.MAX_BYTES
        with hostile.bounded():
            read_melody(data, "tune.mid", 0.4)


def test_many_small_tunes_that_are_long(tmp_path, monkeypatch):
    # An hour of sound in forty bytes, of which windows overlap.
    from seqgan_jax.data import music

    monkeypatch.setattr(music, "_MAX_POSITIONS", 1_000_000)
    long = midi_bytes(b"\x00\x90\x3c\x40\x81\xb6\x00\x80\x3c\x40" + END, division=8)
    path = written(tmp_path / "a.zip", hostile.zip_of([(f"{n}.mid", long) for n in range(20)]))
    settings = MusicDataHParams(path=path, stride=1)
    refused(lambda: load_music(settings), "windows of more than 1,000,000 steps together")


# Archives.


def archived(path):
    return lambda: list(members(str(path)))


@pytest.mark.parametrize("pack", ["zip", "tar", "tar.gz"])
def test_members_that_lead_elsewhere(tmp_path, pack):
    make = {"zip": hostile.zip_of, "tar": hostile.tar_of}.get(
        pack, lambda entries: hostile.tar_of(entries, "w:gz")
    )
    for name in ("../a.mid", "/etc/a.mid", "b/../../a.mid", "C:\\a.mid", "..\\a.mid"):
        path = written(tmp_path / f"a.{pack}", make([(name, b"x")]))
        refused(archived(path), "must lie inside the archive")
    entries = [("\x1b[2J.mid", b"1"), ("a\nb.mid", b"2"), ("x" * 4_000 + ".mid", b"3")]
    path = written(tmp_path / f"a.{pack}", make(entries))
    assert all(name.isprintable() for name, _ in members(path))
    nested = make([("b.zip", hostile.zip_of([("a.mid", b"x")])), ("a.mid", b"y")])
    path = written(tmp_path / f"a.{pack}", nested)
    assert list(members(path)) == [("a.mid", b"y")]  # what is in an archive in it is not looked at


def test_members_that_are_no_files(tmp_path):
    entries = [("good.mid", b"x")]
    for kind in (b"1", b"2", b"3", b"4", b"6", b"5"):
        info = tarfile.TarInfo(f"{kind.decode()}.mid")
        info.type, info.linkname = kind, "/etc/passwd"
        entries.append((info, b""))
    path = written(tmp_path / "a.tar", hostile.tar_of(entries))
    assert list(members(path)) == [("good.mid", b"x")]


def test_bombs(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_TOTAL_BYTES", 50_000_000)
    many = [(f"{n}.mid", bytes(9_000_000)) for n in range(8)]
    path = written(tmp_path / "a.zip", hostile.zip_of(many))
    assert os.path.getsize(path) < 100_000
    refused(archived(path), "more than 50,000,000 bytes")
    path = written(tmp_path / "a.tar.gz", hostile.tar_of(many, "w:gz"))
    refused(archived(path), "more than 50,000,000 bytes")
    path = written(tmp_path / "b.tar.gz", gzip.compress(bytes(60_000_000)))
    refused(archived(path))
    one = hostile.zip_of([("a.mid", bytes(30_000_000))])
    refused(archived(written(tmp_path / "b.zip", one)), "larger than 10,000,000 bytes")
    # One stretch of the file under many names.
    data = bytearray(hostile.zip_of([("a.mid", bytes(9_000_000))]))
    start, end = data.find(b"PK\x01\x02"), data.find(b"PK\x05\x06")
    entry, tail = bytes(data[start:end]), bytearray(data[end:])
    struct.pack_into("<HHI", tail, 8, 60, 60, 60 * len(entry))
    path = written(tmp_path / "c.zip", bytes(data[:start]) + entry * 60 + bytes(tail))
    refused(archived(path))


def test_headers_that_take_long(tmp_path):
    # tarfile looks for a word behind digits, from each of them on.
    info = tarfile.TarInfo("a.mid")
    info.pax_headers = {"x": "9" * 200_000}
    refused(archived(written(tmp_path / "a.tar", hostile.tar_of([(info, b"x")]))), "damaged")
    # A chain of headers for all files behind.
    entry = tarfile.TarInfo.create_pax_global_header({f"k{n}": "v" for n in range(2_000)})
    refused(archived(written(tmp_path / "b.tar", entry * 2_000 + bytes(1_024))), "a header of")
    # A sparse file whose map goes on through all that follows.
    sparse = tarfile.TarInfo("s.mid")
    sparse.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    sparse.pax_headers["GNU.sparse.realsize"] = "1"
    content = b"999999999\n" + b"0\n" * 500_000
    refused(
        archived(written(tmp_path / "c.tar", hostile.tar_of([(sparse, content)]))), "a header of"
    )


def test_a_zip_of_a_directory_larger_than_all_memory(tmp_path, monkeypatch):
    from seqgan_jax.data import bounded

    monkeypatch.setattr(bounded, "MAX_DIRECTORY_BYTES", 100_000)
    path = written(tmp_path / "a.zip", hostile.zip_of([(f"{n}.mid", b"") for n in range(3_000)]))
    refused(archived(path), "a directory of")


def test_zips_that_lie_about_their_members(tmp_path):
    good = hostile.zip_of([("a.mid", b"MThd" * 99), ("b.mid", b"y" * 99)])
    directory = good.find(b"PK\x01\x02")
    for offset, form, value in (
        (8, "<H", 1),  # encrypted
        (10, "<H", 99),  # packed in a way that nobody knows
        (20, "<I", 2**31),
        (24, "<I", 5_000_000),
        (42, "<I", 2**31),  # its place
        (28, "<H", 60_000),  # the length of its name
    ):
        data = bytearray(good)
        struct.pack_into(form, data, directory + offset, value)
        path = written(tmp_path / "a.zip", bytes(data))
        outcome = hostile.attempt(hostile.loaders()["zip"].load, str(tmp_path), "a.zip")
        assert outcome.words == "refused", (offset, outcome)
        assert os.path.exists(path)


# A run's own folder.


METRICS = hostile.loaders()["metrics"].files["metrics.jsonl"]


def metrics_of(folder, contents):
    (folder / "metrics.jsonl").write_bytes(contents)
    return writers.read_metrics(str(folder))


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    whole = metrics_of(tmp_path, METRICS)
    assert whole == hostile.METRICS
    for size in range(len(METRICS)):
        ends = METRICS[:size].count(b"\n")
        assert metrics_of(tmp_path, METRICS[:size]) == whole[:ends]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"null",
        b"{}",
        b'{"phase": 3}',
        b'{"phase": "x", "a": NaN}',
        b"\xff",
        b'{"phase": "x", "a": 1e999}',
        b'{"phase": "x", "a": -Infinity}',
        b'{"phase": "x", "a": "1"}',
        b'{"phase": "x", "a": ' + b"9" * 400 + b"}",
        b'{"phase": "x", "a": ' + b"9" * 5000 + b"}",
        b'{"phase": "x", "a": true}',
        b'{"phase": "x", "a": [1]}',
        b"[" * 100_000,
        b"{} {}",
        b"\0",
    ],
    ids=unnamed,
)
def test_any_other_damaged_line_is_named(tmp_path, line):
    first, rest = METRICS.split(b"\n", 1)
    message = refused(lambda: metrics_of(tmp_path, first + b"\n" + line + b"\n" + rest))
    assert message.startswith(f"{tmp_path}/metrics.jsonl:2: damaged (")


def test_metrics_that_are_missing(tmp_path):
    refused(lambda: writers.read_metrics(str(tmp_path)), "metrics.jsonl: no such file")


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"NaN",
        b'{"seed": 1e400}',
        b'{"seed": ' + b"9" * 5_000 + b"}",
        b'{"model": []}',
        b'{"": 1}',
        b'{"training": {"d_l2": ' + b"9" * 400 + b"}}",
        b'{"data": {"kind": ["text"]}}',
        b'{"data": {"kind": {"text": 1}}}',
        b'{"method": "' + b"x" * 1_000_000 + b'"}',
        b'{"discriminator": {"filters": "ab"}}',
        b'{"discriminator": {"filters": [[1, 2, 3]]}}',
        b'{"discriminator": {"filters": [[1e9, 2]]}}',
        b'{"discriminator": {"filters": {"ab": 1}}}',
    ],
    ids=unnamed,
)
def test_a_config_of_a_run_that_is_none(tmp_path, contents):
    (tmp_path / "config.json").write_bytes(contents)
    refused(lambda: workdir.read_hparams(str(tmp_path)), f"{tmp_path}/config.json: ", "damaged")


@pytest.mark.parametrize("loader", ["evaluation", "run"])
@pytest.mark.parametrize("value", fuzz_loaders.VALUES[:30], ids=unnamed)
def test_an_evaluation_of_odd_values(tmp_path, loader, value):
    files = hostile.loaders()[loader].files
    for place in (
        ("num_samples",),
        ("rows",),
        ("sweep",),
        ("rows", 0),
        ("rows", 0, "name"),
        ("rows", 0, "source"),
        ("rows", 0, "num_samples"),
        ("rows", 0, "metrics"),
        ("rows", 0, "metrics", "bleu_2"),
        ("sweep", "x"),
        ("sweep", "curves"),
        ("sweep", "curves", 0, "points", 0, "temperature"),
        ("version",),
    ):
        changed = json.loads(files["evaluation.json"])
        inner = changed
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = value
        for name, contents in files.items():
            (tmp_path / name).write_bytes(contents)
        (tmp_path / "evaluation.json").write_text(json.dumps(changed))
        outcome = hostile.attempt(hostile.loaders()[loader].load, str(tmp_path), "evaluation.json")
        assert outcome.words in ("loaded", "refused"), place


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        *(("text", "words", [word]) for word in ([], {}, None, 3, "")),
        ("text", "words", ["x" * 9_000 + "\ud800"] * 2),
        ("text", "words", {"a": 1}),
        ("text", "has_end", "x" * 9_000),
        ("ids", "vocab_size", 10**5_000),
        ("ids", "vocab_size", -1),
        ("text", "tokens_per_line", 10**5_000),
        ("pitch", "seconds_per_step", 10**400),
        ("pitch", "kind", ["x"] * 9_000),
    ],
    ids=unnamed,
)
def test_a_vocabulary_that_is_none(kind, field, value):
    values = {each.kind: each.to_json() for each in hostile.CODECS}[kind]
    (values if field in values else values["vocabulary"])[field] = value
    refused(lambda: codec_from_json(values))


# A user's own method.


def test_a_method_is_what_its_file_says(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def method(*_):\n    return 1\n")
    assert own_method.find(str(path))() == 1
    assert os.listdir(tmp_path) == ["mine.py"]  # nothing compiled is left beside it
    # Nor is what lies there, compiled from something else, run in its place.
    cached = pathlib.Path(importlib.util.cache_from_source(str(path)))
    cached.parent.mkdir()
    code = importlib._bootstrap_external._code_to_timestamp_pyc(
        compile("def method(*_):\n    return 2\n", str(path), "exec"),
        int(path.stat().st_mtime),
        path.stat().st_size,
    )
    cached.write_bytes(code)
    assert own_method.find(str(path))() == 1


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"x = 1\n",
        b"method = 3\n",
        b"def",
        b"\0",
        b"\xff",
        b"raise SystemExit(0)\n",
        b"1 / 0\n",
        b"import no_such_module\n",
        b"(" * 50_000,
        b"x = " + b"-" * 100_000 + b"1\n",
    ],
    ids=unnamed,
)
def test_a_method_s_file_that_is_none(tmp_path, contents):
    path = written(tmp_path / "mine.py", contents)
    refused(lambda: own_method.find(path), f"config.method={path}: ")


# Settings.

ABSURD = [
    -1,
    0,
    1,
    -(10**12),
    10**12,
    10**30,
    10**400,
    10**5000,
    -0.5,
    0.0,
    1e-300,
    1e-45,
    1e30,
    1e300,
    math.nan,
    math.inf,
    -math.inf,
    True,
    None,
    "",
    "x",
    "x" * 100_000,
    "a\0b",
    "\ud800",
    [],
    {},
    [1],
    [[1, 2]],
    [[10**12, 1]],
    [[1, 10**12]],
    [[0, 1]],
    [[1, 1]] * 1_000,
    ["ab"],
    {"a": 1},
    (1,),
    b"x",
]


def _fields(record, path=()):
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if isinstance(value, Checked):
            yield from _fields(value, (*path, field.name))
        yield (*path, field.name)


BASES = [
    hp.HParams(),
    hp.HParams(data=TextDataHParams(path="x.txt")),
    hp.HParams(data=MusicDataHParams(path="x.mid")),
]
FIELDS = sorted(
    {
        (number, path)
        for number, base in enumerate(BASES)
        for path in _fields(base)
        if number == 0 or path[0] == "data"
    }
)


@pytest.mark.parametrize(
    ("base", "path"),
    FIELDS,
    ids=lambda item: ".".join(item) if isinstance(item, tuple) else str(item),
)
def test_every_value_of_every_field_is_accepted_or_refused(base, path):
    for value in ABSURD:
        fields = to_dict(BASES[base])
        inner = fields
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value
        with hostile.bounded(seconds=5, most=300_000_000):
            try:
                hparams, message = from_mapping(hp.HParams, fields), ""
            except ConfigError as error:
                hparams, message = hp.HParams(), str(error)
            assert len(message) < 1_000
            assert message.isprintable()
            assert json.dumps(to_dict(hparams))
            assert len(plan.calls(hparams.schedule)) <= 2_000_000


@pytest.mark.parametrize(
    ("section", "fields"),
    [
        ("model", {"hidden_dim": 10**12}),
        ("model", {"embed_dim": 2**14, "hidden_dim": 2**14}),
        ("data", {"vocab_size": 10**12}),
        ("data", {"length": 10**9}),
        ("data", {"num_train": 10**8, "num_test": 10**8, "length": 10**4}),
        ("data", {"vocab_size": 10**7, "oracle_hidden_dim": 2**14}),
        ("schedule", {"batch_size": 10**12}),
        ("schedule", {"rounds": 10**12}),
        ("schedule", {"g_pretrain_epochs": 10**12}),
        ("schedule", {"rounds": 10**6, "d_steps": 10**4}),
        ("schedule", {"d_epochs": 10**12}),
        ("training", {"num_rollouts": 10**12}),
        ("discriminator", {"filters": ((10**9, 1),)}),
        ("discriminator", {"filters": ((1, 10**9),)}),
        ("evaluation", {"num_written": 10**12}),
    ],
)
def test_sizes_that_no_machine_has_are_refused(section, fields):
    values = {section: fields}
    if "vocab_size" in fields or section == "model":
        values.setdefault("data", {}).setdefault("vocab_size", 500_000)
    refused(lambda: from_mapping(hp.HParams, values), "config.")


def test_brackets_in_names_are_no_markup():
    from seqgan_jax.training import command_line

    assert "[/x] [bold]" in rendered(command_line.console(), "[/x] [bold] :smile:")


def rendered(console, words):
    console.file = io.StringIO()
    console.print(words, highlight=False)
    return console.file.getvalue()


# Programs. Each ends in one sentence, with status 2, before it has asked for memory.


@pytest.mark.parametrize(
    ("program", "flags", "words"),
    [
        ("train.py", ["--config=/dev/zero"], "--config=/dev/zero: is no regular file"),
        (
            "train.py",
            ["--config=configs/text.py:smoke", "--config.data.path=/dev/zero"],
            "/dev/zero",
        ),
        ("evaluate.py", ["--workdir=/nowhere", "--lm_epochs=1000000000000"], "--lm_epochs="),
        (
            "evaluate.py",
            ["--workdir=/nowhere", "--sweep=temperature", "--temperatures=nan"],
            "--temperatures=nan",
        ),
        (
            "compare.py",
            ["--config=configs/oracle.py:smoke", "--num_seeds=1000000000000"],
            "--num_seeds=1000000000000: must be in 1..1000",
        ),
    ],
)
def test_programs_refuse_what_has_no_end(tmp_path, program, flags, words):
    out = {"train.py": "--workdir", "compare.py": "--out"}.get(program)
    flags = [*flags, *([f"{out}={tmp_path}/out"] if out else [])]
    command = [sys.executable, str(ROOT / "bin" / program), *flags]
    with hostile.watched(None):
        done = subprocess.run(command, capture_output=True, text=True, timeout=50, cwd=ROOT)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert words in done.stderr
    assert os.listdir(tmp_path) == []


# Any text, any values, any bytes.

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


# The short form of the fuzz.


def test_a_few_hundred_damaged_files(tmp_path):
    loaders = hostile.loaders()
    counts = {}
    for task in fuzz_loaders.tasks(loaders, 400):
        if task.loader == "report":  # of pictures: seconds each
            continue
        loader = loaders[task.loader]
        file, data = fuzz_loaders.mutant(loader, task.number, 1, task.loader)
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        fuzz_loaders.write(str(folder), loader, file, data)
        outcome = hostile.attempt(loader.load, str(folder), file)
        assert outcome.words in ("loaded", "refused"), (task, outcome)
        counts[outcome.words] = counts.get(outcome.words, 0) + 1
    assert min(counts.values()) > 20
