"""What a run shows: a bar on a terminal, plain lines elsewhere."""

import io

import pytest
import rich.console

from seqgan_jax.training.progress import PhaseProgress, clock, describe

EVALUATED = {
    "nll_oracle": 9.0124,
    "nll_oracle_floor": 5.755,
    "nll_oracle_ceiling": 11.43,
    "nll_test": 8.684,
    "reward_mean": 0.25,
}


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0:00:00"), (59.6, "0:01:00"), (3725, "1:02:05")]
)
def test_clock(seconds, words):
    assert clock(seconds) == words


def test_nll_oracle_never_stands_without_its_limits():
    words = describe(EVALUATED)
    assert "NLL_oracle 9.012 (floor 5.755, ceiling 11.430)" in words
    assert words.index("NLL_oracle") < words.index("NLL_test 8.684")
    assert describe({"d_loss": 0.5, "unheard_of": 1.0}) == "d_loss 0.500"


def show(is_terminal, between=15.0):
    output = io.StringIO()
    console = rich.console.Console(file=output, force_terminal=is_terminal, width=160)
    with PhaseProgress("adversarial", "round", 1, 4, console, between) as progress:
        progress.advance(1.5)
        progress.advance(2.0)
        progress.line({"reward_mean": 0.5}, evaluated=False)
        progress.advance(3.0)
        progress.line(EVALUATED, evaluated=True)
    return output.getvalue()


def test_terminal_has_a_bar_with_rate_and_time_left():
    shown = show(is_terminal=True)
    assert "\x1b[" in shown
    for words in ("adversarial", "3/4 rounds", "s/round", "left", "NLL_oracle 9.012"):
        assert words in shown
    assert "reward 0.500" not in shown  # the bar tells enough between evaluations


def test_elsewhere_plain_lines_not_too_many():
    lines = show(is_terminal=False).splitlines()
    assert len(lines) == 1
    assert "\x1b" not in lines[0]
    assert lines[0].startswith("adversarial round 3/4 · ")
    assert "s/round" in lines[0]
    assert lines[0].endswith("left")


def test_parts_of_a_long_unit_are_told():
    lines = show(is_terminal=False, between=0.0).splitlines()
    # Half a round more is not yet a round; then the second, its line, the third, its line.
    assert [line.split(" · ")[0].split()[-1] for line in lines] == [
        "1/4",
        "2/4",
        "2/4",
        "3/4",
        "3/4",
    ]


def test_rate_counts_this_sitting_only():
    shown = show(is_terminal=False)
    # Two rounds took microseconds: a resumed run does not spread them over the rounds before.
    rate = float(shown.split(" s/round")[0].split(" · ")[-1])
    assert rate < 1.0
