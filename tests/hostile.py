"""Small files of every kind that the package reads, what reads them, and what an input may do.

For hostile_*_test.py and fuzz_loaders.py: every input is loaded, or refused by a UserError.
"""

import contextlib
import dataclasses
import functools
import io
import json
import os
import pickle
import signal
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import mido
import numpy as np
import rich.console

from seqgan_jax import hparams as hp
from seqgan_jax.checked import DataError, UserError, from_mapping, to_dict
from seqgan_jax.data import cache, music, text, vocabulary, written
from seqgan_jax.data.archive import members
from seqgan_jax.data.codecs import codec_from_json
from seqgan_jax.data.ids import IdCodec
from seqgan_jax.data.midi import read_melody
from seqgan_jax.data.pitch_codec import PitchCodec
from seqgan_jax.data.tokeniser import Tokeniser
from seqgan_jax.data_hparams import DataSizes, MusicDataHParams, TextDataHParams
from seqgan_jax.files import read_json
from seqgan_jax.models.oracle import load_oracle
from seqgan_jax.reporting import content, evaluation_table, groups, markdown, page, reading, table
from seqgan_jax.reporting.evaluation_file import EvaluationFile
from seqgan_jax.training import manifest, real_data, summary, workdir, writers

_PEAK = "/proc/self/clear_refs"  # what is written there sets the peak of memory back
SECONDS, BYTES = 10, 1_000_000_000  # that an input may take


class TooLongError(BaseException):
    """An input took more than its time; no `except Exception` stops it."""


@contextlib.contextmanager
def bounded(seconds=None, most=None):
    """Ends what takes long, and fails after what took much memory, in this process.

    Seconds are of the processor, for others may be at work on it, and six times as many of waiting.
    Gives a list that holds the bytes of memory once all is over.
    """
    used, seconds, most = [], seconds or SECONDS, most or BYTES

    def end(*_):
        raise TooLongError(f"over {seconds} s")

    clocks = ((signal.SIGPROF, signal.ITIMER_PROF, 1), (signal.SIGALRM, signal.ITIMER_REAL, 6))
    handlers = [signal.signal(number, end) for number, _, _ in clocks]
    # Again and again: an error raised inside of a destructor is lost.
    left = [signal.setitimer(which, times * seconds, 1.0) for _, which, times in clocks]
    begun = _reset_peak()
    try:
        yield used
    finally:
        for (number, which, _), handler, rest in zip(clocks, handlers, left, strict=True):
            signal.setitimer(which, 0)
            signal.signal(number, handler)
            signal.setitimer(which, *rest)  # of a block around this one
        used.append(memory("VmHWM") - begun)
    assert used[0] < most, f"took {used[0]:,} bytes"


def memory(name):
    with open("/proc/self/status", encoding="ascii") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(name))


def _reset_peak():
    with open(_PEAK, "w", encoding="ascii") as file:
        file.write("5")
    return memory("VmRSS")


# Good files, as bytes by the name of what reads them.


def weights(vocab_size=6, embed_dim=3, hidden_dim=4):
    """The 15 arrays of an oracle."""
    random = np.random.default_rng(0)
    gates = [(embed_dim, hidden_dim), (hidden_dim, hidden_dim), (hidden_dim,)] * 4
    shapes = [(vocab_size, embed_dim), *gates, (hidden_dim, vocab_size), (vocab_size,)]
    return [random.normal(size=shape).astype(np.float32) for shape in shapes]


def npz_of(*arrays, save=np.savez, **named):
    out = io.BytesIO()
    save(out, *arrays, **named)
    return out.getvalue()


def midi_of(num_notes=12, ticks_per_beat=96):
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=400_000)])
    for number in range(num_notes):
        note = 60 + number % 9
        track.append(mido.Message("note_on", note=note, time=0))
        track.append(mido.Message("note_off", note=note, time=ticks_per_beat))
    track.append(mido.MetaMessage("end_of_track"))
    out = io.BytesIO()
    mido.MidiFile(type=0, ticks_per_beat=ticks_per_beat, tracks=[track]).save(file=out)
    return out.getvalue()


