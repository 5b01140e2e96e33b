"""Pictures as files."""

from __future__ import annotations

import io

import matplotlib.figure

_DPI = 130


def png(figure: matplotlib.figure.Figure) -> bytes:
    """The picture's file; the same on every machine that draws alike."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()
