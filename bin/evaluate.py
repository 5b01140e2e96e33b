"""Measures trained runs: `python bin/evaluate.py --workdir=runs/text-default`.

Every metric that applies, of real data and of the generator after maximum likelihood and now, on
screen and in evaluation.json in the run's folder; with --samples=FILE, of sequences of any origin.
With --sweep=temperature, quality against diversity at several temperatures instead: --workdir=a,b.
"""

from absl import flags

from seqgan_jax.checked import ConfigError
from seqgan_jax.reporting import evaluate, sweep
from seqgan_jax.training import command_line, workdir

WORKDIR = flags.DEFINE_list("workdir", None, "Folders of runs.", required=True)
NUM = flags.DEFINE_integer("num", None, "Sequences measured of each kind. Default: up to 10,000.")
SEED = flags.DEFINE_integer(
    "seed", 0, "Of all draws.", lower_bound=0, upper_bound=2**32 - 1
)  # fmt: skip
SAMPLES = flags.DEFINE_string("samples", None, "A file of sequences, one a line, to measure too.")
LM_EPOCHS = flags.DEFINE_integer(
    "lm_epochs", 10, "Of the models behind the LM scores, at most; 0: no LM scores.",
    lower_bound=0, upper_bound=10_000,
)  # fmt: skip
SWEEP = flags.DEFINE_enum("sweep", None, ["temperature"], "Draws each generator at several of it.")
TEMPERATURES = flags.DEFINE_list("temperatures", ["1.2", "1", "0.9", "0.8", "0.7"], "Of the sweep.")
MIXTURE = flags.DEFINE_string(
    "mixture", None, "Adds a control: the first run's samples at 1 and at this temperature, mixed."
)
AT = flags.DEFINE_float(
    "at", None, "NLL_oracle (default 8.7), or BLEU-5 of real data, at which curves are compared."
)
OUT = flags.DEFINE_string("out", None, "Folder for sweep.json and sweep.png of all runs together.")


def main() -> None:
    console = command_line.console()
    if not WORKDIR.value or not all(WORKDIR.value):
        raise ConfigError(f"--workdir={','.join(WORKDIR.value)}: names no folder; give a run's")
    folders = workdir.expanded(WORKDIR.value)
    if SWEEP.value and SAMPLES.value:
        raise ConfigError(f"--samples={SAMPLES.value}: has no temperature; leave out --sweep")
    if SWEEP.value:
        temperatures = [sweep.temperature_of("temperatures", word) for word in TEMPERATURES.value]
        low = None if MIXTURE.value is None else sweep.temperature_of("mixture", MIXTURE.value)
        settings = sweep.Settings(temperatures, low, AT.value, OUT.value, NUM.value, SEED.value)
        sweep.run(folders, settings, console)
        return
    options = evaluate.Options(NUM.value, SEED.value, SAMPLES.value, LM_EPOCHS.value)
    for folder in folders:
        if len(folders) > 1:
            console.print(f"{folder}:", highlight=False)
        evaluate.evaluate(folder, options, console)


if __name__ == "__main__":
    command_line.run(main)
