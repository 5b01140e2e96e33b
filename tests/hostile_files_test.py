"""Paths that are no files, text that is none, MIDI that makes no sense."""

import dataclasses
import os
import pathlib
import struct

import hostile
import pytest
from hostile_inputs import END, NOTE, midi_bytes, refused, unnamed, written

from seqgan_jax.data import midi
from seqgan_jax.data.archive import members
from seqgan_jax.data.lines import read_blocks
from seqgan_jax.data.midi import read_melody
from seqgan_jax.data.music import load_music
from seqgan_jax.data.text import load_text
from seqgan_jax.data_hparams import MusicDataHParams, TextDataHParams
from seqgan_jax.models.oracle import load_oracle
from seqgan_jax.training import own_method, real_data

ROOT = pathlib.Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.usefixtures("hostile_limits")


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
