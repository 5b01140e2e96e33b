"""Programs of bin/ in one process, one after the other: what starts them takes 2 s only once.

`python programs.py FOLDER` runs those in its standard input, a JSON list of lists of words, in a
folder, and prints the status, the output and the errors of each.
"""

import contextlib
import io
import json
import os
import pathlib
import runpy
import sys

from absl import app, flags

ROOT = pathlib.Path(__file__).resolve().parents[1]


def run(name, *arguments):
    """Runs a program; gives its exit status, its output and its errors."""
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
    for flag in set(flags.FLAGS) - before:  # the next program defines its own
        delattr(flags.FLAGS, flag)
    flags.FLAGS.unparse_flags()
    return status, output.getvalue(), errors.getvalue()


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    print(json.dumps([run(*words) for words in json.load(sys.stdin)]))
