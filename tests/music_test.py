"""Windows of melodies, their split by tune, and what is said of files left out."""

import io
import os
import pathlib
import sys
import tarfile
import time

import numpy as np
import pytest

from seqgan_jax.checked import DataError
from seqgan_jax.data import music
from seqgan_jax.data.archive import members
from seqgan_jax.data.midi import write_midi
from seqgan_jax.data.music import load_music
from seqgan_jax.data.pitch_codec import PitchCodec, pitches
from seqgan_jax.data_hparams import MusicDataHParams


@pytest.fixture(scope="module")
def nottingham():
    """1,034 folk tunes; they are not part of the repository."""
    root = pathlib.Path(__file__).resolve().parents[1]
    folder = os.environ.get("SEQGAN_DATA") or root.parent / "shared" / "data"
    path = pathlib.Path(folder) / "music" / "nottingham_melody.tar.gz"
    if not path.is_file():
        pytest.skip(f"no tunes at {path}; set SEQGAN_DATA to the folder that holds them")
    return str(path)


def folder_of(folder, melodies):
    """Melodies (name -> tokens, or bytes as they stand) as MIDI files of steps of 0.4 s."""
    folder.mkdir(exist_ok=True)
    for name, melody in melodies.items():
        if isinstance(melody, bytes):
            (folder / name).write_bytes(melody)
        else:
            write_midi(str(folder / name), np.array(melody), 0.4)
    return str(folder)


