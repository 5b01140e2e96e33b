"""Reports on tiny runs written by hand, against figures worked out by hand."""

import base64
import html.parser
import io
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import rich.console

from seqgan_jax import hparams as hp
from seqgan_jax.checked import ConfigError, DataError, to_dict
from seqgan_jax.data_hparams import OracleDataHParams, TextDataHParams
from seqgan_jax.reporting import columns, comparisons, curves, groups, reading, report, table
from seqgan_jax.training import real_data

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCHEDULE = hp.ScheduleHParams(g_pretrain_epochs=2, d_pretrain_steps=1, rounds=2)
ORACLE = OracleDataHParams(vocab_size=12, length=4)
PNG = b"\x89PNG\r\n\x1a\n"


def line(phase, unit, number, seconds=1.0, **metrics):
    return {"step": number, "phase": phase, unit: number, "seconds": seconds, **metrics}


def oracle_lines(shift=0.0):
    """Two epochs, a d-step and two rounds; the second of each is the last evaluated."""
    floor = {"nll_oracle_floor": 3.0, "nll_oracle_ceiling": 9.0, "copied_heldout": 0.25}

    def at(nll_oracle):
        values = {"nll_oracle": nll_oracle + shift, "nll_test": 6.0, "entropy": 5.0}
        return {**values, "distinct": 0.75, "copied": 0.5, **floor}

    return [
        line("g_pretrain", "epoch", 1, 1.0, **at(8.0)),
        line("g_pretrain", "epoch", 2, 2.0, **at(7.0)),
        line("d_pretrain", "d_step", 1, 3.0, d_loss=0.7),
        line("adversarial", "round", 1, 4.0, **at(6.0)),
        line("adversarial", "round", 2, 10.0 + shift, **at(5.0)),
    ]


def evaluation(bleu, sweep=None, num_samples=100, **more):
    """Rows of real data, MLE and SeqGAN, whose BLEU-2 is given."""
    rows = [
        {
            "name": "real, held out",
            "source": "test",
            "metrics": {"bleu_2": 0.9, "self_bleu_2": 0.8},
        },
        {"name": "real, training", "source": "train", "metrics": {"bleu_2": 0.95}},
        {"name": "MLE", "source": "pretrained", "metrics": {"bleu_2": 0.5}},
        {"name": "SeqGAN", "source": "generator", "metrics": {"bleu_2": bleu, **more}},
    ]
    return {"version": 1, "num_samples": num_samples, "seed": 0, "rows": rows, "sweep": sweep}


