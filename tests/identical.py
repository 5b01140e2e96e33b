"""What finished runs differ in: to be the same run is to differ in clocks alone."""

import json
import re
import struct

import jax
import numpy as np
from tensorboardX.proto import event_pb2

from seqgan_jax.training import trained

CLOCKS = {"seconds", "training_seconds", "tokens_per_second", "total_seconds"}
UNFINISHED = re.compile("tmp|partial")  # in the name of what has not been written to its end
_FOLDERS = ("checkpoints", "pretrained", "tensorboard")  # what is in them has names of its own


def without_clocks(value):
    """JSON without what the wall clock decides."""
    if isinstance(value, dict):
        return {k: without_clocks(v) for k, v in value.items() if k not in CLOCKS}
    return [without_clocks(v) for v in value] if isinstance(value, list) else value


def metrics(folder):
    """The lines of metrics.jsonl."""
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [without_clocks(json.loads(line)) for line in text.splitlines()]


def parameters(folder, pretrained):
    """Every leaf of the newest checkpoint, as bits."""
    state = trained.read(str(folder), pretrained=pretrained).state
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        # Bytes, since NaN, which stands for what has no value yet, is not equal to itself.
        found[jax.tree_util.keystr(path)] = leaf.dtype, leaf.shape, np.asarray(leaf).tobytes()
    return found


def _records(path):
    """The whole records of a file of events; a kill may have torn the last."""
    content, at = path.read_bytes(), 0
    while at + 12 <= len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        if at + 16 + length > len(content):
            return
        yield event_pb2.Event.FromString(content[at + 12 : at + 12 + length])
        at += 16 + length


def events(folder):
    """`(tag, step)` -> values, as TensorBoard shows them: a restart purges from its step on."""
    found = {}
    for path in sorted((folder / "tensorboard").iterdir()):
        for event in _records(path):
            if event.session_log.status == event_pb2.SessionLog.START:
                found = {place: v for place, v in found.items() if place[1] < event.step}
            for value in event.summary.value:
                if value.tag.rpartition("/")[2] not in CLOCKS:
                    found.setdefault((value.tag, event.step), []).append(value.simple_value)
    return found


def _files(folder):
    """The files that stand in a run's folder itself, but for what only its clock decides."""
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    special = {"metrics.jsonl", "summary.json", "config.json", *_FOLDERS}
    return {name: (folder / name).read_bytes() for name in names - special}


def _compared(what, one, other):
    """What two mappings differ in, named."""
    absent = [f"{what}: {name} is missing" for name in one.keys() - other.keys()]
    new = [f"{what}: {name} is new" for name in other.keys() - one.keys()]
    both = one.keys() & other.keys()
    return absent + new + [
        f"{what}: {name} differs" for name in both if one[name] != other[name]
    ]  # fmt: skip


def differences(one, other):
    """What a run's folder, the other, has otherwise than that of an uninterrupted one.

    Compared are, to the bit: every leaf of both last checkpoints, metrics.jsonl and summary.json
    but for clocks, TensorBoard's events, which must be there once each, the steps of the
    checkpoints kept, and all other files. Nothing unfinished may be left.
    """
    found = [f"{path} is left" for path in other.rglob("*") if UNFINISHED.search(path.name)]
    found += _compared("files", _files(one), _files(other))
    lines = [dict(enumerate(metrics(folder))) for folder in (one, other)]
    found += _compared("metrics.jsonl, line", *lines)
    both = [json.loads((folder / "summary.json").read_text()) for folder in (one, other)]
    found += _compared("summary.json", *map(without_clocks, both))
    found += _compared("tensorboard", *map(events, (one, other)))
    for name in ("checkpoints", "pretrained"):
        steps = [{path.name: 0 for path in (folder / name).iterdir()} for folder in (one, other)]
        found += _compared(name, *steps)
        found += _compared(name, *(parameters(each, name == "pretrained") for each in (one, other)))
    return found
