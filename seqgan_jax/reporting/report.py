"""Runs to report.md, report.html and pictures: what bin/report.py calls."""

from __future__ import annotations

import os

import rich.console

from seqgan_jax.atomic import write_atomically
from seqgan_jax.checked import ConfigError
from seqgan_jax.reporting import content, groups, markdown, page, reading, table

PAGE_FILE, MARKDOWN_FILE = "report.html", "report.md"


def write(folders: list[str], out: str, console: rich.console.Console) -> list[str]:
    """Reports on runs, finished or not.

    Args:
      folders: of runs.
      out: folder for what is written; made if missing.
      console: told what was written; on a terminal, shown the table too.

    Returns:
      Paths of the files that were written.

    Raises:
      ConfigError: no folder; two of one name; one that holds no run, or a damaged one; or `out`
        cannot be written.
      DataError: the data kept in a folder are damaged.
    """
    sections = content.sections(groups.parts(reading.read_runs(folders)))
    rolls = [exhibit.roll for section in sections for exhibit in section.exhibits]
    pictures = [picture for section in sections for picture in section.pictures]
    pictures += [roll for roll in rolls if roll is not None]
    # All is made before anything is written, and the pictures before the files that show them.
    texts = {MARKDOWN_FILE: markdown.render(sections), PAGE_FILE: page.render(sections)}
    paths = [os.path.join(out, name) for name in (*texts, *(each.name for each in pictures))]
    try:
        os.makedirs(out, exist_ok=True)
        for picture in pictures:
            write_atomically(os.path.join(out, picture.name), picture.png)
        for name, text in texts.items():
            write_atomically(os.path.join(out, name), text)
    except OSError as error:
        raise ConfigError(f"--out={out}: cannot be written ({error.strerror})") from error
    if console.is_terminal:
        for section in sections:
            console.print(table.on_terminal(section.table))
    console.print("wrote " + ", ".join(paths), highlight=False, soft_wrap=True)
    return paths
