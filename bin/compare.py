"""Trains several methods under one config and reports on them side by side.

  python bin/compare.py --config=configs/oracle.py:compare --out=runs/table1
The paper's Table 1; `--methods` names others. The seeds of a method are trained side by side, as
one computation. The same command again resumes.
"""

import signal

if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
    # While modules are imported, Python's own handler may be swallowed, or break them off in C.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from absl import flags

from seqgan_jax.reporting import compare
from seqgan_jax.training import command_line

command_line.define_config()
METHODS = flags.DEFINE_list(
    "methods",
    "mle,scheduled_sampling,pg_bleu,seqgan,constant_reward,random_reward",
    "Methods to compare, by the names that --config.method takes.",
)
NUM_SEEDS = flags.DEFINE_integer("num_seeds", 3, "Runs of each, from --config.seed on.")
OUT = flags.DEFINE_string("out", None, "Folder of the runs and the report.", required=True)


def main() -> None:
    hparams = command_line.read_config()
    compare.run(hparams, METHODS.value, NUM_SEEDS.value, OUT.value, command_line.console())


if __name__ == "__main__":
    command_line.run(main)
