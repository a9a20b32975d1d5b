"""Small clusters and inputs on them, in QCSchema's form; geometries in bohr."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

WATER = ("O", (0.0, 0.0, 0.0)), ("H", (1.43, 1.11, 0.05)), ("H", (-1.43, 1.11, -0.05))
HYDROXYL = ("O", (0.0, 0.0, 0.0)), ("H", (0.3, 0.0, 1.81))
HYDROGEN = ("H", (0.0, 0.0, 0.0)), ("H", (0.2, 0.1, 1.4))


def _atom(symbol: str) -> Any:
    return ((symbol, (0.0, 0.0, 0.0)),)


def cluster(
    *fragments: tuple[Any, tuple[float, float, float]],
    charges: Sequence[int] | None = None,
    multiplicities: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Fragments, each ``(atoms, position)``, as a QCSchema molecule."""
    symbols, geometry, members = [], [], []
    for atoms, shift in fragments:
        members.append(list(range(len(symbols), len(symbols) + len(atoms))))
        for symbol, position in atoms:
            symbols.append(symbol)
            geometry.extend(round(x + dx, 8) for x, dx in zip(position, shift, strict=True))
    charges = list(charges or [0] * len(fragments))
    multiplicities = list(multiplicities or [1] * len(fragments))
    return {
        "symbols": symbols,
        "geometry": geometry,
        "fragments": members,
        "fragment_charges": [float(charge) for charge in charges],
        "fragment_multiplicities": multiplicities,
        "molecular_charge": float(sum(charges)),
        "molecular_multiplicity": sum(multiplicities) - len(multiplicities) + 1,
        "fix_com": True,
        "fix_orientation": True,
    }


def waters(n: int) -> dict[str, Any]:
    """Water molecules on a skewed grid, so that no two of them have the same neighbours."""
    return cluster(
        *((WATER, (5.6 * (i % 2) + 0.3 * i, 5.8 * (i // 2 % 2), 5.9 * (i // 4))) for i in range(n))
    )


#: A sodium ion and two waters.
IONS = cluster(
    (_atom("Na"), (0.0, 0.0, 0.0)), (WATER, (0.0, 4.4, 0.0)), (WATER, (4.9, 0.2, 1.0)), charges=[1, 0, 0]
)

#: A hydroxyl radical, a water molecule and a helium atom.
RADICAL = cluster(
    (HYDROXYL, (0.0, 0.0, 0.0)),
    (WATER, (5.2, 0.0, 0.4)),
    (_atom("He"), (0.0, 5.0, 0.0)),
    multiplicities=[2, 1, 1],
)

#: Four neutral atoms.
ATOMS = cluster(
    (_atom("He"), (0.0, 0.0, 0.0)),
    (_atom("Ne"), (4.8, 0.0, 0.0)),
    (_atom("He"), (0.0, 4.1, 1.0)),
    (_atom("He"), (3.9, 4.3, 2.0)),
)

#: Three hydrogen molecules, a pair of them, and one with an atom beside it.
HYDROGENS = cluster((HYDROGEN, (0, 0, 0)), (HYDROGEN, (4.3, 0.1, 0)), (HYDROGEN, (0.2, 4.5, 0.3)))
PAIR = cluster((HYDROGEN, (0, 0, 0)), (HYDROGEN, (4.1, 0.3, 0.2)))
UNEVEN = cluster((HYDROGEN, (0, 0, 0)), (_atom("He"), (3.6, 0.4, 0.3)))

HF = {"program": "pyscf", "method": "hf", "basis": "sto-3g"}
HF_WIDER = {"program": "pyscf", "method": "hf", "basis": "6-31g"}
MP2 = {"program": "pyscf", "method": "mp2", "basis": "6-31g"}
GFN2 = {"program": "tblite", "method": "gfn2-xtb"}


def shuffled(molecule: Mapping[str, Any], order: Sequence[int]) -> dict[str, Any]:
    """The same cluster with its atoms in another order: the new atom ``i`` is the old ``order[i]``."""
    place = {old: new for new, old in enumerate(order)}
    xyz = [molecule["geometry"][3 * i : 3 * i + 3] for i in range(len(order))]
    return {
        **copy.deepcopy(dict(molecule)),
        "symbols": [molecule["symbols"][old] for old in order],
        "geometry": [number for old in order for number in xyz[old]],
        "fragments": [[place[old] for old in fragment] for fragment in molecule["fragments"]],
    }


def many_body(
    molecule: Mapping[str, Any],
    *,
    driver: str = "energy",
    level: Mapping[str, Any] | None = None,
    named: Mapping[str, Mapping[str, Any]] | None = None,
    version: int = 2,
    records: str | None = None,
    execution: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> dict[str, Any]:
    """A ManyBodyInput of either version, as a dictionary.

    Parameters
    ----------
    level
        Program, method, basis and keywords of the only level.
    named
        The same of several, by name.
    records
        The protocol: whether every task's full record is kept.
    execution
        The section on how to run.
    keywords
        Of the expansion.
    """
    if named is None:
        specification = _specification(level or HF, driver)
    else:
        specification = {name: _specification(one, driver) for name, one in named.items()}
    whole: dict[str, Any] = {
        "schema_name": {1: "qcschema_manybodyinput", 2: "qcschema_many_body_input"}[version],
        "schema_version": version,
        "molecule": copy.deepcopy(dict(molecule)),
        "specification": {"driver": driver, "keywords": keywords, "specification": specification},
    }
    if records is not None:
        name = {1: "component_results", 2: "cluster_results"}[version]
        whole["specification"]["protocols"] = {name: records}
    if execution is not None:
        whole["execution"] = dict(execution)
    return whole


def _specification(level: Mapping[str, Any], driver: str) -> dict[str, Any]:
    model = {name: level[name] for name in ("method", "basis") if name in level}
    return {
        "program": level["program"],
        "driver": driver,
        "model": model,
        "keywords": dict(level.get("keywords", {})),
    }
