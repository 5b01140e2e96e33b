"""MIDI read against notes placed by hand, a player written plainly, and what was written."""

import errno
import io
import os
import sys
import time

import mido
import numpy as np
import pytest

from seqgan_jax.checked import DataError
from seqgan_jax.data import midi
from seqgan_jax.data.midi import load_mido, read_melody, write_midi

A4, B4, C5 = 49, 51, 52  # tokens of the MIDI numbers 69, 71, 72


def midi_of(*tracks, kind=1, ticks_per_beat=100):
    """Bytes of a file; a track is messages as (delta in ticks, type, fields)."""
    file = mido.MidiFile(type=kind, ticks_per_beat=ticks_per_beat)
    for messages in tracks:
        track = file.add_track()
        for delta, message, fields in messages:
            meta = message in ("set_tempo", "track_name", "end_of_track", "lyrics")
            track.append(
                (mido.MetaMessage if meta else mido.Message)(message, time=delta, **fields)
            )
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def on(delta, note, channel=0, velocity=64):
    return delta, "note_on", {"note": note, "channel": channel, "velocity": velocity}


def off(delta, note, channel=0):
    return delta, "note_off", {"note": note, "channel": channel}


def tempo(delta, microseconds):
    return delta, "set_tempo", {"tempo": microseconds}


def read(data, seconds_per_step=0.5):
    """Without a tempo a beat is 0.5 s: 100 ticks, in most tests one step."""
    melody = read_melody(data, "tune.mid", seconds_per_step)
    assert melody.dtype == np.int32
    return melody.tolist()


