"""Folders and archives: what is found, in which order, and what is refused."""

import gzip
import lzma
import os
import stat
import tarfile
import zipfile

import numpy as np
import pytest
from hostile import tar_of, zip_of

from seqgan_jax.checked import DataError
from seqgan_jax.data import archive
from seqgan_jax.data.archive import members

FILES = {
    "b/2.mid": b"two",
    "a.MID": b"one" * 300,
    "b/c/3.midi": b"",
    "read.me": b"no",
    "b/m.mid.txt": b"no",
}
FOUND = [("a.MID", b"one" * 300), ("b/2.mid", b"two"), ("b/c/3.midi", b"")]
KINDS = ["folder", "tar", "tar.gz", "tgz", "zip"]


def packed(folder, kind, files):
    """A path that holds files (name -> content), stored in an order of their own."""
    path = folder / f"music.{kind}"
    if kind == "folder":
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    elif kind == "zip":
        path.write_bytes(zip_of(files.items()))
    else:
        path.write_bytes(tar_of(files.items(), "w" if kind == "tar" else "w:gz"))
    return str(path)


@pytest.mark.parametrize("kind", KINDS)
def test_files_come_by_suffix_in_the_order_of_their_names(tmp_path, kind):
    path = packed(tmp_path, kind, FILES)
    before = sorted(tmp_path.rglob("*"))
    found = members(path)
    assert len(found) == 3
    assert list(found) == FOUND
    assert list(found) == FOUND  # again
    assert sorted(tmp_path.rglob("*")) == before  # nothing was unpacked
    assert list(members(path, (".me",))) == [("read.me", b"no")]


def test_a_single_file(tmp_path):
    (tmp_path / "tune.Mid").write_bytes(b"x")
    assert list(members(str(tmp_path / "tune.Mid"))) == [("tune.Mid", b"x")]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_found_is_said(tmp_path, kind):
    path = packed(tmp_path, kind, {"read.me": b""})
    with pytest.raises(DataError, match=r"no file in it ends in \.mid or \.midi") as caught:
        members(path)
    assert str(caught.value).startswith(path)


def test_a_path_that_is_nothing_to_read(tmp_path):
    with pytest.raises(DataError, match="absent: no such file or folder"):
        members(str(tmp_path / "absent"))
    (tmp_path / "tunes.rar").write_bytes(b"")
    with pytest.raises(DataError, match=r"tunes\.rar: must be a folder, .*\.tgz, \.zip"):
        members(str(tmp_path / "tunes.rar"))


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
@pytest.mark.parametrize(
    "name", ["/etc/a.mid", "../a.mid", "b/../../a.mid", "b/..", "..\\a.mid", "C:\\a.mid", "\\a.mid"]
)
def test_a_path_out_of_the_archive_is_refused(tmp_path, kind, name):
    path = packed(tmp_path, kind, {"good.mid": b"", name: b""})
    with pytest.raises(DataError, match="must lie inside the archive") as caught:
        members(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert (
        "b/.." in name
        or name.replace("\\", "\\\\") in str(caught.value)
        or name in str(caught.value)
    )


def test_dots_inside_a_name_are_no_way_out(tmp_path):
    path = packed(tmp_path, "zip", {"./a..mid": b"", "...mid": b"", "b/..c.mid": b""})
    assert len(members(path)) == 3


def test_links_and_devices_are_passed_over(tmp_path):
    entries = [("good.mid", b"x")]
    for kind in (
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
    ):
        info = tarfile.TarInfo(f"{kind.decode()}.mid")
        info.type, info.linkname = kind, "good.mid"
        entries.append((info, b""))
    folder = tarfile.TarInfo("folder.mid")
    folder.type = tarfile.DIRTYPE
    (tmp_path / "a.tar").write_bytes(tar_of([*entries, (folder, b"")]))
    assert list(members(str(tmp_path / "a.tar"))) == [("good.mid", b"x")]

    link = zipfile.ZipInfo("link.mid")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    (tmp_path / "a.zip").write_bytes(
        zip_of([("good.mid", b"x"), (link, b"/etc/passwd"), ("folder.mid/", b"")])
    )
    assert list(members(str(tmp_path / "a.zip"))) == [("good.mid", b"x")]


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path):
    (tmp_path / "a.mid").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe.mid")
    assert list(members(str(tmp_path))) == [("a.mid", b"x")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_larger_than_the_bound_is_refused(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 100_000)
    path = packed(tmp_path, kind, {"a.mid": b"", "b.mid": bytes(100_000)})
    assert len(list(members(path))) == 2
    path = packed(tmp_path, kind, {"a.mid": b"", "b.mid": bytes(100_001)})
    with pytest.raises(DataError, match=r"b\.mid: larger than 100,000 bytes"):
        list(members(path))
    # The others can be had all the same.
    path = packed(tmp_path, kind, {"a.mid": b"a", "b.mid": bytes(100_001), "c.mid": b"c"})
    (_, first), (name, load), (_, last) = members(path).loaders
    assert (first(), name, last()) == (b"a", "b.mid", b"c")
    with pytest.raises(DataError, match=r"b\.mid: larger than 100,000 bytes"):
        load()


@pytest.mark.parametrize("kind", KINDS)
def test_more_members_than_the_bound_are_refused(tmp_path, kind, monkeypatch):
    path = packed(tmp_path, kind, {f"{i}.mid": b"" for i in range(11)})
    monkeypatch.setattr(archive, "MAX_MEMBERS", 11)
    assert len(members(path)) == 11
    monkeypatch.setattr(archive, "MAX_MEMBERS", 10)
    with pytest.raises(DataError, match="more than 10 "):
        members(path)


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_many_small_files_that_are_a_bomb_together(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(archive, "MAX_TOTAL_BYTES", 400_000)
    path = packed(tmp_path, kind, {f"{i}.mid": bytes(50_000) for i in range(10)})
    assert os.path.getsize(path) < 10_000
    with pytest.raises(DataError, match="more than 400,000 bytes when decompressed"):
        members(path)


def test_a_bomb_that_is_no_midi_is_not_decompressed_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_TOTAL_BYTES", 400_000)
    path = packed(tmp_path, "tar.gz", {"a.mid": b"", "zeros.bin": bytes(3_000_000), "c.mid": b""})
    with pytest.raises(DataError, match="more than 400,000 bytes when decompressed"):
        members(path)
    # A zip's other members are not touched.
    assert len(members(packed(tmp_path, "zip", {"a.mid": b"", "z.bin": bytes(3_000_000)}))) == 1


def test_a_header_as_large_as_a_file_is_refused(tmp_path):
    info = tarfile.TarInfo("a.mid")
    info.pax_headers = {"comment": "x" * 300_000}
    (tmp_path / "a.tar").write_bytes(tar_of([(info, b"")]))
    with pytest.raises(DataError, match="a header of"):
        members(str(tmp_path / "a.tar"))


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zips_of_unbounded_decompressors_are_refused(tmp_path, compression):
    (tmp_path / "a.zip").write_bytes(zip_of([("a.mid", b"x")], compression))
    with pytest.raises(DataError, match=r"a\.mid: must be stored or deflated"):
        list(members(str(tmp_path / "a.zip")))


def test_an_encrypted_zip_is_refused(tmp_path):
    content = bytearray(zip_of([("a.mid", b"x")], zipfile.ZIP_STORED))
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(signature) + offset] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match="encrypted"):
        list(members(str(tmp_path / "a.zip")))


