"""Trains a generator: `python bin/train.py --config=configs/oracle.py`.

Any field of the config is a flag: `--config.model.hidden_dim=64`. The same command again resumes.
On several hosts it is started on each; docs/scaling.md tells how.
"""

import signal

if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
    # While modules are imported, Python's own handler may be swallowed, or break them off in C.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from absl import flags

from seqgan_jax.training import command_line
from seqgan_jax.training.loop import Trainer

command_line.define_config()
command_line.define_hosts()
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run. Default: runs/<config>-<variant>."
)


def main() -> None:
    hparams = command_line.read_config()
    workdir = command_line.default_workdir() if WORKDIR.value is None else WORKDIR.value
    Trainer(hparams, workdir, command_line.console()).run()


if __name__ == "__main__":
    command_line.run(main)