def zip_of(entries, compression=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, content in entries:
            file.writestr(name, content)
    return out.getvalue()


def tar_of(entries, mode="w"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for info, content in entries:
            info = tarfile.TarInfo(info) if isinstance(info, str) else info
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


TUNES = [("a.mid", midi_of()), ("b/c.mid", midi_of(20)), ("d.mid", midi_of(7)), ("read.me", b"no")]
TEXT = "".join(f"the {a} sees a {b}, it's {a}!\n" for a in ("cat", "dog", "fox") for b in "xyzäß")
METRICS = [
    {"phase": "g_pretrain", "epoch": 1, "step": 5, "seconds": 0.5, "nll_test": 3.5, "entropy": 2.0},
    {"phase": "d_pretrain", "d_step": 1, "step": 5, "seconds": 0.75, "d_loss": 0.5},
    {"phase": "adversarial", "round": 1, "step": 9, "seconds": 1.5, "nll_test": 3.25, "g_loss": -1},
]
EVALUATION = {
    "version": 1, "num_samples": 10, "seed": 0,
    "data": {"kind": "text", "num_train": 9, "num_test": 4, "vocab_size": 12, "length": 8},
    "rows": [
        {"name": "test", "source": "test", "num_samples": 9, "metrics": {"bleu_2": 0.5}},
        {"name": "SeqGAN", "source": "generator", "step": 9, "metrics": {"nll_test": 2}},
    ],
    "sweep": {
        "x": "nll_test", "y": "nll_oracle", "num_samples": 10, "real": {"nll_test": 1.0},
        "curves": [{"name": "MLE", "points": [{"temperature": 1, "metrics": {"nll_test": 2.5}}]}],
    },
}  # fmt: skip
CODEC = text.TextCodec(
    vocabulary.Vocabulary(("the", "cat", "dog", "fox", "sees", "a", ",", "it's", "!")), Tokeniser()
)
SIZES = DataSizes(12, 8, 9, 4)
CODECS = (CODEC, IdCodec(12), PitchCodec(0.4))
TEXT_DATA = TextDataHParams(path="lines.txt", test_fraction=0.3, max_length=40)
TEXT_RUN = hp.HParams(data=TEXT_DATA, discriminator=hp.DiscriminatorHParams(filters=((2, 4),)))
ORACLE_RUN = hp.HParams(seed=7)


def data_files():
    """What a run on TEXT keeps of its data: the contents of vocabulary.json and data.npz."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "lines.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write(TEXT)
        real_data.load(dataclasses.replace(TEXT_DATA, path=path), folder)
        found = {}
        for name in ("vocabulary.json", "data.npz"):
            with open(os.path.join(folder, name), "rb") as file:
                found[name] = file.read()
    return found


def _json(value):
    return json.dumps(value, indent=1).encode()


def _run_files(hparams, samples):
    """A run's folder, by name."""
    return {
        "config.json": _json(to_dict(hparams)),
        "metrics.jsonl": "".join(json.dumps(line) + "\n" for line in METRICS).encode(),
        "summary.json": _json({"total_seconds": 1.5, "metrics": {}}),
        "evaluation.json": _json(EVALUATION),
        "samples.txt": samples,
    }


class Loader(NamedTuple):
    """What reads a file.

    Attributes:
      files: good contents, by the names of files that lie in one folder.
      hurt: of these, those that an attack changes.
      load: reads; is given the folder and the name of the file that was changed.
      weight: share of the inputs.
    """

    files: dict[str, bytes]
    hurt: tuple[str, ...]
    load: Callable[[str, str], object]
    weight: float = 1.0


def _oracle(folder, name):
    load_oracle(os.path.join(folder, name))


def _tune(folder, name):
    for member, tune in members(os.path.join(folder, name)):
        read_melody(tune, member, 0.4)


def _tunes(folder, name):
    settings = MusicDataHParams(path=os.path.join(folder, name), length=4, stride=4)
    music.load_music(settings)


def _lines(folder, name):
    levels = ("word", "whitespace", "character")
    with open(os.path.join(folder, name), "rb") as file:
        level = levels[zlib.crc32(file.read()) % 3]  # one an input, and always the same
    settings = dataclasses.replace(TEXT_DATA, path=os.path.join(folder, name), level=level)
    text.load_text(dataclasses.replace(settings, normal_form="NFKC", drop_punctuation=True))
    text.load_text(settings)


def _written(folder, name):
    refused = 0
    for codec in CODECS:
        try:
            written.read_sequences(os.path.join(folder, name), codec, SIZES.length)
        except UserError:
            refused += 1
    if refused == len(CODECS):
        raise DataError("by every codec")


def _codec(folder, name):
    codec = codec_from_json(read_json(os.path.join(folder, name)))
    ids = list(range(min(codec.vocab_size, 9)))
    codec.layout(ids)
    with contextlib.suppress(DataError):
        codec.encode(codec.decode(ids), strict=True)


def _data(folder, name):
    del name
    _, dataset = cache.read_cache(folder)
    for row in dataset.train.tokens:
        dataset.codec.decode(row.tolist())


def _metrics(folder, name):
    del name
    lines = writers.read_metrics(folder)
    if all({"step", "seconds"} <= line.keys() for line in lines):
        summary.summarise(lines)


def _config(folder, name):
    del name
    hparams = workdir.read_hparams(folder)
    assert from_mapping(hp.HParams, to_dict(hparams)) == hparams


def _evaluation(folder, name):
    del name
    file = EvaluationFile(folder, "text", SIZES, 10, 0)
    file.earlier("test", "test")
    file.add(reading.Row("mine", "file", {"bleu_2": 0.5}, 9))
    rich.console.Console(file=io.StringIO(), markup=False).print(
        evaluation_table.table(file.content)
    )


def _checkpoint_files():
    """A checkpoint, as far as its manifest goes."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("progress", "state"):
            with open(os.path.join(folder, name), "wb") as file:
                file.write(name.encode() * 9)
        manifest.write(folder, {"generator": np.zeros((2, 3), np.float32)}, "a run", 1.5)
        found = {}
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), "rb") as file:
                found[name] = file.read()
        return found


def _checkpoint(folder, name):
    path = os.path.join(folder, name)
    with open(path, "rb") as file, contextlib.suppress(ValueError, RecursionError):
        # By somebody who knows how it is signed; else the digest refuses nearly all.
        content = json.loads(file.read())
        if name == manifest.FILE and isinstance(content, dict):
            content.pop("sha256", None)
            content["sha256"] = manifest._of_content(content)
            with open(path, "w", encoding="utf-8") as signed:
                json.dump(content, signed)
    try:
        manifest.verify(folder)
    except manifest.DamagedError as error:
        raise DataError(str(error)) from error


def _run(folder, name):
    del name
    for part in groups.parts(reading.read_runs([folder])):
        made = table.make(part)
        table.markdown(made)
        table.as_html(made)


def _report(folder, name):
    del name
    sections = content.sections(groups.parts(reading.read_runs([folder])))
    markdown.render(sections)
    page.render(sections)


@functools.cache
def loaders():
    """The loaders by name."""
    of_run = _run_files(ORACLE_RUN, b"1 2 3 4\n5 6 7 4999\n")
    of_text = _run_files(TEXT_RUN, b"the cat sees a dog, it's a dog!\nthe fox\n") | data_files()
    pickles = {f"{n}.pkl": pickle.dumps(weights(), n) for n in range(6)}
    tars = {
        "t.tar": tar_of(TUNES),
        "t.tar.gz": tar_of(TUNES, "w:gz"),
        "t.tgz": tar_of(TUNES, "w:gz"),
    }
    archives = {"t.zip": zip_of(TUNES), "s.zip": zip_of(TUNES, zipfile.ZIP_STORED)}
    codecs = {f"{codec.kind}.json": _json(codec.to_json()) for codec in CODECS}
    npz = {"a.npz": npz_of(*weights()), "b.npz": npz_of(*weights(), save=np.savez_compressed)}
    both = {**of_text, "o.txt": b"1 2 3 4\n5 6\n\n7 8 9 10\n", "p.txt": b"C4 D#5 - R\n69 70\n"}
    checkpoint = _checkpoint_files()
    samples = {"s.txt": TEXT.encode(), "o.txt": both["o.txt"], "p.txt": both["p.txt"]}
    return {
        "oracle pickle": Loader(pickles, tuple(pickles), _oracle, 2.0),
        "oracle npz": Loader(npz, tuple(npz), _oracle, 2.0),
        "midi": Loader({"a.mid": midi_of()}, ("a.mid",), _tune, 2.0),
        "tar": Loader(tars, tuple(tars), _tunes, 2.0),
        "zip": Loader(archives, tuple(archives), _tunes, 2.0),
        "text": Loader({"lines.txt": TEXT.encode()}, ("lines.txt",), _lines, 2.0),
        "samples": Loader(samples, tuple(samples), _written, 2.0),
        "codec": Loader(codecs, tuple(codecs), _codec),
        "kept data": Loader(data_files(), ("vocabulary.json", "data.npz"), _data),
        "metrics": Loader({"metrics.jsonl": of_run["metrics.jsonl"]}, ("metrics.jsonl",), _metrics),
        "config": Loader({"config.json": of_run["config.json"]}, ("config.json",), _config, 2.0),
        "evaluation": Loader(
            {"evaluation.json": of_run["evaluation.json"]}, ("evaluation.json",), _evaluation, 0.5
        ),
        "checkpoint": Loader(checkpoint, tuple(checkpoint), _checkpoint),
        "run": Loader(of_run, tuple(of_run), _run, 0.5),
        "text run": Loader(of_text, tuple(of_text), _run, 0.5),
        "report": Loader(of_run, ("metrics.jsonl", "evaluation.json"), _report, 0.02),
    }


# What an input may do.

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Of Python's audit events, those that change a file; others of these names, or below, run programs.
_CHANGES = (
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
)
_RUNS = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect")
_watched: dict[str, Any] = {"folder": None, "found": [], "installed": False}


def _audit(event, arguments):
    folder = _watched["folder"]
    if folder is None:
        return
    if event == "open":
        path, _, flags = arguments
        changed = [path] if isinstance(flags, int) and flags & _WRITING else []
        if path == _PEAK:
            return
    elif event in _CHANGES:
        names = arguments[1:2] if event in ("os.link", "os.symlink") else arguments[:2]
        changed = [path for path in names if isinstance(path, str | bytes)]
    else:
        if event.startswith(_RUNS):
            _watched["found"].append(event)
        return
    # Where JAX keeps what it compiles is the tests' own affair.
    allowed = tuple(filter(None, (folder, jax.config.jax_compilation_cache_dir)))
    for path in changed:
        if not isinstance(path, int) and not os.path.abspath(os.fsdecode(path)).startswith(allowed):
            _watched["found"].append(f"{event} {path!r}")


@contextlib.contextmanager
def watched(folder):
    """Fails after a block in which a program was run, or a file outside the folder was changed.

    Without a folder nothing is watched, whatever a block around this one says.
    """
    if not _watched["installed"]:
        sys.addaudithook(_audit)  # for good: there is no way to take one away
        _watched["installed"] = True
    before = dict(_watched)
    _watched["found"] = found = []
    _watched["folder"] = None if folder is None else os.path.abspath(folder) + os.sep
    try:
        yield
    finally:
        _watched.update(before)
    assert not found, f"did {found[:3]}"


class Outcome(NamedTuple):
    """What came of an input."""

    words: str  # "loaded", "refused", or what it did that it must not
    seconds: float
    bytes: int  # of memory, at most


def attempt(load, folder, name):
    """Lets a file be read; its outcome."""
    started, used = time.monotonic(), []
    words = "loaded"
    try:
        with bounded() as used, watched(folder), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile and NumPy warn of some damage
            try:
                load(folder, name)
            except UserError as error:
                # One sentence, fit for a terminal, and no longer than a person reads.
                length = len(str(error))
                words = "refused" if length < 2_000 else f"says {length:,} characters"
    except (Exception, TooLongError) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        words = f"{type(error).__name__}: {error}"[:300]
        words += f" ({os.path.basename(where.filename)}:{where.lineno})"
    return Outcome(words, time.monotonic() - started, used[0] if used else 0)
