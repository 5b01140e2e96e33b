"""The README's Python runs as written, and its links lead somewhere."""

import pathlib
import re

import jax
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_python_blocks_run(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 7
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert "reward_mean" in capsys.readouterr().out
    assert names["states"].step.shape == (5,)
    # The reward in the README by hand: the share of token 7 in finished sequences.
    shares = (np.asarray(names["real"].tokens) == 7).mean(axis=1)
    np.testing.assert_allclose(names["values"][:, -1], shares, rtol=1e-6)
    # [5, 3, 9, 1] against [5, 3, 2] and [7, 5, 3]: 2 of 4 words, 1 of 3 pairs, not too short.
    assert names["repetition"][0] == pytest.approx(np.sqrt(2 / 4 * 1 / 3))
    assert names["quality"] == pytest.approx([1.0, 1.0, 1.0])
    assert names["variety"] == pytest.approx(5 / 7)
    assert 0.0 < names["nll_test"] < 2 * np.log(50)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(names["metrics"]))


def test_api_fits_its_promise_of_15_lines():
    first = re.search(r"```python\n(.*?)```", README, flags=re.DOTALL)[1]
    assert len(first.strip().splitlines()) <= 15


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert link.startswith("https://") or (ROOT / link).exists(), link
