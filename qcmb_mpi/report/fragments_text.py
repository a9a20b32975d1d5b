"""The fragments of a structure as a table: each by itself, or those of a kind together.

Only formats; what the fragments are comes from elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Row", "fragments_table"]

#: Up to so many fragments have a line each.
EACH = 12
#: Columns that numbers of fragments or atoms may fill.
WIDEST = 32


@dataclass(frozen=True)
class Row:
    """One fragment.

    Attributes
    ----------
    formula
        Its formula.
    atoms
        Its atoms as text, numbered from 1.
    n_atoms, charge, multiplicity
        As they are.
    """

    formula: str
    atoms: str
    n_atoms: int
    charge: int
    multiplicity: int


def fragments_table(rows: Sequence[Row]) -> str:
    """A table with number, formula, atoms, charge and multiplicity."""
    head = f"{'formula':<14} {{}} {'charge':>7} {'multiplicity':>13}"
    if len(rows) <= EACH:
        lines = [f"{'fragment':>8}  " + head.format(f"{'atoms':<{WIDEST}}")]
        for number, row in enumerate(rows, 1):
            line = f"{number:>8}  {row.formula:<14} {_short(row.atoms):<{WIDEST}}"
            lines.append(f"{line} {_signed(row.charge):>7} {row.multiplicity:>13}")
        return "\n".join(lines)
    kinds: dict[tuple[str, int, int, int], list[int]] = {}
    for number, row in enumerate(rows, 1):
        kinds.setdefault((row.formula, row.n_atoms, row.charge, row.multiplicity), []).append(number)
    lines = [f"{'count':>8}  {head.format('atoms each')}  fragments"]
    for (formula, n_atoms, charge, multiplicity), numbers in kinds.items():
        line = f"{len(numbers):>8}  {formula:<14} {n_atoms:>10} {_signed(charge):>7} {multiplicity:>13}"
        lines.append(f"{line}  {_short(_runs(numbers))}")
    return "\n".join(lines)


def _runs(numbers: Sequence[int]) -> str:
    """Ascending numbers as ``1-3, 7``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)


def _signed(charge: int) -> str:
    return f"{charge:+d}" if charge else "0"


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else text[: WIDEST - 3] + "..."
