"""The benchmark of loading: the file it writes, the figures it takes, their wording."""

import collections
import os
import re
import sys

import numpy as np
import pytest

from seqgan_jax.benchmark import loading
from seqgan_jax.data.cache import load_or_read
from seqgan_jax.data.text import load_text

NUM_LINES = 2_000


def test_the_file_follows_zipf(tmp_path):
    path, again, other = (str(tmp_path / name) for name in ("lines", "again", "other"))
    for name, seed in ((path, 0), (again, 0), (other, 1)):
        loading.write_lines(name, NUM_LINES, seed)
    with open(path) as file, open(again) as same, open(other) as different:
        text = file.read()
        assert same.read() == text
        assert different.read() != text
    rows = [line.split(" ") for line in text.splitlines()]
    assert [len(row) for row in rows] == [20] * NUM_LINES
    counts = collections.Counter(word for row in rows for word in row)
    # H(50,000) = ln 50,000 + 0.5772 = 11.397: 40,000 / 11.397 = 3,510 times w0, half as often w1.
    # Standard deviations are the root of that at most, 59 and 42; five of each.
    assert counts["w0"] == pytest.approx(3_510, abs=300)
    assert counts["w1"] == pytest.approx(1_755, abs=210)
    assert max(int(word[1:]) for word in counts) < 50_000


def test_more_lines_than_one_block(tmp_path):
    path = tmp_path / "lines"
    loading.write_lines(str(path), 10_001, seed=0)
    assert len(path.read_text().splitlines()) == 10_001


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_is_what_loading_holds_at_its_peak(tmp_path):
    path = str(tmp_path / "lines")
    loading.write_lines(path, NUM_LINES, seed=0)
    seen = []

    def hold_much(settings):
        # Beyond all that this process has ever held, so that the peak is this one.
        much = np.ones(
            loading._status_bytes("VmHWM") - loading._status_bytes("VmRSS") + 10**8, "i1"
        )
        seen.append(much.nbytes)
        return settings.level

    kept = []

    def keep(folder, key, read):
        if not kept:
            kept.append((folder, key, read()))
        return kept[0][2]

    found = loading.measure(path, "word", NUM_LINES, hold_much, keep)
    assert found.memory_bytes == pytest.approx(seen[0], abs=2e7)
    assert found.file_bytes == os.path.getsize(path)
    assert kept[0][2] == "word"


def test_what_was_not_kept_is_no_figure(tmp_path):
    path = str(tmp_path / "lines")
    loading.write_lines(path, 10, seed=0)
    with pytest.raises(RuntimeError, match="not kept"):
        loading.measure(path, "word", 10, lambda settings: None, lambda folder, key, read: read())


def test_a_line_a_level_from_processes_of_their_own():
    found = list(loading.lines(load_text, load_or_read, NUM_LINES))
    pattern = (
        r"(whitespace|word): 2,000 lines of 20 tokens, 0\.2 MB: ([\d.e-]+) s, "
        r"(?:[\d,]+ MB more at the peak|memory unknown); from the cache ([\d.e-]+) s"
    )
    matches = [re.fullmatch(pattern, text) for text in found]
    assert [match[1] for match in matches] == ["whitespace", "word"]
    assert all(0.0 < float(match[group]) < 10.0 for match in matches for group in (2, 3))


def test_the_wording():
    figures = loading.Loading("word", 1_000_000, 98_760_000, 12.345, 456_700_000, 0.5)
    assert loading.line(figures) == (
        "word: 1,000,000 lines of 20 tokens, 98.8 MB: 12.35 s, 457 MB more at the peak; "
        "from the cache 0.5 s"
    )
    assert "s, memory unknown; from" in loading.line(figures._replace(memory_bytes=None))
