"""Small inputs that the tests of this folder change in one place each."""

from __future__ import annotations

import copy
from typing import Any

#: Water trimer, bohr.
WATERS = {
    "symbols": ["O", "H", "H"] * 3,
    "geometry": [
        *(0.0, 0.0, 0.0, 1.4, 1.1, 0.0, -1.4, 1.1, 0.0),
        *(6.0, 0.0, 0.0, 7.4, 1.1, 0.0, 4.6, 1.1, 0.0),
        *(0.0, 6.0, 0.0, 1.4, 7.1, 0.0, -1.4, 7.1, 0.0),
    ],
    "fragments": [[0, 1, 2], [3, 4, 5], [6, 7, 8]],
}

HF = {"program": "pyscf", "driver": "energy", "model": {"method": "hf", "basis": "sto-3g"}}
MP2 = {"program": "pyscf", "driver": "energy", "model": {"method": "mp2", "basis": "cc-pvdz"}}


def schema(molecule: Any = None, **keywords: Any) -> dict[str, Any]:
    """A ManyBodyInput of version 2 on the water trimer."""
    return {
        "schema_name": "qcschema_many_body_input",
        "schema_version": 2,
        "molecule": copy.deepcopy(WATERS if molecule is None else molecule),
        "specification": {
            "driver": "energy",
            "keywords": {"bsse_type": ["cp"], **keywords},
            "specification": copy.deepcopy(HF),
        },
    }


def schema_v1(molecule: Any = None, **keywords: Any) -> dict[str, Any]:
    """The same of version 1."""
    return {**schema(molecule, **keywords), "schema_name": "qcschema_manybodyinput", "schema_version": 1}


def leveled(levels: dict[Any, str], **keywords: Any) -> dict[str, Any]:
    """The same with the levels ``hf`` and ``mp2``."""
    return changed(
        schema(levels=levels, **keywords),
        "specification.specification",
        {"hf": copy.deepcopy(HF), "mp2": copy.deepcopy(MP2)},
    )


def flat(**keywords: Any) -> dict[str, Any]:
    """The guide's flat form."""
    return {
        "molecule": copy.deepcopy(WATERS),
        "driver": "energy",
        "specification": {"program": "pyscf", "method": "hf", "basis": "sto-3g"},
        "keywords": {"bsse_type": ["cp"], **keywords},
    }


def cli(**sections: Any) -> dict[str, Any]:
    """QCManyBody's command-line format, helium trimer."""
    return {
        "schema_name": "qcmanybody_cli_input",
        "schema_version": 1,
        "molecule": {
            "source": "inline",
            "inline": {
                "symbols": ["He", "He", "He"],
                "geometry": [[0.0, 0.0, 0.0], [0.0, 0.0, 3.0], [0.0, 0.0, 6.0]],
                "fragments": [[0], [1], [2]],
                "units": "angstrom",
            },
        },
        "calculation": {
            "type": "single",
            "single": {"driver": "energy", "method": "mp2", "basis": "cc-pvdz", "program": "pyscf"},
        },
        "bsse": {"type": ["cp"]},
        "manybody": {"max_nbody": 3},
        **sections,
    }


def multi(levels: dict[Any, Any], **sections: Any) -> dict[str, Any]:
    """The same with several levels, each ``(method, basis)`` in PySCF."""
    groups = {k: {"method": m, "basis": b, "program": "pyscf"} for k, (m, b) in levels.items()}
    calculation = {"type": "multi", "multi": {"driver": "energy", "levels": groups}}
    return cli(calculation=calculation, manybody={}, **sections)


def changed(raw: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with the field at a dotted path set, or taken out where value is ``...``."""
    raw = copy.deepcopy(raw)
    *groups, last = path.split(".")
    inner = raw
    for group in groups:
        inner = inner[group]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return raw


#: Two sodium and one chloride ion, bohr.
IONS = {
    "symbols": ["Na", "Cl", "Na"],
    "geometry": [0, 0, 0, 0, 0, 5, 0, 0, 10],
    "fragments": [[0], [1], [2]],
    "fragment_charges": [1, -1, 1],
}

#: Two hydroxyl radicals, bohr.
RADICALS = {
    "symbols": ["O", "H", "O", "H"],
    "geometry": [0, 0, 0, 0, 0, 1.83, 6, 0, 0, 6, 0, 1.83],
    "fragments": [[0, 1], [2, 3]],
}
