"""A file with one or several structures (xyz, extended xyz, pdb, QCSchema molecule) to its frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qcmb_mpi.errors import InputError
from qcmb_mpi.inputs import text
from qcmb_mpi.inputs.fields import Names, listed, whole_number
from qcmb_mpi.inputs.frame import Frame
from qcmb_mpi.inputs.molecule import complete
from qcmb_mpi.inputs.pdb import read_pdb
from qcmb_mpi.inputs.xyz import read_xyz

__all__ = ["kind_of", "read_lines", "read_molecule", "read_structure"]

_KINDS = {".xyz": "xyz", ".extxyz": "xyz", ".pdb": "pdb", ".ent": "pdb", ".json": "qcschema"}
_READ = ("symbols", "geometry", "fragments", "real", "atomic_numbers", "schema_name", "schema_version")
#: Fields of a molecule that mean something and have no place in QCManyBody's command-line format.
_LEFT_OUT = ("masses", "mass_numbers", "atom_labels", "connectivity")


def kind_of(path: Path) -> str:
    """``xyz``, ``pdb`` or ``qcschema``, by the end of the file's name."""
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise InputError("is of unknown kind; expected .xyz, .extxyz, .pdb or .json")
    return kind


def read_structure(path: Path) -> list[Frame]:
    """All frames of a file, at least one.

    Raises
    ------
    InputError
        If the file cannot be read, with the line or field where there is one.
    """
    kind = kind_of(path)
    return [_from_molecule(read_molecule(path))] if kind == "qcschema" else read_lines(path, kind)


def read_lines(path: Path, kind: str) -> list[Frame]:
    """The frames of an ``xyz`` or ``pdb`` file."""
    lines = text.read_text(path).splitlines()
    return read_xyz(lines) if kind == "xyz" else read_pdb(lines)


def read_molecule(path: Path) -> dict[str, Any]:
    """The molecule of a QCSchema file as it stands there."""
    content = text.read(path)
    molecule = content.get("molecule", content)
    if not isinstance(molecule, dict):
        raise InputError("holds no molecule of QCSchema")
    return dict(molecule)


def _from_molecule(raw: dict[str, Any]) -> Frame:
    """A QCSchema molecule, checked; charges that it leaves out stay left out."""
    if raw.get("symbols") is None or raw.get("geometry") is None:
        raise InputError("holds no molecule of QCSchema: expected symbols and geometry")
    checked, _ = complete({name: raw[name] for name in _READ if name in raw}, Names())
    fragments = checked["fragments"] if raw.get("fragments") is not None else None
    return Frame(
        symbols=tuple(checked["symbols"]),
        geometry=checked["geometry"],
        units="bohr",
        charge=_whole(raw, "molecular_charge"),
        multiplicity=_whole(raw, "molecular_multiplicity"),
        fragments=fragments,
        fragment_charges=_one_each(raw, "fragment_charges", fragments),
        fragment_multiplicities=_one_each(raw, "fragment_multiplicities", fragments),
        left_out=tuple(name for name in _LEFT_OUT if raw.get(name) is not None),
    )


def _whole(raw: dict[str, Any], name: str) -> int | None:
    return None if raw.get(name) is None else whole_number(raw[name], f"molecule.{name}")


def _one_each(raw: dict[str, Any], name: str, fragments: Any) -> list[int | None] | None:
    field = f"molecule.{name}"
    if raw.get(name) is None:
        return None
    values = listed(raw[name], field, "numbers, one for each fragment")
    if len(values) != len(fragments or [()]):
        raise InputError(f"has {len(values)} entries for {len(fragments or [()])} fragments", field)
    return [None if v is None else whole_number(v, f"{field}[{i}]") for i, v in enumerate(values)]
