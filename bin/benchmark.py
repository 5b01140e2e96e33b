"""Measures speed as ratios taken in one run: `python bin/benchmark.py`."""

from absl import flags

from seqgan_jax.training import benchmark, command_line

VOCAB_SIZE = flags.DEFINE_integer("vocab_size", 5000, "V.", lower_bound=1)
BATCH_SIZES = flags.DEFINE_multi_integer("batch_size", [64, 256, 1024], "B; may be repeated.")


def main() -> None:
    table = benchmark.token_draws(VOCAB_SIZE.value, BATCH_SIZES.value)
    command_line.console().print(table)


if __name__ == "__main__":
    command_line.run(main)
