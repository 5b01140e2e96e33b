"""Feeds damaged files to every loader: `python tests/fuzz_loaders.py --inputs=20000 --seed=0`.

Small good files of every kind are changed: bits flipped, ends cut off, parts doubled, taken from
other files, or put in that are magic numbers and lengths; and in their structure: JSON, zip, tar,
npz and text each by itself. Each input must be loaded, or refused by the package's own error,
within 10 s and 1 GB of memory, without a program run or a file changed outside its folder. What is
not is kept, and the exit status is 1.

  --loader=NAME  one loader alone        --keep=FOLDER  where offending inputs are kept
  --jobs=2       processes               --only=INDEX   one input, in this process, to look at
"""

import argparse
import io
import json
import math
import multiprocessing
import multiprocessing.connection
import os
import random
import resource
import struct
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
from typing import Any, NamedTuple

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

_MAGIC = [
    b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"MThd", b"MTrk", b"\x1f\x8b\x08", b"\x93NUMPY",
    b"\xff\x2f\x00", b"\xff\x51\x03", b"ustar", b"\x80\x04\x95", b"cos\nsystem\n", b"\x93", b"R",
    b"\0", b"\0" * 64, b"\xff" * 8, b"\n", b"\r", b"\r\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xc3",
    b"\xed\xa0\x80", "\u202e\u0301\ufdfa\u2028".encode(), b"\x1b[31m", b"9" * 30, b"-1", b"1e999",
    b"NaN", b"-Infinity", b"null", b"[[[[", b'{"a":', b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00",
]  # fmt: skip
_NUMBERS = [0, 1, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63]
VALUES = [
    None, True, False, 0, 1, -1, 3, 2**31, 2**63, 10**12, 10**30, 10**400, 0.0, -0.5, 1e-300, 1e300,
    float("nan"), float("inf"), "", "a", "\ud800", "x" * 3000, "NaN", "1", [], {}, [[]], [None],
    {"": 1}, {"kind": "text"}, [[2, 4], [2, 4]], [[10**12, 1]], "../../etc/passwd", "/dev/zero",
    "a\0b", "[/x]",
]  # fmt: skip


def changed_bytes(random_, good, others):
    """One to four changes of bytes."""
    data = bytearray(good)
    for _ in range(random_.choice((1, 1, 2, 4))):
        size = len(data)
        place = random_.randrange(size + 1)
        length = min(1 << random_.randrange(10), size - place)
        kind = random_.randrange(9)
        if kind == 0 and size:
            data[random_.randrange(size)] ^= 1 << random_.randrange(8)
        elif kind == 1 and size:
            data[random_.randrange(size)] = random_.randrange(256)
        elif kind == 2:
            del data[place:]
        elif kind == 3:
            del data[place : place + length]
        elif kind == 4:
            data[place:place] = data[place : place + length] * random_.choice((1, 2, 50))
        elif kind == 5:
            other = random_.choice(others)
            start = random_.randrange(len(other) + 1)
            data[place : place + length * random_.randrange(2)] = other[start : start + length]
        elif kind == 6:
            data[place : place + length * random_.randrange(2)] = random_.choice(_MAGIC)
        elif kind == 7:
            form = random_.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
            packed = struct.pack(form, random_.choice(_NUMBERS) % 256 ** struct.calcsize(form))
            data[place : place + len(packed)] = packed
        else:
            data[place : place + length] = bytes(random_.randrange(256) for _ in range(length))
    return bytes(data)


def changed_value(random_, value):
    """A value of JSON with a part of it replaced, left out, doubled, renamed or put deeper."""
    if isinstance(value, dict) and value and random_.random() < 0.85:
        result, key = dict(value), random_.choice(list(value))
        kind = random_.randrange(8)
        if kind == 0:
            del result[key]
        elif kind == 1:
            result[random_.choice(("", key + "s", "kind", "x" * 3000, "\ud800"))] = result.pop(key)
        else:
            result[key] = changed_value(random_, result[key])
        return result
    if isinstance(value, list) and value and random_.random() < 0.85:
        place = random_.randrange(len(value))
        kind = random_.randrange(6)
        if kind == 0:
            return value[:place] + value[place + 1 :]
        if kind == 1:
            return value + value[place : place + 1] * random_.choice((1, 1000))
        return [*value[:place], changed_value(random_, value[place]), *value[place + 1 :]]
    if random_.random() < 0.05:
        for _ in range(random_.choice((5, 400, 3000))):
            value = [value]
        return value
    return random_.choice(VALUES)


