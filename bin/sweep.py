"""Draws trained generators at several temperatures: `python bin/sweep.py --runs=runs/a,runs/b`.

Prints quality (NLL_oracle) beside diversity (NLL_test); with --out=FOLDER, keeps them in sweep.json
and sweep.png.
"""

import math

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


def positive(flag: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise ConfigError(f"--{flag}={text}: must be a number above 0")
    return value


def main() -> None:
    temperatures = [positive("temperatures", text) for text in TEMPERATURES.value]
    low = None if MIXTURE.value is None else positive("mixture", str(MIXTURE.value))
    names, console = sweep.named(RUNS.value), command_line.console()
    sweeper, curves = sweep.Sweep(RUNS.value), {}
    for name, folder in names.items():
        curves[name] = sweeper.temperatures(folder, temperatures)
        console.print(f"{name}: {len(curves[name])} temperatures", highlight=False)
        if OUT.value:  # at once, so that what is measured is never lost
            sweep.write(sweeper.real, curves, OUT.value)
    if low is not None:
        curves[sweep.CONTROL] = sweeper.mixtures(RUNS.value[0], low, _SHARES)
    console.print(sweep.table(sweeper.real, curves, AT.value))
    if OUT.value:
        sweep.write(sweeper.real, curves, OUT.value)


if __name__ == "__main__":
    command_line.run(main)