def tune(number, length=8):
    """A melody of its own: repeats of no other's token."""
    return [1 + number, 50 + number % 30] * (length // 2) + [1 + number] * (length % 2)


def settings(path, **fields):
    return MusicDataHParams(path=path, **{"length": 4, "stride": 4, **fields})


def tunes_of(sequences):
    return set(sequences.tokens.min(axis=1).tolist())


@pytest.mark.parametrize(
    ("stride", "expected"),
    [
        (4, [[1, 2, 3, 4], [5, 6, 7, 8]]),
        (3, [[1, 2, 3, 4], [4, 5, 6, 7], [7, 8, 9, 10]]),
        (6, [[1, 2, 3, 4], [7, 8, 9, 10]]),
        (5, [[1, 2, 3, 4], [6, 7, 8, 9]]),
        (1, [[i, i + 1, i + 2, i + 3] for i in range(1, 8)]),
    ],
)
def test_windows(tmp_path, stride, expected):
    train = folder_of(tmp_path / "train", {"a.mid": list(range(1, 11))})
    test = folder_of(tmp_path / "test", {"b.mid": [20, 21, 22, 23]})
    dataset = load_music(settings(train, test_path=test, stride=stride))
    assert dataset.train.tokens.tolist() == expected
    assert dataset.test.tokens.tolist() == [[20, 21, 22, 23]]
    for tokens, mask in (dataset.train, dataset.test):
        assert tokens.dtype == np.int32
        assert mask.dtype == bool
        assert mask.shape == tokens.shape
        assert mask.all()
    assert isinstance(dataset.codec, PitchCodec)
    assert dataset.codec.seconds_per_step == 0.4
    # Steps of the ten that are in no window.
    uncovered = 10 - len({step for window in expected for step in window})
    sentence = f"{train}: {uncovered} of 10 steps in no whole window, left out."
    assert dataset.notes == ((sentence,) if uncovered else ())


def test_windows_of_rests_and_short_melodies_are_dropped_and_counted(tmp_path):
    path = folder_of(
        tmp_path / "tunes",
        {
            "a.mid": [1, 2, 3, 4, 0, 0, 0, 0, 5, 6, 0, 7],
            "b.mid": [1, 2, 3],
            "c.mid": [0, 0, 0, 9, 9, 0, 0, 0],  # trimmed to 2 steps
            "d.mid": [0] * 9,
            "e.mid": [9, 8, 7, 6],
        },
    )
    dataset = load_music(settings(path, test_path=path))
    assert dataset.train.tokens.tolist() == [[1, 2, 3, 4], [5, 6, 0, 7], [9, 8, 7, 6]]
    assert f"{path}: 3 of 5 melodies shorter than 4 steps, dropped." in dataset.notes
    assert f"{path}: 1 windows of rests alone, dropped." in dataset.notes
    assert "2 of 2 test melodies are training melodies too." in dataset.notes


@pytest.mark.parametrize(
    ("number", "fraction", "held_out"),
    [(10, 0.1, 1), (10, 0.3, 3), (10, 0.01, 1), (10, 0.99, 9), (2, 0.5, 1), (3, 0.9, 2)],
)
def test_files_are_split_whole(tmp_path, number, fraction, held_out):
    path = folder_of(tmp_path / "tunes", {f"{i}.mid": tune(i, 8 + i) for i in range(number)})
    dataset = load_music(settings(path, test_fraction=fraction, stride=1))
    train, test = tunes_of(dataset.train), tunes_of(dataset.test)
    assert len(test) == held_out
    assert train.isdisjoint(test)
    assert train | test == set(range(1, number + 1))
    # All windows of each to train on: 8 + i steps have 5 + i of them. To test, those apart.
    assert len(dataset.train.tokens) == sum(5 + first - 1 for first in train)
    assert len(dataset.test.tokens) == sum((8 + first - 1) // 4 for first in test)


def test_the_seed_decides_the_split(tmp_path):
    path = folder_of(tmp_path / "tunes", {f"{i}.mid": tune(i) for i in range(12)})
    splits = [
        tunes_of(load_music(settings(path, seed=s, test_fraction=0.3)).test) for s in range(6)
    ]
    again = tunes_of(load_music(settings(path, seed=0, test_fraction=0.3)).test)
    # round(0.3 * 12) = 4 files, the first of the permutation; names sort as 0 1 10 11 2 3 ...
    order = sorted(range(12), key=str)
    chosen = np.random.default_rng(0).permutation(12)[:4]
    assert splits[0] == again == {1 + order[i] for i in chosen}
    assert len(set(map(frozenset, splits))) > 3


@pytest.mark.parametrize("seed", range(20))
def test_files_of_one_melody_stand_on_one_side(tmp_path, seed):
    path = folder_of(tmp_path / "tunes", {f"{i}.mid": tune(i // 3) for i in range(12)})
    dataset = load_music(settings(path, seed=seed, test_fraction=0.25))
    # 3 files wanted, which one melody brings: 3 files of 2 windows each.
    assert tunes_of(dataset.train).isdisjoint(tunes_of(dataset.test))
    assert (len(dataset.test.tokens), len(dataset.train.tokens)) == (6, 18)
    sentence = "8 of 12 files with the melody of another, put on its side of the split."
    assert dataset.notes == (f"{path}: {sentence}",)


@pytest.mark.parametrize("seed", range(10))
def test_something_is_always_left_to_train_on(tmp_path, seed):
    # 8 files of one melody and 1 of another; 8 are wanted.
    path = folder_of(tmp_path / "tunes", {f"{i}.mid": tune(i // 8) for i in range(9)})
    dataset = load_music(settings(path, seed=seed, test_fraction=0.9))
    assert len(tunes_of(dataset.train)) == len(tunes_of(dataset.test)) == 1


def test_with_a_test_path_all_of_the_other_trains(tmp_path):
    train = folder_of(tmp_path / "train", {f"{i}.mid": tune(i) for i in range(5)})
    test = folder_of(tmp_path / "test", {f"{i}.mid": tune(i) for i in range(5, 8)})
    dataset = load_music(settings(train, test_path=test))
    assert tunes_of(dataset.train) == {1, 2, 3, 4, 5}
    assert tunes_of(dataset.test) == {6, 7, 8}
    assert dataset.notes == ()


def test_damaged_files_are_skipped_counted_and_named(tmp_path):
    good = {f"{i}.mid": tune(i) for i in range(3)}
    path = folder_of(tmp_path / "tunes", good | {f"bad{i}.mid": b"no MIDI" for i in range(5)})
    (note,) = load_music(settings(path)).notes
    assert note.startswith(f"{path}: 5 of 8 files skipped (bad0.mid: damaged, or no MIDI file")
    assert "bad2.mid" in note
    assert "bad3.mid" not in note
    assert note.endswith("; and 2 more).")


def test_a_file_too_large_is_skipped_as_damaged_ones_are(tmp_path):
    good = {f"{i}.mid": tune(i) for i in range(3)}
    path = folder_of(tmp_path / "tunes", good | {"1b.mid": bytes(10_000_001)})
    dataset = load_music(settings(path))
    assert tunes_of(dataset.train) | tunes_of(dataset.test) == {1, 2, 3}
    (note,) = dataset.notes
    assert note.startswith(f"{path}: 1 of 4 files skipped (")
    assert "1b.mid: larger than 10,000,000 bytes" in note


def test_a_file_that_cannot_be_read_is_skipped_as_damaged_ones_are(tmp_path, monkeypatch):
    path = folder_of(tmp_path / "tunes", {f"{i}.mid": tune(i) for i in range(4)})

    def found(folder):
        files = members(folder)
        (tmp_path / "tunes" / "1.mid").unlink()
        return files

    monkeypatch.setattr(music, "members", found)
    dataset = load_music(settings(path))
    assert tunes_of(dataset.train) | tunes_of(dataset.test) == {1, 3, 4}
    (note,) = dataset.notes
    assert note.startswith(f"{path}: 1 of 4 files skipped (")
    assert "1.mid: cannot be read: No such file" in note


def test_an_archive_gives_what_its_folder_gives(tmp_path):
    melodies = {f"{i}.mid": tune(i, 9) for i in range(12)}
    path = folder_of(tmp_path / "tunes", melodies)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in reversed(melodies):
            tar.add(os.path.join(path, name), arcname=name)
    (tmp_path / "tunes.tgz").write_bytes(packed.getvalue())
    one = load_music(settings(path))
    other = load_music(settings(str(tmp_path / "tunes.tgz")))
    np.testing.assert_array_equal(one.train.tokens, other.train.tokens)
    np.testing.assert_array_equal(one.test.tokens, other.test.tokens)


@pytest.mark.parametrize(
    ("melodies", "message"),
    [
        (
            {"a.mid": b"no MIDI", "b.mid": b""},
            r"none of 2 files could be read: a\.mid: damaged.*b\.mid",
        ),
        (
            {"a.mid": [1, 2, 3], "b.mid": [4], "c.mid": b""},
            r"none of 2 melodies has 4 steps of 0\.4 s; give fewer or shorter ones",
        ),
        ({"a.mid": tune(1)}, r"one melody of at least .*--config\.data\.test_path=FOLDER"),
        (
            {"a.mid": tune(1), "b.mid": tune(1), "c.mid": [1]},
            "one melody of .*1 of 3 melodies shorter than 4 steps, dropped",
        ),
        ({"read.me": b""}, r"no file in it ends in \.mid or \.midi"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, melodies, message):
    path = folder_of(tmp_path / "tunes", melodies)
    with pytest.raises(DataError, match=message) as caught:
        load_music(settings(path))
    assert str(caught.value).startswith(f"{path}: ")


def test_a_test_path_with_nothing_in_it_is_refused(tmp_path):
    train = folder_of(tmp_path / "train", {"a.mid": tune(1)})
    test = folder_of(tmp_path / "test", {"a.mid": [1, 2]})
    with pytest.raises(DataError, match=f"^{test}: none of 1 melodies has 4 steps"):
        load_music(settings(train, test_path=test))


def test_one_training_window_is_refused_and_two_will_do(tmp_path):
    train = folder_of(tmp_path / "train", {"a.mid": [1, 2, 3, 4, 5]})
    test = folder_of(tmp_path / "test", {"b.mid": tune(9)})
    with pytest.raises(DataError, match=f"^{train}: 1 window of 4 steps to train on; must have 2"):
        load_music(settings(train, test_path=test))
    dataset = load_music(settings(train, test_path=test, stride=1))
    assert dataset.train.tokens.tolist() == [[1, 2, 3, 4], [2, 3, 4, 5]]


def test_without_a_path_the_flag_is_named():
    with pytest.raises(DataError, match=r"--config\.data\.path=FOLDER"):
        load_music(MusicDataHParams())


def test_without_mido_no_file_is_blamed(tmp_path, monkeypatch):
    path = folder_of(tmp_path / "tunes", {"a.mid": tune(1), "b.mid": tune(2)})
    monkeypatch.setitem(sys.modules, "mido", None)
    with pytest.raises(DataError, match=r"^music needs mido: pip install 'seqgan_jax\[music\]'"):
        load_music(settings(path))


@pytest.mark.parametrize("number", [1, 7, 250])
def test_progress_rises_to_one(tmp_path, number):
    train = folder_of(
        tmp_path / "train", {f"{i}.mid": b"" for i in range(number)} | {"x.mid": tune(1)}
    )
    test = folder_of(tmp_path / "test", {"y.mid": tune(2)})
    shares = []
    load_music(settings(train, test_path=test), shares.append)
    assert shares == sorted(set(shares))
    assert shares[-1] == 1.0
    assert min(number, 100) <= len(shares) <= 130
    assert shares[0] > 0.0


def test_the_nottingham_tunes(nottingham):
    shares = []
    started = time.monotonic()
    dataset = load_music(MusicDataHParams(path=nottingham), shares.append)
    seconds = time.monotonic() - started
    assert seconds < 60
    assert shares[-1] == 1.0
    assert len(dataset.train.tokens) + len(dataset.test.tokens) == 4917
    assert len(dataset.test.tokens) == pytest.approx(0.1 * 4917, rel=0.3)
    assert not [note for note in dataset.notes if "skipped" in note]  # all 1,034 are read
    assert f"{nottingham}: 1 of 1,034 melodies shorter than 32 steps, dropped." in dataset.notes
    tokens = np.concatenate([dataset.train.tokens, dataset.test.tokens])
    assert np.mean(tokens == 0) == pytest.approx(0.0012, abs=2e-4)
    # Fiddles and flutes: from G3 up, with a mean near C5.
    heard = pitches(tokens)
    assert np.nanmean(heard) == pytest.approx(71.96, abs=0.01)
    assert (np.nanmin(heard), np.nanmax(heard)) == (55, 88)
    again = load_music(MusicDataHParams(path=nottingham))
    np.testing.assert_array_equal(again.test.tokens, dataset.test.tokens)