def write_run(folder, *, lines=None, seed=0, data=ORACLE, finished=True, scores=None, **settings):
    folder.mkdir(parents=True)
    narrow = hp.DiscriminatorHParams(filters=((2, 4),))
    hparams = hp.HParams(data=data, seed=seed, schedule=SCHEDULE, discriminator=narrow, **settings)
    (folder / "config.json").write_text(json.dumps(to_dict(hparams)))
    lines = oracle_lines() if lines is None else lines
    (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    if finished:
        (folder / "summary.json").write_text(json.dumps({"total_seconds": lines[-1]["seconds"]}))
        (folder / "samples.txt").write_text("1 2 3 4\n5 6 7 8\n")
    if scores is not None:
        (folder / "evaluation.json").write_text(json.dumps(scores))
    return str(folder)


def write_text_run(folder, source, samples, *, seed=0, **settings):
    """A run on a text file, its data kept in its folder."""
    data = TextDataHParams(path=str(source), max_length=8, test_fraction=0.5, **settings)
    write_run(folder, data=data, seed=seed)
    real_data.load(data, str(folder))
    (folder / "samples.txt").write_text(samples)
    return str(folder)


@pytest.fixture
def sentences(tmp_path):
    path = tmp_path / "sentences.txt"
    path.write_text("".join(f"a b {'c ' * (n % 4)}<d>\n" for n in range(20)))
    return path


def made(*folders):
    return groups.parts(reading.read_runs(list(folders)))


def written(folders, out, **console):
    screen = rich.console.Console(file=io.StringIO(), width=200, **console)
    paths = report.write(list(folders), str(out), screen)
    return paths, screen.file.getvalue()


def rows_of(part):
    result = table.make(part)
    return {
        row.label: {
            each.key: table.cell(row, each) for each in result.columns if each.key in row.cells
        }
        for row in result.rows
    }  # fmt: skip


# Figures.


def test_mean_and_standard_deviation_by_hand(tmp_path):
    folders = [
        write_run(tmp_path / f"a-{seed}", seed=seed, scores=evaluation(bleu))
        for seed, bleu in enumerate((0.1, 0.2, 0.6))
    ]
    (part,) = made(*folders)
    # Mean 0.9 / 3; deviations -0.2, -0.1, 0.3; their squares' sum 0.14, half 0.07, root 0.2646.
    assert rows_of(part) == {
        "real, held out": {"bleu_2": "0.900", "self_bleu_2": "0.800"},
        "real, training": {"bleu_2": "0.950"},
        "MLE": {"bleu_2": "0.500 ± 0.000"},
        "SeqGAN": {"bleu_2": "0.300 ± 0.265"},
    }
    assert [row.runs for row in table.make(part).rows] == [None, None, 3, 3]


def test_a_metric_that_some_runs_lack_says_of_how_many_it_is(tmp_path):
    scores = evaluation(0.1, lm_score=4.0), evaluation(0.2, lm_score=5.0), evaluation(0.3)
    folders = [write_run(tmp_path / f"a-{n}", seed=n, scores=s) for n, s in enumerate(scores)]
    (part,) = made(*folders)
    assert rows_of(part)["SeqGAN"]["lm_score"] == "4.500 ± 0.707 (n = 2)"


def test_without_evaluation_the_last_evaluated_lines_stand_in(tmp_path):
    folders = [
        write_run(tmp_path / f"a-{seed}", seed=seed, lines=oracle_lines(shift))
        for seed, shift in enumerate((0.0, 1.0))
    ]
    (part,) = made(*folders)
    assert rows_of(part) == {
        "real, held out": {"nll_oracle": "3.000", "copied_ngrams": "0.2500"},
        "MLE": {
            "nll_oracle": "7.500 ± 0.707", "nll_test": "6.000 ± 0.000", "entropy": "5.000 ± 0.000",
            "duplicates": "0.250 ± 0.000", "copied_ngrams": "0.5000 ± 0.0000",
        },
        "SeqGAN": {
            "nll_oracle": "5.500 ± 0.707", "nll_test": "6.000 ± 0.000", "entropy": "5.000 ± 0.000",
            "duplicates": "0.250 ± 0.000", "copied_ngrams": "0.5000 ± 0.0000",
        },
    }  # fmt: skip


def test_the_two_sources_are_never_averaged(tmp_path):
    one = write_run(tmp_path / "a-0", scores=evaluation(0.1))
    (part,) = made(one, write_run(tmp_path / "a-1", seed=1))
    assert rows_of(part)["SeqGAN"]["nll_oracle"] == "5.000 ± 0.000"
    assert "bleu_2" not in rows_of(part)["SeqGAN"]
    (source,) = table.make(part).sources
    assert "metrics.jsonl as last evaluated (round 2)" in source
    assert "1 of its 2 runs have an evaluation.json" in source


def test_an_evaluation_that_holds_a_sweep_alone_counts_as_none(tmp_path):
    scores = evaluation(0.1) | {"rows": []}
    (part,) = made(write_run(tmp_path / "a", scores=scores))
    assert rows_of(part)["SeqGAN"]["nll_oracle"] == "5.000"


def test_real_data_are_those_of_the_most_samples(tmp_path):
    few, many = evaluation(0.1, num_samples=10), evaluation(0.2, num_samples=99)
    few["rows"][0]["metrics"]["bleu_2"] = 0.7
    (part,) = made(write_run(tmp_path / "a", scores=few), write_run(tmp_path / "b", scores=many))
    assert rows_of(part)["real, held out (99 samples)"]["bleu_2"] == "0.900"
    assert list(rows_of(part))[2:] == [
        "a: MLE (10 samples)", "a: SeqGAN (10 samples)",
        "b: MLE (99 samples)", "b: SeqGAN (99 samples)",
    ]  # fmt: skip
    assert table.make(part).sources == [
        "a: evaluation.json, 10 samples.",
        "b: evaluation.json, 99 samples.",
    ]


def test_figures_of_unlike_numbers_are_never_averaged(tmp_path):
    """The spread over seeds would be that over numbers of samples."""
    folders = [
        write_run(tmp_path / f"a-{seed}", seed=seed, scores=evaluation(bleu, num_samples=number))
        for seed, (bleu, number) in enumerate(((0.1, 10), (0.2, 99), (0.4, 99)))
    ]
    (part,) = made(*folders)
    assert rows_of(part)["SeqGAN"]["bleu_2"] == "0.300 ± 0.141"
    assert [row.runs for row in table.make(part).rows] == [None, None, 2, 2]
    assert table.make(part).sources == [
        "a: evaluation.json, 10 or 99 samples; rows of fewer than the most are left out."
    ]


# Groups.


def test_runs_that_differ_in_seed_and_place_form_a_group(tmp_path, sentences):
    shutil.copy(sentences, tmp_path / "copy.txt")
    files = sentences, tmp_path / "copy.txt", sentences
    folders = [
        write_text_run(tmp_path / f"a{end}", file, "a\n", seed=seed)
        for seed, (end, file) in enumerate(zip(("", "-1", "_20"), files, strict=True))
    ]
    (part,) = made(*folders)
    assert [(group.name, len(group.runs)) for group in part.groups] == [("a", 3)]
    assert part.notes == []


def test_runs_that_differ_in_a_setting_stand_alone(tmp_path):
    one = write_run(tmp_path / "a-1")
    two = write_run(tmp_path / "a-2", seed=1, model=hp.ModelHParams(hidden_dim=7))
    (part,) = made(one, two)
    assert [group.name for group in part.groups] == ["a-1", "a-2"]
    (note,) = part.notes
    assert note == "a-1 and a-2 are no group, for they differ: model.hidden_dim: 32 != 7."


def test_a_shared_seed_is_noted(tmp_path):
    (part,) = made(write_run(tmp_path / "a-1"), write_run(tmp_path / "a-2"))
    assert part.notes == ["a: some runs share a seed, so that the spread is too small."]


def test_each_set_of_data_has_a_table_and_pictures_of_its_own(tmp_path):
    one = write_run(tmp_path / "a")
    two = write_run(tmp_path / "b", data=OracleDataHParams(vocab_size=12, length=5))
    paths, _ = written([one, two], tmp_path / "out")
    assert {pathlib.Path(path).name for path in paths} == {
        "report.md", "report.html", "likelihoods-1.png", "likelihoods-2.png"
    }  # fmt: skip
    text = (tmp_path / "out" / "report.md").read_text()
    assert text.count("| --- |") == 2
    assert "T = 4; 10,000 training" in text
    assert "T = 5; 10,000 training" in text


# Curves.


def test_a_course_is_placed_about_the_end_of_maximum_likelihood(tmp_path):
    folders = [
        write_run(tmp_path / "a-0", lines=oracle_lines(0.0)),
        write_run(tmp_path / "a-1", seed=1, lines=oracle_lines(2.0)[:4], finished=False),
    ]
    (part,) = made(*folders)
    (group,) = part.groups
    assert curves.course(group.runs[0], "nll_oracle") == {-1: 8.0, 0: 7.0, 1: 6.0, 2: 5.0}
    mean = curves.together(group, "nll_oracle")
    # Round 2, where one run has not been, has no mean.
    assert {place: each.mean for place, each in mean.items()} == {-1: 9.0, 0: 8.0, 1: 7.0}
    assert mean[1].deviation == pytest.approx(2.0**0.5)
    assert curves.real_level(part, "nll_oracle") == 3.0
    assert curves.real_level(part, "bleu_2") is None
    (picture,) = curves.pictures(part)
    assert picture.name == "likelihoods.png"
    assert "Thin lines" in picture.caption


def test_sweep_points_are_means_a_temperature(tmp_path):
    def sweep(x, number=80):
        points = [
            {"temperature": t, "metrics": {"self_bleu_5": x + t, "bleu_5": x}} for t in (1.0, 0.5)
        ]
        keys = {"variable": "temperature", "x": "self_bleu_5", "y": "bleu_5"}
        real = {"self_bleu_5": x, "bleu_5": 0.9}
        curves = [{"name": "MLE", "points": points}]
        return {**keys, "num_samples": number, "real": real, "curves": curves}

    folders = [
        write_run(tmp_path / f"a-{n}", seed=n, scores=evaluation(0.1, sweep(x)))
        for n, x in enumerate((0.25, 0.75))
    ]
    (part,) = made(*folders)
    points = comparisons.sweep_points(part.groups[0], "MLE", ("self_bleu_5", "bleu_5"))
    assert list(points) == [0.5, 1.0]
    assert points[0.5][0].mean == 1.0
    assert points[1.0][1] == groups.Spread(0.5, pytest.approx(0.125**0.5), 2)
    (picture,) = comparisons.quality_diversity(part)
    assert picture.png.startswith(PNG)
    assert "from 0.5 to 1," in picture.caption
    assert "80 samples at each" in picture.caption
    # A sweep of fewer samples is another measure: it is not averaged in, nor are its real data.
    fewer = write_run(tmp_path / "a-2", seed=2, scores=evaluation(0.1, sweep(0.0, 20)))
    (part,) = made(*folders, fewer)
    assert comparisons.sweep_points(part.groups[0], "MLE", ("self_bleu_5", "bleu_5")) == points
    other = write_run(tmp_path / "b", seed=3, scores=evaluation(0.1, sweep(0.0, 90)))
    (part,) = made(*folders, other)
    assert comparisons._real_level(part) == {"self_bleu_5": 0.0, "bleu_5": 0.9}
    (picture,) = comparisons.quality_diversity(part)
    assert "a 80, b 90, not to be compared" in picture.caption
    assert "outside" not in picture.caption


def test_real_data_far_off_are_told_of_instead_of_drawn(tmp_path):
    points = [
        {"temperature": t, "metrics": {"nll_test": 7 + t, "nll_oracle": 9 - t}} for t in (1, 2)
    ]
    sweep = {
        "variable": "temperature", "x": "nll_test", "y": "nll_oracle", "num_samples": 5,
        "real": {"nll_test": 5.75, "nll_oracle": 2.0},
        "curves": [{"name": "MLE", "points": points}],
    }  # fmt: skip
    (part,) = made(write_run(tmp_path / "a", scores=evaluation(0.1, sweep)))
    (picture,) = comparisons.quality_diversity(part)
    assert "Real data lie outside the picture, at NLL_test 5.750 and NLL_oracle 2.000." in (
        picture.caption
    )


def test_an_empty_line_is_a_sample_of_length_0(tmp_path, sentences):
    folder = write_text_run(tmp_path / "a", sentences, "a b c\n\nb\n")
    (run,) = reading.read_runs([folder])
    assert run.samples == ["a b c", "", "b"]
    np.testing.assert_array_equal(comparisons.sample_lengths(run.samples, run.codec), [3, 0, 1])


# Files.


class Page(html.parser.HTMLParser):
    """What a page asks for, and the text that it shows."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.links, self.text = [], [], ""
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "srcset")]

    def handle_data(self, data):
        self.text += data


def test_the_page_is_self_contained_and_escapes(tmp_path, sentences):
    evil = "<script>alert(1)</script> & ```` | a"
    folder = write_text_run(
        tmp_path / "a", sentences, f"{evil}\n", level="whitespace", max_size=500
    )
    # Without the vocabulary, which would show it as unknown, it stands as it is.
    for name in ("data.npz", "vocabulary.json"):
        (tmp_path / "a" / name).unlink()
    out = tmp_path / "out"
    written([folder], out)
    source = (out / "report.html").read_text()
    page = Page(source)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert evil in page.text
    assert page.links
    prefix = "data:image/png;base64,"
    assert all(link.startswith(prefix) for link in page.links)
    shown = {base64.b64decode(link.removeprefix(prefix)) for link in page.links}
    assert shown == {path.read_bytes() for path in out.glob("*.png")}
    assert "http:" not in source
    assert "https:" not in source
    assert "url(" not in source
    markdown = (out / "report.md").read_text()
    assert f"`````text\n{evil}\n`````" in markdown


def test_a_text_run_shows_lengths_real_sequences_and_samples(tmp_path, sentences):
    folder = write_text_run(tmp_path / "a", sentences, "a b c\na <d>\n", tokens_per_line=2)
    paths, _ = written([folder], tmp_path / "out")
    assert str(tmp_path / "out" / "lengths.png") in paths
    text = (tmp_path / "out" / "report.md").read_text()
    assert "**real, held out: 8 of 10, evenly spaced**" in text
    assert "a b\nc\n\na <\nd >\n" in text.replace("d>", "d >")  # poems on lines, a blank between
    assert "sentences.txt" in text
    assert str(tmp_path) not in text


def test_melodies_show_their_piano_rolls(tmp_path):
    folder = write_run(tmp_path / "a")
    (tmp_path / "a" / "music").mkdir()
    (tmp_path / "a" / "music" / "piano_roll.png").write_bytes(PNG + b"roll")
    written([folder], tmp_path / "out")
    assert (tmp_path / "out" / "piano_roll-1.png").read_bytes() == PNG + b"roll"
    assert "(piano_roll-1.png)" in (tmp_path / "out" / "report.md").read_text()
    assert (
        base64.b64encode(PNG + b"roll").decode() in (tmp_path / "out" / "report.html").read_text()
    )


def test_the_markdown_holds_one_table_and_the_legend(tmp_path):
    folders = [
        write_run(tmp_path / f"a-{n}", seed=n, scores=evaluation(b))
        for n, b in ((0, 0.1), (1, 0.3))
    ]
    _, screen = written(folders, tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    lines = [each for each in text.splitlines() if each.startswith("|")]
    assert lines == [
        "| model | runs | BLEU-2 ↑ | self-BLEU-2 ↓ |",
        "| --- | ---: | ---: | ---: |",
        "| real, held out |  | 0.900 | 0.800 |",
        "| real, training |  | 0.950 | - |",
        "| MLE | 2 | 0.500 ± 0.000 | - |",
        "| SeqGAN | 2 | 0.200 ± 0.141 | - |",
    ]
    assert "BLEU never without self-BLEU" in text
    assert "leave-one-out" in text
    assert "NLL_oracle never alone" not in text
    assert "seeds: 0, 1" in text
    assert "trained: 10 ± 0 s" in text
    assert screen.startswith("wrote ")
    assert screen.count("\n") == 1


def test_a_terminal_shows_the_tables_too(tmp_path):
    folder = write_run(tmp_path / "a", scores=evaluation(0.125))
    _, screen = written([folder], tmp_path / "out", force_terminal=True)
    (bleu,) = [each for each in screen.splitlines() if " BLEU-2" in each]
    assert [part.strip() for part in bleu.split("│")[1:-1]] == [
        "BLEU-2 ↑", "0.900", "0.950", "0.500", "0.125"
    ]  # fmt: skip


def test_an_unfinished_run_says_how_far_it_is(tmp_path):
    begun = write_run(tmp_path / "a", lines=oracle_lines()[:1], finished=False)
    none = write_run(tmp_path / "b", lines=[], finished=False)
    written([begun, none], tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "a unfinished: epoch 1 of 2" in text
    assert "b unfinished: nothing yet" in text


def test_the_same_runs_elsewhere_give_the_same_report(tmp_path):
    write_run(tmp_path / "here" / "a", scores=evaluation(0.1))
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    for place in ("here", "there"):
        written([str(tmp_path / place / "a")], tmp_path / f"out-{place}")
    names = sorted(path.name for path in (tmp_path / "out-here").iterdir())
    assert names == ["likelihoods.png", "report.html", "report.md"]
    for name in names:
        one, other = (
            (tmp_path / f"out-{place}" / name).read_bytes() for place in ("here", "there")
        )
        assert one == other, name


def test_every_column_has_its_direction_and_every_legend_its_columns():
    assert all(column.better in columns.DIRECTIONS for column in columns.COLUMNS)
    assert len(columns.BY_KEY) == len(columns.COLUMNS)
    chosen = [columns.BY_KEY[key] for key in ("bleu_2", "bleu_4", "self_bleu_2")]
    assert [head for head, _ in columns.legend(chosen)] == ["BLEU-2, -4 ↑", "self-BLEU-2 ↓"]


# Errors.


def test_no_run_and_two_of_one_name(tmp_path):
    with pytest.raises(ConfigError, match="no run is given; name the folders"):
        reading.read_runs([])
    one, two = write_run(tmp_path / "x" / "a"), write_run(tmp_path / "y" / "a")
    with pytest.raises(ConfigError, match=r"both are called a, the name that"):
        reading.read_runs([one, two])
    with pytest.raises(ConfigError, match=r"both are called a"):
        reading.read_runs([one, one + "/"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"empty: no run there"):
        reading.read_runs([str(tmp_path / "empty")])


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metrics.jsonl", None, r"metrics\.jsonl: no such file"),
        ("metrics.jsonl", '{"step": 1, "ph\n', r"metrics\.jsonl:1: damaged"),
        (
            "metrics.jsonl",
            "[]\n",
            r"metrics\.jsonl:1: damaged \(a line must be an object with a phase",
        ),
        ("metrics.jsonl", '{"phase": "dinner", "seconds": 1}\n', r"metrics\.jsonl:1: damaged"),
        ("metrics.jsonl", '{"phase": "adversarial", "seconds": 1}\n', r"jsonl:1: damaged"),
        (
            "metrics.jsonl",
            '{"phase": "g_pretrain", "epoch": 1, "seconds": 1, "nll_test": "low"}\n',
            r"jsonl:1: damaged",
        ),
        ("metrics.jsonl", b"\xff\n", r"metrics\.jsonl:1: damaged"),
        ("summary.json", "{}", r"summary\.json: damaged \(total_seconds=None"),
        ("summary.json", "{", r"summary\.json: damaged"),
        ("samples.txt", b"\xff", r"samples\.txt:1: damaged"),
        ("evaluation.json", "[]", r"evaluation\.json: damaged \(must be an object"),
        (
            "evaluation.json",
            '{"version": 2}',
            r"version 2, not 1; remove it, and evaluate the run again",
        ),
        ("evaluation.json", '{"version": 1}', r"evaluation\.json: damaged \(KeyError"),
        (
            "evaluation.json",
            '{"version": 1, "num_samples": 1, "rows": [3], "sweep": null}',
            r"evaluation\.json: damaged \(TypeError",
        ),
    ],
)
def test_damaged_files_end_in_one_sentence_and_nothing_written(tmp_path, file, content, message):
    folder = write_run(tmp_path / "a")
    path = tmp_path / "a" / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError, match=message):
        written([folder], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_data_are_named(tmp_path, sentences):
    folder = write_text_run(tmp_path / "a", sentences, "a\n")
    (tmp_path / "a" / "data.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"data\.npz: damaged"):
        reading.read_runs([folder])


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    folder = write_run(tmp_path / "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--out=.*file: cannot be written \(File exists\)"):
        written([folder], tmp_path / "file")


def test_a_picture_that_cannot_be_written_leaves_the_old_report(tmp_path):
    folder = write_run(tmp_path / "a")
    out = tmp_path / "out"
    (out / "likelihoods.png" / "in the way").mkdir(parents=True)
    (out / "report.md").write_text("old")
    with pytest.raises(ConfigError, match="--out="):
        written([folder], out)
    assert (out / "report.md").read_text() == "old"


def test_the_program_takes_folders_and_flags_in_any_order(tmp_path):
    one, two = write_run(tmp_path / "a-0"), write_run(tmp_path / "a-1", seed=1)
    program = [sys.executable, str(ROOT / "bin" / "report.py"), one, f"--out={tmp_path}/out", two]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"wrote {tmp_path}/out/report.md, ")
    assert "runs: a-0, a-1" in (tmp_path / "out" / "report.md").read_text()