def _dumped(value):
    try:
        return json.dumps(value).encode()
    except (RecursionError, ValueError):  # too deep, or more digits than Python writes
        return b"[" * 100_000


def changed_json(random_, good):
    """Of one value, or of one a line."""
    lines = good.splitlines() if good.count(b"\n{") else [good]
    place = random_.randrange(len(lines))
    try:
        lines[place] = _dumped(changed_value(random_, json.loads(lines[place])))
    except ValueError:
        return good
    end = b"\n" * (random_.random() < 0.9)
    return b"\n".join(lines) + end


def changed_zip(random_, good):
    """Other members, names, sizes and ways of packing; a directory that lies."""
    out = io.BytesIO()
    names = [
        "a.mid",
        "../a.mid",
        "/a.mid",
        "C:\\a.mid",
        "a\0.mid",
        "x" * 9000 + ".mid",
        "ä\x1b.mid",
        "",
    ]
    with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            if random_.random() < 0.4:
                content = changed_bytes(random_, content, [content])
            if random_.random() < 0.05:
                content = bytes(random_.choice((0, 100_000, 12_000_000)))
            name = info.filename if random_.random() < 0.7 else random_.choice(names)
            entry = zipfile.ZipInfo(name)
            entry.external_attr = random_.choice((0o100644, 0o120777, 0o040755, 0)) << 16
            entry.compress_type = random_.choice((0, 8, 8, 8, 12, 14))
            for _ in range(1 + (random_.random() < 0.1) * 30):
                new.writestr(entry, content)
    data = bytearray(out.getvalue())
    place = data.find(b"PK\x01\x02")
    if random_.random() < 0.5 and place >= 0:  # a field of the first entry of the directory
        offset = random_.choice((8, 10, 16, 20, 24, 28, 30, 32, 42))
        struct.pack_into("<H", data, place + offset, random_.choice(_NUMBERS) % 65536)
    return bytes(data)


def changed_tar(random_, good):
    """Other members and headers, checksums made good again."""
    out = io.BytesIO()
    mode = random_.choice(("w", "w:gz")) if good[:2] != b"\x1f\x8b" else "w:gz"
    kinds = [
        b"0",
        b"1",
        b"2",
        b"3",
        b"4",
        b"5",
        b"6",
        b"7",
        b"x",
        b"g",
        b"L",
        b"K",
        b"S",
        b"V",
        b"\0",
    ]
    with tarfile.open(fileobj=io.BytesIO(good)) as old, tarfile.open(fileobj=out, mode=mode) as new:
        for info in old.getmembers():
            content = old.extractfile(info).read()
            if random_.random() < 0.3:
                content = changed_bytes(random_, content, [content, b"30 mtime=1\n", b"9" * 900])
            if random_.random() < 0.3:
                info.type = random_.choice(kinds)
            if random_.random() < 0.2:
                info.name = random_.choice(
                    ("../a.mid", "/a.mid", "a" * 3000 + ".mid", "\udcff.mid")
                )
            if random_.random() < 0.2:
                pairs = (
                    "path",
                    "size",
                    "GNU.sparse.size",
                    "GNU.sparse.map",
                    "GNU.sparse.major",
                    "x",
                )
                values = ("-1", "9" * 20, "nan", "../b.mid", "1,2,3", "\0", "x" * 5000)
                info.pax_headers = {random_.choice(pairs): random_.choice(values)}
            size = len(content)
            if random_.random() < 0.2:
                size = random_.choice((0, 2**20, 2**33 - 1, 2**40))
            info.size = size
            new.fileobj.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
            new.fileobj.write(content + bytes(-len(content) % 512))
            new.offset = new.fileobj.tell()
    return out.getvalue()


def changed_npz(random_, good):
    """Headers of arrays that lie."""
    out = io.BytesIO()
    shapes = [
        "()",
        "(0,)",
        "(-1,)",
        "(10**9, 10**9)",
        "(3,)" * 2,
        "(1000000000000,)",
        "(2,) * 9",
        "[3]",
    ]
    dtypes = ["<f4", "<f8", "|O", "<U9", "<i8", "|V999999999", "<M8[s]", "f2,(10,)f4", "|b1", ">f4"]
    with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            raw = old.read(info)
            if random_.random() < 0.25 and raw[:6] == b"\x93NUMPY":
                start = raw.index(b"\n") + 1
                shape, dtype = random_.choice(shapes), random_.choice(dtypes)
                header = (
                    f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
                )
                raw = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + raw[start:]
            if random_.random() < 0.1:
                raw = changed_bytes(random_, raw, [raw])
            if random_.random() < 0.05:
                raw = bytes(random_.choice((0, 20_000_000)))
            name = info.filename if random_.random() < 0.97 else random_.choice(("emb.npy", "x"))
            new.writestr(name, raw, random_.choice((0, 8)))
    return out.getvalue()