def test_a_damaged_member_of_a_zip_is_one_of_many(tmp_path):
    content = bytearray(zip_of([("a.mid", b"first"), ("b.mid", b"second")], zipfile.ZIP_STORED))
    content[content.index(b"first")] ^= 1
    (tmp_path / "a.zip").write_bytes(content)
    (_, damaged), (name, good) = members(str(tmp_path / "a.zip")).loaders
    with pytest.raises(DataError, match=r"a\.zip: a\.mid: cannot be read: Bad CRC"):
        damaged()
    assert (name, good()) == ("b.mid", b"second")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((name, b"") for name in ("a.tar", "a.tar.gz", "a.zip")),
        *((name, b"no archive at all" * 100) for name in ("a.tar", "a.tgz", "a.zip")),
        ("a.tar.gz", tar_of(FILES.items())),
        ("a.tar.gz", lzma.compress(tar_of(FILES.items()))),
        ("a.tar", gzip.compress(tar_of(FILES.items()))),
        ("a.tar.gz", gzip.compress(b"no tar")),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: "):
        members(str(tmp_path / name))


def noisy_files():
    rng = np.random.default_rng(0)
    return {f"{i}.mid": rng.bytes(700 + i) for i in range(8)}


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_a_truncated_archive_is_refused(tmp_path, kind):
    path = packed(tmp_path, kind, noisy_files())
    with open(path, "rb") as file:
        whole = file.read()
    # A tar ends with blocks of zeros; without the first of them something may be missing.
    needed = 8 * 3 * 512 if kind == "tar" else len(whole) - 1
    for length in {*range(0, needed, 97), *range(512, needed, 512), needed}:
        with open(path, "wb") as file:
            file.write(whole[:length])
        with pytest.raises(DataError, match=r"music\."):
            members(path)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_flipped_bytes_give_the_files_or_a_data_error(tmp_path, kind):
    path = packed(tmp_path, kind, noisy_files())
    with open(path, "rb") as file:
        whole = file.read()
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= int(rng.integers(1, 256))
        with open(path, "wb") as file:
            file.write(damaged)
        try:
            found = list(members(path))
        except DataError:
            refused += 1
        else:
            # Content is under a checksum but in a plain tar; a name or a suffix may be hit.
            original = set(noisy_files().values())
            assert kind == "tar" or {content for _, content in found} <= original
    assert refused > 20


def test_names_are_fit_for_a_terminal(tmp_path):
    path = packed(tmp_path, "tar", {"\x1b[31mred\n.mid": b""})
    assert [name for name, _ in members(path)] == ["\\x1b[31mred\\n.mid"]
    (tmp_path / "folder").mkdir()
    with open(os.fsencode(tmp_path / "folder") + b"/\xff.mid", "wb"):
        pass
    ((name, _),) = members(str(tmp_path / "folder"))
    assert name.encode("utf-8") == b"\\udcff.mid"


def test_a_file_that_vanishes_is_named(tmp_path):
    (tmp_path / "a.mid").write_bytes(b"")
    found = members(str(tmp_path))
    (tmp_path / "a.mid").unlink()
    with pytest.raises(DataError, match=r"a\.mid: cannot be read"):
        list(found)
