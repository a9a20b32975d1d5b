"""What the sections of a page are made of: tables, plots and numbers as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from qcmb_mpi.problem import Level
from qcmb_mpi.report.gathered import Gathered
from qcmb_mpi.report.plots import FIGURES, have_matplotlib, svg

__all__ = ["model", "number", "plot", "table"]


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numeric: str, open_rows: str = "") -> str:
    """A table; ``n`` in ``numeric`` marks a column of numbers, ``o`` in ``open_rows`` a row to point out."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=n' if kind == 'n' else ''}>{escape(cell)}</{tag}>"
            for cell, kind in zip(cells, numeric, strict=True)
        )

    body = "\n".join(
        f"<tr{' class=open' if open_rows[i : i + 1] == 'o' else ''}>{line(row, 'td')}</tr>"
        for i, row in enumerate(rows)
    )
    head = f"<thead><tr>{line(header, 'th')}</tr></thead>"
    return f'<div class="wide"><table>{head}\n<tbody>{body}</tbody></table></div>'


def plot(name: str, gathered: Gathered) -> str:
    draw, caption = FIGURES[name]
    if not have_matplotlib():
        return ""
    picture = svg(draw, gathered)
    if not picture:
        return ""
    return (
        f'<figure role="img" aria-label="{escape(caption)}">{picture}'
        f"<figcaption>{escape(caption)}.</figcaption></figure>"
    )


def model(level: Level) -> str:
    return f"{level.method}/{level.basis}" if level.basis else level.method


def number(value: float | None, factor: float = 1.0, digits: int = 8) -> str:
    return "–" if value is None else f"{value * factor:,.{digits}f}".replace("-", "−")
