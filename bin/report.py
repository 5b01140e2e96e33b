"""Tables, pictures and a page of runs: `python bin/report.py runs/text-0 runs/text-1 --out=report`.

Runs whose names differ only in a last number, and whose settings only in the seed, are averaged.
report.html holds all of it and asks for no network; report.md links to the pictures beside it.
"""

from absl import flags

from seqgan_jax.reporting import report
from seqgan_jax.training import command_line

OUT = flags.DEFINE_string(
    "out", None, "Folder for report.md, report.html and pictures.", required=True
)


def main(folders: list[str]) -> None:
    report.write(folders, OUT.value, command_line.console())


if __name__ == "__main__":
    command_line.run(main, positional=True)