@pytest.mark.parametrize(
    ("track", "expected"),
    [
        ([on(0, 69), off(100, 69), on(0, 71), off(200, 71)], [A4, B4, B4]),
        # Silence before, between and behind.
        ([on(130, 69), off(100, 69), on(200, 71), off(100, 71), off(500, 72)], [A4, 0, 0, B4]),
        ([on(0, 69), on(100, 69, velocity=0), on(100, 71), on(100, 71, velocity=0)], [A4, 0, B4]),
        # The highest sounds: 69 for 3 steps, 72 over it in the second.
        ([on(0, 69), on(100, 72), off(100, 72), off(100, 69)], [A4, C5, A4]),
        # A drum, and notes a step below and above the piano, which also do not begin the melody.
        (
            [on(0, 72, channel=9), on(0, 20), on(0, 109), on(250, 69), off(100, 69), off(100, 20)],
            [A4],
        ),
        ([on(0, 21), off(100, 21), on(0, 108), off(100, 108)], [1, 88]),
        # Off in a channel of its own ends nothing in another.
        ([on(0, 69), off(100, 69, channel=1), off(100, 69)], [A4, A4]),
        # Struck again at the tick of its off, which comes second; then it lasts one step more.
        ([on(0, 69), on(100, 69), off(0, 69), off(100, 69)], [A4, A4]),
        # Struck twice, ended once: no note hangs.
        ([on(0, 69), on(100, 69), off(100, 69), off(200, 71)], [A4, A4]),
        # Never ended: to the end of the track.
        ([on(0, 69), off(300, 71)], [A4, A4, A4]),
        # At the middle of a step: 60 ticks reach it, 40 do not, nor do 20 behind it.
        ([on(0, 69), off(60, 69), on(40, 71), off(40, 71), on(40, 72), off(20, 72)], [A4]),
        # From middle to middle: [50, 150) is the second step's and not the third's.
        ([on(0, 71), off(50, 71), on(0, 69), off(100, 69)], [A4]),
        ([], []),
        ([on(0, 69), off(0, 69)], []),
        ([on(0, 69, channel=9), off(500, 69, channel=9)], []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [0, 1])
def test_notes_at_the_middle_of_each_step(track, expected, kind):
    assert read(midi_of(track, kind=kind)) == expected


def test_tempo_changes_of_any_track_count_for_all():
    # A beat is 0.5 s, from tick 200 on 1 s, from tick 300 on 0.25 s.
    notes = [on(0, 69), off(200, 69), on(0, 71), off(100, 71), on(0, 72), off(200, 72)]
    tempos = [tempo(200, 1_000_000), tempo(100, 250_000)]
    # 69 for 1 s, 71 for 1 s, 72 for 0.5 s.
    for tracks in ([tempos, notes], [notes, tempos]):
        assert read(midi_of(*tracks)) == [A4, A4, B4, B4, C5]
        assert read(midi_of(*tracks), 0.25) == [A4] * 4 + [B4] * 4 + [C5] * 2
    # The last one at a tick is in force: 2 s a beat.
    assert read(midi_of([tempo(0, 1_000_000), tempo(0, 2_000_000)], notes[:2])) == [A4] * 8


def test_the_paper_s_step():
    # 150 beats a minute: a beat is 0.4 s.
    track = [
        tempo(0, 400_000),
        on(0, 69),
        off(96, 69),
        on(0, 71),
        off(48, 71),
        on(0, 72),
        off(48, 72),
    ]
    # 72 begins at the middle of the second step.
    assert read(midi_of(track, ticks_per_beat=96), 0.4) == [A4, C5]
    assert read(midi_of(track, ticks_per_beat=96), 0.2) == [A4, A4, B4, C5]


def plain_melody(notes, seconds_per_step):
    """Sounding at k + 1/2 steps after the first note: asked of every note, for every step."""
    first, last = min(s for _, s, _ in notes), max(e for _, _, e in notes)
    heard, step = [], 0
    while first + step * seconds_per_step < last:
        middle = first + (step + 0.5) * seconds_per_step
        heard.append(max((p - 20 for p, s, e in notes if s <= middle < e), default=0))
        step += 1
    while heard and heard[0] == 0:
        heard.pop(0)
    while heard and heard[-1] == 0:
        heard.pop()
    return heard


@pytest.mark.parametrize("seed", range(30))
def test_random_chords_are_those_of_a_plain_player(seed):
    rng = np.random.default_rng(seed)
    # Keys of their own, so that no note-off meets two notes; times off the middles of steps.
    keys = rng.permutation(np.arange(21, 109))[:20].tolist()
    notes, events = [], []
    for key in keys:
        start, length = int(rng.integers(0, 2000)), int(rng.integers(1, 400))
        notes.append((key, start / 200, (start + length) / 200))  # 100 ticks are 0.5 s
        events += [(start, "note_on", key), (start + length, "note_off", key)]
    tracks = [[], []]
    for number, track in enumerate(tracks):
        now = 0
        for tick, kind, key in sorted(event for event in events if event[2] % 2 == number):
            track.append((tick - now, kind, {"note": key, "velocity": 64}))
            now = tick
    seconds_per_step = float(rng.uniform(0.05, 0.7))
    assert read(midi_of(*tracks), seconds_per_step) == plain_melody(notes, seconds_per_step)


@pytest.mark.parametrize("seconds_per_step", [0.4, 0.25, 1 / 3, 0.001, 0.0001, 0.0123, 17.0, 60.0])
def test_what_was_written_is_read_back(tmp_path, seconds_per_step):
    path = tmp_path / "tune.mid"
    rng = np.random.default_rng(0)
    for length in [1, 2, 3, *rng.integers(4, min(2000, 3600 / seconds_per_step), 12).tolist()]:
        # Rests and repeats are as likely as changes.
        tokens = rng.choice([0, 1, 40, 41, 88], length).astype(np.int32)
        tokens[rng.integers(length)] = 40
        write_midi(str(path), tokens, seconds_per_step)
        heard = np.flatnonzero(tokens)
        expected = tokens[heard[0] : heard[-1] + 1]
        melody = read_melody(path.read_bytes(), "tune.mid", seconds_per_step)
        np.testing.assert_array_equal(melody, expected)
    assert os.listdir(tmp_path) == ["tune.mid"]


def test_long_melodies_do_not_drift(tmp_path):
    # 1/3 s is no whole number of microseconds, and a step of it no whole number of ticks.
    tokens = np.tile(np.array([40, 41], np.int32), 5000)
    path = tmp_path / "tune.mid"
    write_midi(str(path), tokens, 1 / 3)
    np.testing.assert_array_equal(read_melody(path.read_bytes(), "tune.mid", 1 / 3), tokens)
    assert mido.MidiFile(path).length == pytest.approx(10_000 / 3, abs=0.01)


def test_a_written_file_as_others_read_it(tmp_path):
    path = tmp_path / "tune.mid"
    path.write_bytes(b"what stood there")
    write_midi(str(path), np.array([0, A4, A4, 0, B4, C5, 0]), 0.4)
    file = mido.MidiFile(path)
    assert file.type == 0
    assert file.length == pytest.approx(7 * 0.4)
    times, now = [], 0.0
    for message in file:
        now += message.time
        if not message.is_meta:
            times.append((round(now, 6), message.type, message.note))
    assert times == [
        (0.4, "note_on", 69), (1.2, "note_off", 69), (1.6, "note_on", 71), (2.0, "note_off", 71),
        (2.0, "note_on", 72), (2.4, "note_off", 72),
    ]  # fmt: skip


@pytest.mark.parametrize("tokens", [[0, 0, 0], []])
def test_silence_can_be_written(tmp_path, tokens):
    path = tmp_path / "tune.mid"
    write_midi(str(path), np.array(tokens, np.int32), 0.4)
    assert mido.MidiFile(path).length == pytest.approx(0.4 * len(tokens))
    assert read(path.read_bytes()) == []


@pytest.mark.parametrize("tokens", [[-1], [89], [[1, 2]]])
def test_what_is_no_melody_is_not_written(tmp_path, tokens):
    with pytest.raises(ValueError, match="tokens: must have the shape"):
        write_midi(str(tmp_path / "tune.mid"), np.array(tokens), 0.4)
    with pytest.raises(DataError, match=r"seconds_per_step=1e-05: must be at least 0\.0001"):
        write_midi(str(tmp_path / "tune.mid"), np.array([1]), 1e-5)
    assert not os.listdir(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "tune.mid"
    path.write_bytes(b"old")

    def no_space(source, target):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(OSError, match="no space"):
        write_midi(str(path), np.array([1]), 0.4)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["tune.mid"]


TUNE = midi_of(
    [tempo(0, 400_000), (0, "track_name", {"name": "tune"}), tempo(960, 300_000)],
    [message for i in range(20) for message in (on(20, 60 + i), off(80, 60 + i))],
)


def test_truncated_files_are_refused():
    for length in range(len(TUNE)):
        with pytest.raises(DataError, match=r"^tune\.mid: damaged, or no MIDI file"):
            read(TUNE[:length])


def test_damaged_bytes_give_a_melody_or_a_data_error():
    rng = np.random.default_rng(0)
    messages = []
    started = time.monotonic()
    for trial in range(3000):
        damaged = bytearray(TUNE)
        for _ in range(int(rng.integers(1, 4))):
            where = int(rng.integers(len(damaged)))
            if trial % 3 == 0:
                damaged[where] = int(rng.integers(256))
            elif trial % 3 == 1:
                del damaged[where]
            else:
                damaged.insert(where, int(rng.integers(256)))
        try:
            melody = read_melody(bytes(damaged), "tune.mid", 0.4)
        except DataError as error:
            messages.append(str(error))
        else:
            assert melody.ndim == 1
            assert np.all((melody >= 0) & (melody < 89))
    assert 500 < len(messages) < 3000
    assert all(message.startswith("tune.mid: ") and len(message) < 300 for message in messages)
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "damaged, or no MIDI file"),
        (b"RIFF" + bytes(100), "MThd not found"),
        (b"<html>", "damaged, or no MIDI file"),
        (midi_of([on(0, 69), off(9, 69)], kind=2), "of type 2; must be 0 or 1"),
        (midi_of([on(0, 69), off(9, 69)], ticks_per_beat=0), "timed by SMPTE frames or not at all"),
        (midi_of([on(0, 69), off(9, 69)], ticks_per_beat=-6360), "timed by SMPTE"),
        (midi_of([tempo(0, 0), on(0, 69), off(9, 69)]), "a tempo of 0 microseconds a beat"),
        (midi_of([tempo(0, 9_999), on(0, 69), off(9, 69)]), "must be at least 10000"),
        # 720,200 ticks of 0.005 s
        (midi_of([on(0, 69), off(720_200, 69)]), "lasts 3,601 s; must be at most 3,600"),
        (midi_of([on(2**28 - 1, 69), off(1, 69)], ticks_per_beat=1), "lasts 134,217,728 s"),
        (bytes(1_000_001), "1,000,001 bytes; must be at most 1,000,000"),
        (TUNE[:22] + b"\xff" * 900_000, "damaged: over 10,000 bytes in a row"),
        # A delta of 70,000 bits, and one that is merely beyond what a float counts by ones.
        (TUNE[:22] + b"\xff" * 9_999 + b"\x7f\x90\x45\x40", "damaged|lasts over"),
        (TUNE[:22] + b"\xff" * 9 + b"\x7f\x90\x45\x40", "damaged|lasts over"),
    ],
)
def test_absurd_files_are_refused_at_once(data, message):
    started = time.monotonic()
    with pytest.raises(DataError, match=f"^tune.mid: .*({message})"):
        read(data)
    assert time.monotonic() - started < 5


