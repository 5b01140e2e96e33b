"""Draws trained generators at several temperatures: `python bin/sweep.py --runs=runs/a,runs/b`.

Prints quality (NLL_oracle) beside diversity (NLL_test);
--out=FOLDER keeps sweep.json and sweep.png.
"""

import os

from absl import flags

from seqgan_jax.checked import ConfigError
from seqgan_jax.training import command_line, sweep

RUNS = flags.DEFINE_list("runs", None, "Folders of runs on the same data.", required=True)
TEMPERATURES = flags.DEFINE_list("temperatures", ["1.1", "1", "0.9", "0.8", "0.7"], "Of each run.")
MIXTURE = flags.DEFINE_float(
    "mixture", None, "Adds a control: the first run's samples at 1 and at this temperature, mixed."
)
AT = flags.DEFINE_float("at", 8.7, "NLL_oracle at which curves are compared.")
OUT = flags.DEFINE_string("out", None, "Folder for sweep.json and sweep.png.")
_SHARES = (0.05, 0.1, 0.2, 0.3, 0.5)


def read_temperatures() -> list[float]:
    try:
        values = [float(value) for value in TEMPERATURES.value]
    except ValueError as error:
        raise ConfigError(f"--temperatures={','.join(TEMPERATURES.value)}: {error}") from error
    if not values or min(values) <= 0.0:
        raise ConfigError(f"--temperatures={','.join(TEMPERATURES.value)}: must be above 0")
    return values


def main() -> None:
    temperatures, console = read_temperatures(), command_line.console()
    if MIXTURE.value is not None and not MIXTURE.value > 0.0:
        raise ConfigError(f"--mixture={MIXTURE.value}: must be above 0")
    curves, sweeper = {}, sweep.Sweep(RUNS.value[0])
    for folder in RUNS.value:
        console.print(f"{folder}: {len(temperatures)} temperatures", highlight=False)
        curves[os.path.basename(os.path.normpath(folder))] = sweeper.temperatures(
            folder, temperatures
        )
    if MIXTURE.value is not None:
        curves["mixture"] = sweeper.mixtures(RUNS.value[0], MIXTURE.value, _SHARES)
    console.print(sweep.table(curves, AT.value))
    if OUT.value:
        sweep.write(curves, OUT.value)


if __name__ == "__main__":
    command_line.run(main)
