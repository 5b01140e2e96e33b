"""Oracles that mean harm: pickles that would run a program or take all memory, lying arrays."""

import bz2
import gzip
import os
import pickle
import struct
import subprocess
import zipfile
import zlib

import hostile
import numpy as np
import pytest
from hostile_inputs import refused, unnamed, written

from seqgan_jax.models.oracle import load_oracle

pytestmark = pytest.mark.usefixtures("hostile_limits")


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
