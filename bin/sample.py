"""Draws sequences from a trained run: `python bin/sample.py --workdir=runs/oracle-default --num=5`.

Each line is a sequence of token ids.
"""

import sys

from absl import flags

from seqgan_jax.checked import ConfigError
from seqgan_jax.training import command_line, trained, workdir

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
NUM = flags.DEFINE_integer("num", 10, "Sequences to draw.")
TEMPERATURE = flags.DEFINE_float("temperature", 1.0, "Divides the logits; below 1 sharpens.")
TOP_K = flags.DEFINE_integer("top_k", None, "Draw from the k likeliest tokens only.")
TOP_P = flags.DEFINE_float("top_p", None, "Draw from the nucleus of this probability only.")
SEED = flags.DEFINE_integer("seed", 0, "Of the draw.")
OUT = flags.DEFINE_string("out", None, "File to write; default: standard output.")


def main() -> None:
    text = trained.write_samples(
        WORKDIR.value, number=NUM.value, temperature=TEMPERATURE.value,
        top_k=TOP_K.value, top_p=TOP_P.value, seed=SEED.value,
    )  # fmt: skip
    if OUT.value is None:
        sys.stdout.write(text)
        return
    try:
        workdir.write_atomically(OUT.value, text)
    except OSError as error:
        raise ConfigError(f"--out={OUT.value}: cannot be written ({error.strerror})") from error


if __name__ == "__main__":
    command_line.run(main)