def test_deltas_beyond_any_melody_are_refused():
    track = b"\xff" * 9 + b"\x7f\x90\x45\x40" + b"\x00\x80\x45\x40"
    header = b"MThd" + bytes([0, 0, 0, 6, 0, 0, 0, 1, 0, 100])
    with pytest.raises(DataError, match="lasts over 9,007,199,254,740,992 ticks"):
        read(header + b"MTrk" + len(track).to_bytes(4, "big") + track)


def test_an_hour_is_read_and_absurdly_short_steps_are_not():
    hour = midi_of([on(0, 69), off(720_000, 69)])
    assert len(read(hour, 0.4)) == 9000
    with pytest.raises(DataError, match="3,600,000,000 steps of 1e-06 s"):
        read(hour, 1e-6)


def test_many_long_notes_take_no_long_time():
    # 60,000 notes, all of them over 360,000 steps.
    data = midi_of([on(0, 21 + i % 88, channel=i % 9) for i in range(60_000)] + [off(720_000, 20)])
    started = time.monotonic()
    assert set(read(data, 0.01)) == {88}
    assert time.monotonic() - started < 30


def test_text_of_any_bytes_is_no_damage():
    track = [
        (0, "lyrics", {"text": bytes(range(128, 256)).decode("latin1") * 50}),
        on(0, 69),
        off(100, 69),
    ]
    assert read(midi_of(track)) == [A4]


def test_without_mido_the_command_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mido", None)
    calls = [
        load_mido,
        lambda: read_melody(TUNE, "tune.mid", 0.4),
        lambda: write_midi(str(tmp_path / "tune.mid"), np.array([1]), 0.4),
    ]
    for call in calls:
        with pytest.raises(DataError) as caught:
            call()
        assert "pip install 'seqgan_jax[music]'" in str(caught.value)
        assert "pip install -e '.[music]'" in str(caught.value)
        assert "tune.mid" not in str(caught.value)


def test_mido_is_imported_only_when_asked_for():
    assert not hasattr(midi, "mido")
