"""Data of a run: what of a folder of melodies makes them others."""

import os

import numpy as np
import pytest

from seqgan_jax.checked import DataError
from seqgan_jax.data_hparams import MusicDataHParams
from seqgan_jax.training import real_data
from seqgan_jax.training.workdir import CONFIG_FILE

midi = pytest.importorskip("seqgan_jax.data.midi")


@pytest.fixture
def begun(tmp_path):
    """Settings of two folders of melodies, and the folder of a run that has begun on them."""
    for side, numbers in (("train", (1, 2, 3)), ("test", (4, 5))):
        (tmp_path / side).mkdir()
        for number in numbers:
            melody = np.array([10 + number, 40, 20, 30] * 2)
            midi.write_midi(str(tmp_path / side / f"{number}.mid"), melody, 0.4)
    settings = MusicDataHParams(
        path=str(tmp_path / "train"), test_path=str(tmp_path / "test"), length=4, stride=4
    )
    real_data.load(settings, str(tmp_path / "run"))
    (tmp_path / "run" / CONFIG_FILE).write_text("{}")
    return settings, str(tmp_path / "run")


def test_only_melodies_count(begun, tmp_path):
    settings, run = begun
    (tmp_path / "train" / "notes.txt").write_text("not music")
    (tmp_path / "train" / "gone.mid").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "train" / "pipe.mid")
    (tmp_path / "train" / "folder.mid").mkdir()
    assert len(real_data.load(settings, run).train.tokens) == 6
    # A link to a melody is one; so is what ends in capitals.
    (tmp_path / "train" / "4.MIDI").symlink_to(tmp_path / "test" / "4.mid")
    with pytest.raises(DataError, match="changed since the run"):
        real_data.load(settings, run)


def test_a_melody_that_changes_sides_makes_other_data(begun, tmp_path):
    settings, run = begun
    # Of all files in their order, 1 2 3 4 5, nothing has changed.
    (tmp_path / "train" / "3.mid").rename(tmp_path / "test" / "3.mid")
    with pytest.raises(DataError, match="changed since the run"):
        real_data.load(settings, run)
