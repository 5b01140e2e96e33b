"""Methods side by side: means with their intervals, and tests against SeqGAN."""

from __future__ import annotations

from collections.abc import Sequence

from seqgan_jax.reporting import against_mle, budgets, entries
from seqgan_jax.reporting.columns import BY_KEY
from seqgan_jax.reporting.entries import Entry
from seqgan_jax.reporting.grid import ABSENT, Grid, mean_cell
from seqgan_jax.reporting.groups import Part
from seqgan_jax.reporting.statistics import welch

_ON_ORACLE = ("nll_oracle", "nll_test")  # what is tested
_ON_REAL = ("bleu_4", "self_bleu_4")
_BESIDE = ("entropy", "reverse_kl", "distinct", "copied", "d_auc_heldout")
_TITLES = {  # the others are in COLUMNS
    "distinct": "distinct",
    "copied": "copied ↓",
    "reverse_kl": "KL(G || oracle) ↓",
    "d_auc_heldout": "D's AUC",
}


def make(part: Part) -> list[Grid]:
    """The comparison of a part's methods, and their budgets; nothing where there is but one.

    Figures are those of each run's last evaluated line of metrics.jsonl.
    """
    if len({group.runs[0].hparams.method for group in part.groups}) < 2:
        return []
    ends = entries.ends(part)
    if len(ends) < 2:
        return []
    starts = entries.starts(part)
    against, spent = against_mle.make(part, starts, ends), budgets.make(part)
    return [
        _comparison(part, starts, ends),
        *([against] if against is not None else []),
        *([spent] if spent.rows else []),
    ]


def _comparison(part: Part, starts: Sequence[Entry], ends: Sequence[Entry]) -> Grid:
    is_oracle = any("nll_oracle" in entry.values for entry in ends)
    tested = _ON_ORACLE if is_oracle else _ON_REAL
    keys = [*tested, *(() if is_oracle else ("nll_test",)), *_BESIDE]
    keys = [key for key in keys if any(entry.values.get(key) for entry in ends)]
    reference = [entry for entry in ends if entry.is_reference]
    head = ["", "runs", *(_title(key) for key in keys)]
    if len(reference) == 1:
        head += [f"p, {_title(key).split(' ')[0]}" for key in tested]
    rows = []
    for entry in [*starts, *ends]:
        row = [entry.label, str(len(entry.runs))]
        row += [mean_cell(entry.values.get(key, [])) for key in keys]
        if len(reference) == 1:
            row += [_p(entry, reference[0], key) for key in tested]
        rows.append(row)
    if not is_oracle:
        real = [ends[0].values.get(f"{key}_real", [])[:1] for key in keys]
        words = [f"{each[0]:.3f}" if each else "" for each in real]
        rows.insert(0, ["real, training", "", *words, *[""] * (len(head) - 2 - len(keys))])
    blank = [""] * (len(head) - 3)
    for title, key in (("real data (floor)", "nll_oracle_floor"),
                       ("uniform tokens (ceiling)", "nll_oracle_ceiling")):  # fmt: skip
        if is_oracle and ends[0].values.get(key):
            place = 0 if key.endswith("floor") else len(rows)
            rows.insert(place, [title, "", f"{ends[0].values[key][0]:.3f}", *blank])
    return Grid("Methods", head, rows, _notes(part, keys, is_tested=len(reference) == 1))


def _title(key: str) -> str:
    return _TITLES.get(key) or BY_KEY[key].head


def _p(entry: Entry, reference: Entry, key: str) -> str:
    if entry is reference:
        return ABSENT
    p = welch(entry.values.get(key, []), reference.values.get(key, []))
    return ABSENT if p is None else f"{p:.2g}"


def _notes(part: Part, keys: Sequence[str], *, is_tested: bool) -> list[str]:
    number = part.groups[0].runs[0].hparams.evaluation.eval_samples
    notes = [
        f"Of each run's last evaluated line of metrics.jsonl, at most {number:,} samples; mean ± "
        "half of its 95 % interval over runs (seeds), by Student's t."
    ]
    if "bleu_4" in keys:
        notes.append(
            "Read BLEU and self-BLEU beside each other, and both against real training data, which "
            "a perfect generator would resemble: neither is better for being lower or higher alone."
        )
    if "reverse_kl" in keys:
        notes.append("KL(G || oracle) is NLL_oracle less entropy; 0 is a perfect generator's.")
    if "copied" in keys:
        notes.append(
            "Copied: the share of the samples' 8-grams (of short sequences, of half their length) "
            "that stand in the training data."
        )
    if "d_auc_heldout" in keys:
        notes.append(
            "D's AUC: of the discriminator on held-out real sequences and fresh samples; at 0.5 it "
            "tells nothing apart, and what the generator learns from it is noise."
        )
    if is_tested:
        notes.append(
            "p: Welch's t-test against SeqGAN, two-sided, not corrected for the number of tests. "
            "Runs of one seed share their data and their start, of which the test knows nothing."
        )
    if any(map(entries.is_best, part.groups)):
        notes.append(
            "Best epoch: that of the lowest NLL_test, of the very sequences that NLL_test is "
            "reported of. That start is maximum likelihood at its best; what is called continued "
            "goes on from it for as many updates as the others make."
        )
    if any(not run.finished for group in part.groups for run in group.runs):
        notes.append("Some runs are not finished: their rows are of where they are.")
    return notes
