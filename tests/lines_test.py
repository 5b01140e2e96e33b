"""Lines of files: ends, byte order marks, blocks, and files that are no text."""

import os

import pytest

from seqgan_jax.checked import DataError
from seqgan_jax.data import lines as lines_module
from seqgan_jax.data.lines import MAX_LINE, read_blocks


@pytest.fixture
def written(tmp_path):
    def write(contents):
        path = tmp_path / "text.txt"
        path.write_bytes(contents)
        return str(path)

    return write


def all_lines(path, progress=None):
    found = []
    for number, lines in read_blocks(path, progress):
        assert number == len(found) + 1
        found += lines
    return found


@pytest.mark.parametrize(
    ("contents", "lines"),
    [
        (b"", []),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\n\n b \n", ["a", "", " b "]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\rb\n", ["a\rb"]),
        (b"\xef\xbb\xbfa\nb", ["a", "b"]),
        (b"\xef\xbb\xbf", []),
        (b"\n", [""]),
        ("né\u2028x\x85y\n中\x0b".encode(), ["né\u2028x\x85y", "中\x0b"]),
    ],
)
@pytest.mark.parametrize("block", [3, 4, 7, 1 << 20])
def test_lines(written, monkeypatch, contents, lines, block):
    monkeypatch.setattr(lines_module, "_BLOCK", block)
    assert all_lines(written(contents)) == lines


def test_progress_is_the_share_of_bytes(written, monkeypatch):
    monkeypatch.setattr(lines_module, "_BLOCK", 4)
    shares = []
    all_lines(written(b"abc\nabc\nab"), shares.append)
    assert shares == [0.4, 0.8, 1.0, 1.0]


@pytest.mark.parametrize("block", [3, 1 << 20])
@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"a\nb\nc\xff\nd\n", r":3: not UTF-8 \(byte 0xff"),
        (b"a\nb\xe4\xb8", r":2: not UTF-8 \(byte 0xe4: unexpected end of data"),
        ("x\n".encode("utf-16"), ":1: not UTF-8"),
        ("x\n".encode("utf-16-le"), ":1: holds a NUL"),
        (b"a\nb\nc\0\n", ":3: holds a NUL"),
    ],
)
def test_files_that_are_no_text(written, monkeypatch, contents, message, block):
    monkeypatch.setattr(lines_module, "_BLOCK", block)
    path = written(contents)
    with pytest.raises(DataError, match=message) as error:
        all_lines(path)
    assert str(error.value).startswith(path)


def test_the_longest_line_that_is_read(written):
    line = "中" * MAX_LINE
    assert all_lines(written(f"a\n{line}\nb\n".encode())) == ["a", line, "b"]
    with pytest.raises(DataError, match=r":2: more than 1,000,000 characters in one line"):
        all_lines(written(f"a\n{line}x\nb\n".encode()))


def test_a_line_without_end_is_not_read_to_its_end(written):
    shares = []
    path = written(b"a\n" + b"x" * 20_000_000)
    with pytest.raises(DataError, match=r":2: more than 1,000,000 characters"):
        all_lines(path, shares.append)
    assert shares[-1] < 0.25  # it stops where 1,000,000 characters of 4 bytes would end


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.txt", "missing.txt: no such file"),
        ("", "is a folder; give a file"),
        ("pipe", "pipe: is no regular file"),
        ("nul\0", "cannot be read"),
    ],
)
def test_what_cannot_be_opened(tmp_path, name, message):
    if name == "pipe":
        os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match=message):
        all_lines(str(tmp_path) + "/" + name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_leave_to_read(written):
    path = written(b"a\n")
    os.chmod(path, 0)
    with pytest.raises(DataError, match=r"cannot be read .*Permission denied"):
        all_lines(path)
