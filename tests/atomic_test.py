import os

import pytest

from seqgan_jax.atomic import remove_partial, write_atomically, write_json


@pytest.mark.parametrize(
    ("contents", "written"),
    [("poème\n", "poème\n".encode()), (b"\x00\xff", b"\x00\xff"), (memoryview(b"ab"), b"ab")],
)
def test_the_whole_contents_take_the_old_ones_place(contents, written, tmp_path):
    path = tmp_path / "file"
    path.write_text("something longer than what comes after")
    write_atomically(str(path), contents)
    assert path.read_bytes() == written
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_where_writing_fails_the_old_file_stays_and_nothing_else(fails, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(os, fails, full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(str(path), "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")
    seen = []
    replace = os.replace

    def look_then_replace(partial, target):
        with open(partial, encoding="utf-8") as file:
            seen.append((path.read_text(), file.read()))
        replace(partial, target)

    monkeypatch.setattr(os, "replace", look_then_replace)
    write_json(str(path), {"a": 1})
    assert seen == [("old", '{\n  "a": 1\n}\n')]
    assert path.read_text() == '{\n  "a": 1\n}\n'


def test_what_a_living_process_is_writing_stays(tmp_path):
    (tmp_path / f"file.{os.getppid()}.partial").touch()
    (tmp_path / "file.partial").touch()  # somebody's own
    remove_partial(str(tmp_path))
    remove_partial(str(tmp_path / "none"))
    assert sorted(os.listdir(tmp_path)) == sorted(["file.partial", f"file.{os.getppid()}.partial"])