def changed_text(random_, good):
    """Lines of other ends, lengths and characters."""
    lines = good.decode("utf-8", "replace").split("\n")
    pieces = [
        "\u0301" * 1500, "\u0323\u0301" * 900, "\ufdfa" * 300, "\0", "\x1b[2J", "\x85", "\u2028",
        "\ufeff", "x" * 70_000, "\U0001f600\u200d" * 40, "\t \u3000", "'", "<eos>", "9" * 5000,
    ]  # fmt: skip
    for _ in range(random_.randint(1, 5)):
        place = random_.randrange(len(lines))
        kind = random_.randrange(5)
        if kind == 0:
            lines[place] += random_.choice(pieces)
        elif kind == 1:
            lines[place] = "".join(chr(random_.randrange(0x3000)) for _ in range(30))
        elif kind == 2:
            lines[place:place] = [random_.choice(pieces)] * random_.choice((1, 30))
        elif kind == 3:
            lines[place] = lines[place].replace(" ", random_.choice(("", "\t", "\u00a0", "  ")))
        else:
            del lines[place]
            lines = lines or [""]
    codec = random_.choice(
        ("utf-8", "utf-8", "utf-8", "utf-16", "latin-1", "utf-8-sig", "utf-32-be")
    )
    return random_.choice(("\n", "\n", "\n", "\r\n", "\r")).join(lines).encode(codec, "replace")


_STRUCTURAL = {
    "json": changed_json, "sonl": changed_json, ".zip": changed_zip, ".tar": changed_tar,
    "r.gz": changed_tar, ".tgz": changed_tar, ".npz": changed_npz, ".txt": changed_text,
}  # fmt: skip


def mutant(loader, number, seed, name):
    """The file that is changed, and its content: the same for the same arguments."""
    random_ = random.Random(f"{seed} {name} {number}")
    file = loader.hurt[number % len(loader.hurt)]
    good, structural = loader.files[file], _STRUCTURAL.get(file[-4:])
    others = list(loader.files.values())
    if structural is None or random_.random() < 0.5:
        return file, changed_bytes(random_, good, others)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that stand there twice
        data = structural(random_, good)
    if random_.random() < 0.2:
        data = changed_bytes(random_, data, others)
    return file, data


class Task(NamedTuple):
    """An input."""

    loader: str
    number: int


def tasks(loaders, inputs, only=None):
    """So many inputs, dealt out to loaders by their weights, each at least one."""
    chosen = {name: each for name, each in loaders.items() if only in (None, name)}
    if not chosen:
        raise SystemExit(f"--loader={only}: there are {', '.join(loaders)}")
    total = sum(each.weight for each in chosen.values())
    return [
        Task(name, number)
        for name, each in chosen.items()
        for number in range(max(1, round(inputs * each.weight / total)))
    ]


def write(folder, loader, file, data):
    """All files of a loader, one of them changed; what lies there else is taken away."""
    for name in os.listdir(folder):
        os.remove(os.path.join(folder, name))
    for name, content in (loader.files | {file: data}).items():
        with open(os.path.join(folder, name), "wb") as out:
            out.write(content)


def work(connection, seed):
    """Reads inputs as long as there are any; what runs in each process."""
    import hostile

    size = hostile.memory("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (size + 4 * hostile.BYTES,) * 2)
    loaders = hostile.loaders()
    with tempfile.TemporaryDirectory() as folder:
        for loader in loaders.values():  # what is imported and compiled once takes no input's time
            write(folder, loader, loader.hurt[0], loader.files[loader.hurt[0]])
            loader.load(folder, loader.hurt[0])
        connection.send("ready")
        while (task := connection.recv()) is not None:
            loader = loaders[task.loader]
            file, data = mutant(loader, task.number, seed, task.loader)
            write(folder, loader, file, data)
            connection.send("begun")
            connection.send(hostile.attempt(loader.load, folder, file))


class Worker:
    """A process, and what it is at."""

    def __init__(self, seed):
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=work, args=(other, seed), daemon=True)
        self.process.start()
        self.task, self.since, self.ready = None, time.monotonic(), False

    def give(self, task):
        self.connection.send(task)
        self.task, self.since = task, math.inf  # until the input is made

    def heard(self):
        """The outcome of an input, or None where it says how far it is.

        Raises:
          EOFError: it has ended.
        """
        word = self.connection.recv()
        if word == "ready":
            self.ready = True
        elif word == "begun":
            self.since = time.monotonic()
        else:
            return word
        return None


