"""What a user without the extras can do: `python without_extras.py FOLDER MODULE...` hides modules.

Writes what came of it to the standard output, as JSON; supply_test.py reads it.
"""

import contextlib
import importlib
import importlib.abc
import io
import json
import pathlib
import pkgutil
import runpy
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


class Hidden(importlib.abc.MetaPathFinder):
    """Has some packages seem not to be installed."""

    def __init__(self, names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def program(name, *arguments):
    """Runs a program of bin/ in this process; gives its exit status, output and errors."""
    from absl import app, flags

    app.define_help_flags()  # once for all
    before = set(flags.FLAGS)
    output, errors = io.StringIO(), io.StringIO()
    sys.argv = [str(ROOT / "bin" / name), *arguments]
    status = 0
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as error:
            status = error.code
    flags.FLAGS.unparse_flags()
    for flag in set(flags.FLAGS) - before:  # the next program defines its own
        delattr(flags.FLAGS, flag)
    return status, output.getvalue(), errors.getvalue()


def main(folder, *names):
    sys.meta_path.insert(0, Hidden(names))
    import seqgan_jax

    modules = [m.name for m in pkgutil.walk_packages(seqgan_jax.__path__, "seqgan_jax.")]
    for module in modules:
        importlib.import_module(module)
    programs = sorted(path.name for path in (ROOT / "bin").glob("*.py"))
    music = [f"--config={ROOT}/configs/music.py:smoke", f"--config.data.path={ROOT}/README.md"]

    import tiny_run

    found = {
        "modules": modules,
        "help": {name: program(name, "--help") for name in programs},
        "music": program("train.py", *music, f"--workdir={folder}/music"),
        "bleu": program("benchmark.py", "--bleu"),
        "oracle": tiny_run.run(tiny_run.TINY, f"{folder}/oracle"),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
