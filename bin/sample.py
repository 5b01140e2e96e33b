"""Draws sequences from a trained run: `python bin/sample.py --workdir=runs/text-default --num=5`.

Text as lines, poems as stanzas, melodies as note names; with --out=FOLDER, melodies as MIDI files
and piano rolls.
"""

import sys

from absl import flags

from seqgan_jax.atomic import write_atomically
from seqgan_jax.checked import ConfigError
from seqgan_jax.data.pitch_codec import PitchCodec
from seqgan_jax.training import command_line, outputs, trained

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
NUM = flags.DEFINE_integer("num", 10, "Sequences to draw.")
PREFIX = flags.DEFINE_string("prefix", "", "Beginning that every sequence continues.")
TEMPERATURE = flags.DEFINE_float("temperature", 1.0, "Divides the logits; below 1 sharpens.")
TOP_K = flags.DEFINE_integer("top_k", None, "Draw from the k likeliest tokens only.")
TOP_P = flags.DEFINE_float("top_p", None, "Draw from the nucleus of this probability only.")
SEED = flags.DEFINE_integer("seed", 0, "Of the draw.", lower_bound=0, upper_bound=2**32 - 1)
PRETRAINED = flags.DEFINE_bool("pretrained", False, "Draw from the state after maximum likelihood.")
BEST = flags.DEFINE_bool("best", False, "Draw from the best checkpoint (evaluation.best_metric).")
OUT = flags.DEFINE_string(
    "out", None, "File to write, or, of melodies, folder for MIDI. Default: standard output."
)


def main() -> None:
    run = trained.read(WORKDIR.value, PRETRAINED.value, best=BEST.value)
    sequences = trained.draw(
        run, number=NUM.value, temperature=TEMPERATURE.value, top_k=TOP_K.value,
        top_p=TOP_P.value, prefix=PREFIX.value, seed=SEED.value,
    )  # fmt: skip
    codec = run.outline.codec
    text = outputs.laid_out(sequences, codec)
    if OUT.value is None:
        sys.stdout.write(text)
        return
    try:
        if isinstance(codec, PitchCodec):
            outputs.write_music(OUT.value, sequences.tokens, codec)
        else:
            write_atomically(OUT.value, text)
    except FileExistsError as error:
        raise ConfigError(f"--out={OUT.value}: is a file; melodies need a folder") from error
    except OSError as error:
        raise ConfigError(f"--out={OUT.value}: cannot be written ({error.strerror})") from error


if __name__ == "__main__":
    command_line.run(main)