def run(waiting, seed, jobs, limit, tell):
    """Yields each task with its outcome; a process that takes over `limit` s is ended."""
    import hostile

    waiting, total, begun, told = list(reversed(waiting)), len(waiting), time.monotonic(), 0.0
    workers, done = [Worker(seed) for _ in range(min(jobs, total))], 0
    while done < total:
        for worker in workers:
            if worker.ready and worker.task is None and waiting:
                worker.give(waiting.pop())
        ready = multiprocessing.connection.wait([each.connection for each in workers], timeout=1.0)
        for place, worker in enumerate(workers):
            late = worker.task is not None and time.monotonic() - worker.since > limit
            if worker.connection not in ready and not late:
                continue
            try:
                if worker.connection not in ready:
                    raise EOFError
                if (outcome := worker.heard()) is None:
                    continue
            except (EOFError, ConnectionError):
                words = f"hung for {limit} s" if late else "ended the process"
                if worker.task is None:
                    raise RuntimeError("a process ended before its first input") from None
                outcome = hostile.Outcome(words, time.monotonic() - worker.since, 0)
                worker.process.kill()
                workers[place] = Worker(seed)
            task, worker.task, done = worker.task, None, done + 1
            yield task, outcome
        if time.monotonic() - told > 10.0:
            told = time.monotonic()
            left = (told - begun) / max(done, 1) * (total - done)
            tell(f"{done:,}/{total:,} inputs, {left:.0f} s left")
    for worker in workers:
        worker.connection.send(None)
        worker.process.join(5)


class Count(NamedTuple):
    """Of a loader."""

    loaded: int = 0
    refused: int = 0
    failed: int = 0
    slowest: float = 0.0
    largest: int = 0


def counted(count, outcome):
    """The count with an outcome."""
    field = outcome.words if outcome.words in ("loaded", "refused") else "failed"
    slowest, largest = max(count.slowest, outcome.seconds), max(count.largest, outcome.bytes)
    return count._replace(slowest=slowest, largest=largest, **{field: getattr(count, field) + 1})


def table(counts):
    """Lines of Markdown."""
    rows = ["| loader | inputs | loaded | refused | else | slowest | memory |", "|" + " --- |" * 7]
    for name, c in counts.items():
        number = c.loaded + c.refused + c.failed
        rows.append(
            f"| {name} | {number:,} | {c.loaded:,} | {c.refused:,} | {c.failed:,} "
            f"| {c.slowest:.2f} s | {c.largest / 1e6:.0f} MB |"
        )
    return rows


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--loader")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", default=os.path.join(tempfile.gettempdir(), "fuzz_loaders"))
    parser.add_argument("--only", type=int)
    given: Any = parser.parse_args(arguments)
    import hostile

    loaders = hostile.loaders()
    if given.only is not None:
        with tempfile.TemporaryDirectory() as folder:
            loader = loaders[given.loader]
            file, data = mutant(loader, given.only, given.seed, given.loader)
            write(folder, loader, file, data)
            loader.load(folder, file)
        return 0
    counts, failed = {}, 0
    begun = time.monotonic()
    each = tasks(loaders, given.inputs, given.loader)
    # What hangs within a library's own code hears no signal.
    for task, outcome in run(each, given.seed, given.jobs, 8 * hostile.SECONDS, print):
        counts[task.loader] = counted(counts.get(task.loader, Count()), outcome)
        if outcome.words in ("loaded", "refused"):
            continue
        failed += 1
        file, data = mutant(loaders[task.loader], task.number, given.seed, task.loader)
        os.makedirs(given.keep, exist_ok=True)
        name = f"{task.loader}-{given.seed}-{task.number}-{file}".replace(" ", "_")
        with open(os.path.join(given.keep, name), "wb") as out:
            out.write(data)
        print(f"{task.loader} {task.number}: {outcome.words}; kept as {given.keep}/{name}")
    print(*table(counts), sep="\n")
    seconds = time.monotonic() - begun
    print(f"{len(each):,} inputs in {seconds:.0f} s, seed {given.seed}: {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
