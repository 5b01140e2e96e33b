"""MIDI files to melodies and back."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np

from seqgan_jax.atomic import write_atomically
from seqgan_jax.checked import DataError
from seqgan_jax.data.pitch_codec import HIGHEST, LOWEST, REST, VOCAB_SIZE

MAX_BYTES = 1_000_000  # mido takes 3 s and 100 MB of memory for a megabyte of notes
MAX_SECONDS = 3600.0
MAX_STEPS = 1_000_000

_PERCUSSION = 9  # channel 10, as musicians count
_DEFAULT_TEMPO = 500_000  # microseconds a beat, where a file says nothing
_MIN_TEMPO, _MAX_TEMPO = 10_000, 2**24 - 1  # 6,000 beats a minute; what three bytes hold
_MAX_TICK = 2**53  # beyond it a float does not count by ones
_TICKS_PER_BEAT = 480
_VELOCITY = 80
# A variable-length number of n bytes costs mido n^2 steps; no text in a file is as long as this.
_MAX_HIGH_BYTES = 10_000
_TOLERANCE = 1e-6  # of a step: a note that starts at the very middle sounds there


class _Notes(NamedTuple):
    """Notes of a file, in no order."""

    pitches: np.ndarray  # [number] int64, MIDI numbers
    starts: np.ndarray  # [number] float64, seconds
    ends: np.ndarray  # [number] float64, seconds


def load_mido() -> Any:
    """The MIDI library, an optional dependency.

    Raises:
      DataError: it is not installed.
    """
    try:
        import mido
    except ImportError as error:
        raise DataError(
            "music needs mido: pip install 'seqgan_jax[music]' "
            "(in a checkout: pip install -e '.[music]')"
        ) from error
    return mido


def read_melody(data: bytes, name: str, seconds_per_step: float) -> np.ndarray:
    """The melody of a MIDI file: at the middle of every step the highest note that sounds.

    The first step begins with the first note. A note lasts from its note-on to its note-off (or a
    note-on of velocity 0), or to the end of its track; a pedal does not lengthen it. Percussion
    and notes off the piano are passed over. The tempo map of all tracks is honoured.

    Args:
      data: the file's content, of type 0 or 1.
      name: the file's name, for errors.
      seconds_per_step: the length of a step.

    Returns:
      Tokens of `PitchCodec`, rests at both ends trimmed; empty where there are no notes. Shape
      `[L]`, int32.

    Raises:
      DataError: the content is damaged, no MIDI, of type 2, timed by SMPTE frames, or beyond the
        bounds above; or mido is not installed.
    """
    mido = load_mido()
    try:
        notes = _notes(_parse(mido, data))
        if not len(notes.pitches):
            return np.zeros(0, np.int32)
        return _skyline(notes, seconds_per_step)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    except Exception as error:  # what damage makes mido raise is of a dozen kinds
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise DataError(f"{name}: damaged, or no MIDI file ({what})") from error


def write_midi(path: str, tokens: np.ndarray, seconds_per_step: float) -> None:
    """Writes a melody as a MIDI file of type 0, replacing what stands there in one go.

    Equal tokens in a row become one held note: the tokens do not tell it from a repeated one. A
    step is a beat wherever a tempo can say that. `read_melody` gives the tokens back, trimmed, if
    they last no longer than it accepts.

    Args:
      path: where to write.
      tokens: of `PitchCodec`. Shape `[T]`.
      seconds_per_step: the length of a step.

    Raises:
      DataError: steps too short for MIDI's ticks, or mido is not installed.
      ValueError: a token outside the vocabulary, or another shape.
    """
    mido = load_mido()
    tokens = np.asarray(tokens, np.int64)
    if tokens.ndim != 1 or np.any((tokens < 0) | (tokens >= VOCAB_SIZE)):
        raise ValueError(f"tokens: must have the shape [T] and lie in [0, {VOCAB_SIZE})")
    tempo = min(max(round(seconds_per_step * 1e6), _MIN_TEMPO), _MAX_TEMPO)
    ticks_per_step = seconds_per_step * 1e6 / tempo * _TICKS_PER_BEAT
    if ticks_per_step < 4:  # two roundings may add to a tick, and the middle must stay inside
        raise DataError(f"seconds_per_step={seconds_per_step}: must be at least 0.0001 for MIDI")

    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=tempo)])
    now = 0

    def append(step: int, kind: str, token: int) -> None:
        nonlocal now
        # Each time is rounded from the beginning, so that errors do not add up.
        tick = round(step * ticks_per_step)
        pitch = int(token) + LOWEST - 1
        track.append(mido.Message(kind, note=pitch, velocity=_VELOCITY, time=tick - now))
        now = tick

    changes = np.flatnonzero(np.diff(tokens, prepend=-1, append=-1))
    for start, end in zip(changes[:-1].tolist(), changes[1:].tolist(), strict=True):
        if tokens[start] != REST:
            append(start, "note_on", tokens[start])
            append(end, "note_off", tokens[start])
    total = round(len(tokens) * ticks_per_step)
    track.append(mido.MetaMessage("end_of_track", time=total - now))
    content = io.BytesIO()
    mido.MidiFile(type=0, ticks_per_beat=_TICKS_PER_BEAT, tracks=[track]).save(file=content)
    write_atomically(path, content.getvalue())


def _parse(mido: Any, data: bytes) -> Any:
    """The file as mido reads it, of a type and a timing that can be played."""
    if len(data) > MAX_BYTES:
        raise DataError(f"{len(data):,} bytes; must be at most {MAX_BYTES:,}")
    low = np.flatnonzero(np.frombuffer(data, np.uint8) < 0x80)
    if np.diff(low, prepend=-1, append=len(data)).max() > _MAX_HIGH_BYTES:
        raise DataError(f"damaged: over {_MAX_HIGH_BYTES:,} bytes in a row have the high bit")
    midi = mido.MidiFile(file=io.BytesIO(data))
    if midi.type not in (0, 1):
        raise DataError(f"of type {midi.type}; must be 0 or 1, whose tracks play together")
    if midi.ticks_per_beat <= 0:
        raise DataError("timed by SMPTE frames or not at all; must have ticks a beat")
    return midi


def _notes(midi: Any) -> _Notes:
    """All notes of the piano, percussion left out."""
    tempos = {0: _DEFAULT_TEMPO}
    found: list[tuple[int, int, int]] = []
    for track in midi.tracks:
        found += _notes_of_track(track, tempos)
    pitches, starts, ends = np.array(found, np.int64).reshape(-1, 3).T
    return _Notes(
        pitches,
        _seconds(starts, tempos, midi.ticks_per_beat),
        _seconds(ends, tempos, midi.ticks_per_beat),
    )


def _notes_of_track(track: Any, tempos: dict[int, int]) -> list[tuple[int, int, int]]:
    """Notes of a track as (pitch, first tick, end tick); enters its tempos.

    A note-off ends all notes of its key that began at an earlier tick. Files often strike a key
    again at the tick of its note-off, and in either order.
    """
    found, tick = [], 0
    sounding: dict[tuple[int, int], list[int]] = {}  # (channel, pitch) -> ticks of its note-ons
    for message in track:
        tick += message.time
        if tick > _MAX_TICK:
            raise DataError(f"lasts over {_MAX_TICK:,} ticks")
        if message.type == "set_tempo":
            if message.tempo < _MIN_TEMPO:
                raise DataError(
                    f"a tempo of {message.tempo} microseconds a beat; must be at least {_MIN_TEMPO}"
                )
            tempos[tick] = message.tempo
        if message.type not in ("note_on", "note_off") or message.channel == _PERCUSSION:
            continue
        if not LOWEST <= message.note <= HIGHEST:
            continue
        key = (message.channel, message.note)
        if message.type == "note_on" and message.velocity > 0:
            sounding.setdefault(key, []).append(tick)
            continue
        starts = sounding.pop(key, [])
        earlier = [start for start in starts if start < tick]
        found += [(message.note, start, tick) for start in earlier]
        if earlier and len(earlier) < len(starts):
            sounding[key] = starts[len(earlier) :]
    for (_, pitch), starts in sounding.items():
        found += [(pitch, start, tick) for start in starts]
    return found


def _seconds(ticks: np.ndarray, tempos: dict[int, int], ticks_per_beat: int) -> np.ndarray:
    """Times of ticks `[number]` under a tempo map, tick -> microseconds a beat from there on."""
    bounds = np.array(sorted(tempos), np.int64)
    rates = np.array([tempos[tick] for tick in bounds.tolist()]) / (1e6 * ticks_per_beat)
    origins = np.concatenate([[0.0], np.cumsum(np.diff(bounds) * rates[:-1])])
    segments = np.searchsorted(bounds, ticks, side="right") - 1
    return origins[segments] + (ticks - bounds[segments]) * rates[segments]


def _skyline(notes: _Notes, seconds_per_step: float) -> np.ndarray:
    """The highest note at the middle of each step, trimmed. Shape `[L]`, int32."""
    duration = float(notes.ends.max())
    if duration > MAX_SECONDS:
        raise DataError(f"lasts {duration:,.0f} s; must be at most {MAX_SECONDS:,.0f}")
    first = notes.starts.min()
    num_steps = int(np.ceil((duration - first) / seconds_per_step))
    if num_steps > MAX_STEPS:
        raise DataError(
            f"{num_steps:,} steps of {seconds_per_step} s; must be at most {MAX_STEPS:,}, "
            "so give longer ones"
        )
    # Step k has its middle at k + 1/2; those in [start, end) hear the note.
    begins, ends = (
        np.ceil((times - first) / seconds_per_step - 0.5 - _TOLERANCE).astype(np.int64)
        for times in (notes.starts, notes.ends)
    )
    tokens = np.full(num_steps + 1, REST, np.int32)
    for pitch in np.unique(notes.pitches):  # ascending: a higher note hides a lower one
        of_pitch = notes.pitches == pitch
        change = np.bincount(begins[of_pitch], minlength=num_steps + 1)
        change -= np.bincount(ends[of_pitch], minlength=num_steps + 1)
        tokens[np.cumsum(change) > 0] = pitch - LOWEST + 1
    heard = np.flatnonzero(tokens != REST)
    return tokens[heard[0] : heard[-1] + 1] if len(heard) else tokens[:0]
