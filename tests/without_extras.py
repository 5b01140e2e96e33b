"""What a user without the extras can do: `python without_extras.py FOLDER MODULE...` hides modules.

Writes what came of it to the standard output, as JSON; supply_test.py reads it.
"""

import importlib
import importlib.abc
import json
import pathlib
import pkgutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


class Hidden(importlib.abc.MetaPathFinder):
    """Has some packages seem not to be installed."""

    def __init__(self, names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def main(folder, *names):
    sys.meta_path.insert(0, Hidden(names))
    import seqgan_jax

    modules = [m.name for m in pkgutil.walk_packages(seqgan_jax.__path__, "seqgan_jax.")]
    for module in modules:
        importlib.import_module(module)
    names = sorted(path.name for path in (ROOT / "bin").glob("*.py"))
    music = [f"--config={ROOT}/configs/music.py:smoke", f"--config.data.path={ROOT}/README.md"]

    import programs
    import tiny_run

    found = {
        "modules": modules,
        "help": {name: programs.run(name, "--help") for name in names},
        "music": programs.run("train.py", *music, f"--workdir={folder}/music"),
        "bleu": programs.run("benchmark.py", "--bleu"),
        "oracle": tiny_run.run(tiny_run.TINY, f"{folder}/oracle"),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
