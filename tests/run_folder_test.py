"""The folder of a run: links in it, links to it, and what a kill leaves there."""

import dataclasses
import os
import subprocess

import pytest
from tiny_run import TINY, StoppedError, metric_lines, run

from seqgan_jax.checked import ConfigError

pytestmark = pytest.mark.usefixtures("shared_programs")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run(TINY, folder)
    return folder


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "config.json", "checkpoints", "tensorboard", "samples.txt"]
)
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_that_leads_out_is_refused_and_not_followed(tmp_path, name, exists):
    outside, folder = tmp_path / "outside", tmp_path / "run"
    folder.mkdir()
    if exists:
        outside.mkdir() if name in ("checkpoints", "tensorboard") else outside.write_text("mine")
    (folder / name).symlink_to(outside)
    with pytest.raises(ConfigError, match=f"{folder / name}: ") as error:
        run(TINY, folder)
    if not (name == "config.json" and exists):  # that of another run, or none at all
        assert "is a link that leads out of the run's folder" in str(error.value)
    assert outside.exists() == exists
    if exists:
        assert outside.is_dir() or outside.read_text() == "mine"
        assert outside.is_file() or os.listdir(outside) == []


def test_a_folder_that_is_a_link_is_the_folder_it_leads_to(whole, tmp_path, monkeypatch):
    there = tmp_path / "disk" / "run"
    there.mkdir(parents=True)
    (tmp_path / "link").symlink_to(there)
    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        run(TINY, tmp_path / "link", stop_after=6, monkeypatch=patch)
    assert "resuming after 6" in run(TINY, there)
    assert metric_lines(tmp_path / "link") == metric_lines(whole)
    assert os.listdir(tmp_path) == ["disk", "link"] or os.listdir(tmp_path) == ["link", "disk"]


def test_links_within_the_folder_may_stay(whole, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "same").symlink_to("notes.txt")
    run(TINY, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_files_that_a_kill_has_left_half_written_go(whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        run(TINY, tmp_path, stop_after=6, monkeypatch=patch)
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / f"metrics.jsonl.{gone.pid}.partial").write_text("half a li")
    (tmp_path / f"metrics.jsonl.{os.getpid()}.partial").write_text("of one with the same number")
    run(TINY, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in whole.iterdir()}
    assert metric_lines(tmp_path) == metric_lines(whole)


def test_a_run_stopped_before_its_first_checkpoint_says_that_it_begins_anew(whole, tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"of": "work that is undone"}\n')
    assert "was stopped before its first checkpoint; begins anew" in run(TINY, tmp_path)
    assert metric_lines(tmp_path) == metric_lines(whole)


def test_what_is_refused_leaves_no_folder(tmp_path):
    missing = dataclasses.replace(TINY.data, oracle_path=str(tmp_path / "no.pkl"))
    with pytest.raises(ConfigError, match=r"no\.pkl"):
        run(dataclasses.replace(TINY, data=missing), tmp_path / "a" / "run")
    with pytest.raises(ConfigError, match=r"no\.pkl"):
        run(dataclasses.replace(TINY, data=missing, num_seeds=2), tmp_path / "b")
    assert os.listdir(tmp_path) == []
