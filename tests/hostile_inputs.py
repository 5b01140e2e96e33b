"""What the tests of hostile files share: inputs, and what is asked of them."""

import struct

import hostile
import pytest

from seqgan_jax.checked import UserError
from seqgan_jax.training import writers


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


def midi_bytes(track, *, tracks=1, kind=0, division=96):
    chunk = b"MTrk" + struct.pack(">I", len(track)) + track
    return b"MThd" + struct.pack(">IHHh", 6, kind, tracks, division) + chunk * tracks


NOTE = b"\x00\x90\x3c\x40\x60\x80\x3c\x40"
END = b"\x00\xff\x2f\x00"


def metrics_of(folder, contents):
    (folder / "metrics.jsonl").write_bytes(contents)
    return writers.read_metrics(str(folder))
