"""Archives that lead elsewhere, grow without end, or lie about their members."""

import gzip
import os
import struct
import tarfile

import hostile
import pytest
from hostile_inputs import refused, written

from seqgan_jax.data import archive
from seqgan_jax.data.archive import members

pytestmark = pytest.mark.usefixtures("hostile_limits")


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
