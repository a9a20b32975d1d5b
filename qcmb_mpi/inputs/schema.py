"""QCSchema's ManyBodyInput (version 1 and 2) as a dictionary: every field checked, levels read.

Every other format is brought into this form first.  Geometry and fragments are checked in
``molecule``, the many-body keywords in ``keywords``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qcmb_mpi.errors import InputError
from qcmb_mpi.inputs.fields import (
    Names,
    Path,
    choice,
    mapping,
    nearest,
    optional_mapping,
    refuse_unknown,
    shown,
)
from qcmb_mpi.inputs.keywords import DRIVERS
from qcmb_mpi.problem import Driver, Level

__all__ = ["AUTO", "OURS", "SCHEMA_NAMES", "Specification", "is_single", "read_specification", "version_of"]

#: QCManyBody's name for the level of an input with only one.
AUTO = "(auto)"

SCHEMA_NAMES = {"qcschema_manybodyinput": 1, "qcschema_many_body_input": 2}

_NAMED = {1: ("schema_name", "schema_version"), 2: ("schema_name",)}
_TOP = {
    1: ("schema_name", "schema_version", "specification", "molecule", "extras"),
    2: ("schema_name", "schema_version", "specification", "molecule", "provenance", "id"),
}
_SPECIFICATION = {
    1: ("driver", "keywords", "protocols", "specification", "extras", *_NAMED[1]),
    2: ("driver", "keywords", "protocols", "specification", "extras", "program", *_NAMED[2]),
}
_KEYWORDS = (
    "bsse_type",
    "max_nbody",
    "levels",
    "return_total_data",
    "supersystem_ie_only",
    "embedding_charges",
)
#: Sections of ours that may stand beside the fields of any format.
OURS = ("execution", "screening")
_PROTOCOL = {1: "component_results", 2: "cluster_results"}
_ATOMIC = ("program", "model", "driver", "keywords", "protocols", "extras")
_MODEL = ("method", "basis")


@dataclass(frozen=True)
class Specification:
    """What is computed, apart from the molecule.

    Attributes
    ----------
    driver
        Derivative wanted.
    levels
        All levels the input defines, by name.
    keywords
        The many-body keywords, not yet checked against the cluster.
    keep_records
        Whether the user asked for the full record of every task.
    plain
        ``specification`` as QCManyBody's models take it: levels always named, drivers filled in.
    """

    driver: Driver
    levels: dict[str, Level]
    keywords: dict[str, Any]
    keep_records: bool
    plain: dict[str, Any]


def version_of(raw: Mapping[str, Any]) -> int:
    """Schema version of a ManyBodyInput: as stated, else by its fields, else 2."""
    name, version = raw.get("schema_name"), raw.get("schema_version")
    if name is not None and not (isinstance(name, str) and name in SCHEMA_NAMES):
        known = (*SCHEMA_NAMES, "qcmanybody_cli_input")
        hint = nearest(name, known)
        listed = "" if hint.startswith("known") else f" (known are {', '.join(known)})"
        raise InputError(f"{shown(name)} is not an input that can be read; {hint}{listed}", "schema_name")
    if version is not None and (isinstance(version, bool) or version not in (1, 2)):
        raise InputError(f"expected 1 or 2, not {shown(version)}", "schema_version")
    if name is not None and version is not None and SCHEMA_NAMES[name] != version:
        raise InputError(
            f"{version} contradicts schema_name {name!r}, version {SCHEMA_NAMES[name]}", "schema_version"
        )
    if name is not None:
        return SCHEMA_NAMES[name]
    if version is not None:
        return int(version)
    specification = raw.get("specification")
    protocols = specification.get("protocols") if isinstance(specification, Mapping) else None
    only_in_1 = "extras" in raw or (isinstance(protocols, Mapping) and _PROTOCOL[1] in protocols)
    return 1 if only_in_1 else 2


def is_single(specification: Mapping[str, Any]) -> bool:
    """Whether this is one AtomicSpecification rather than several by name."""
    return "model" in specification or isinstance(specification.get("program"), str)


def read_specification(raw: Mapping[str, Any], version: int, names: Names) -> Specification:
    """Check everything but the molecule.

    Raises
    ------
    InputError
        Unknown fields (with the nearest known one), missing ones, and wrong values.
    """
    refuse_unknown(raw, _TOP[version], names, (), OURS)
    for field in ("molecule", "specification"):
        if raw.get(field) is None:
            raise InputError("is missing", names(field))
    path: Path = ("specification",)
    outer = mapping(raw["specification"], names(*path))
    refuse_unknown(outer, _SPECIFICATION[version], names, path)
    if outer.get("driver") is None:
        raise InputError(f"is missing; one of {', '.join(DRIVERS)}", names(*path, "driver"))
    driver: Driver = choice(outer["driver"], DRIVERS, names(*path, "driver"))  # type: ignore[assignment]

    keywords = optional_mapping(outer.get("keywords"), names(*path, "keywords"))
    refuse_unknown(keywords, (*_KEYWORDS, *_NAMED[version]), names, (*path, "keywords"))
    protocols = optional_mapping(outer.get("protocols"), names(*path, "protocols"))
    refuse_unknown(protocols, (_PROTOCOL[version], *_NAMED[version]), names, (*path, "protocols"))
    where = (*path, "protocols", _PROTOCOL[version])
    records = choice(protocols.get(_PROTOCOL[version]) or "none", ("all", "none"), names(*where))

    if not outer.get("specification"):
        raise InputError("is missing: program, method and basis of each level", names(*path, "specification"))
    inner = mapping(outer["specification"], names(*path, "specification"), "levels")
    if is_single(inner):
        inner = {AUTO: inner}
        names.renamed.setdefault(
            ("specification", "specification", AUTO), names.path("specification", "specification")
        )
    plain_levels = {
        name: _atomic(level, driver, version, names, (*path, "specification", name))
        for name, level in inner.items()
    }
    keywords = {key: value for key, value in keywords.items() if value is not None}
    if isinstance(keywords.get("bsse_type"), tuple):  # QCManyBody's model takes lists only
        keywords["bsse_type"] = list(keywords["bsse_type"])
    plain = {**outer, "driver": driver, "keywords": keywords, "specification": plain_levels}
    plain = {key: value for key, value in plain.items() if value is not None}
    levels = {name: _level(name, level) for name, level in plain_levels.items()}
    keywords = {key: keywords[key] for key in _KEYWORDS if key in keywords}
    return Specification(driver, levels, keywords, records == "all", plain)


def _atomic(raw: Any, driver: Driver, version: int, names: Names, path: Path) -> dict[str, Any]:
    """One AtomicSpecification, with the driver filled in: the many-body driver counts anyway."""
    atomic = mapping(raw, names(*path))
    refuse_unknown(atomic, (*_ATOMIC, *_NAMED[version]), names, path)
    atomic = {key: value for key, value in atomic.items() if value is not None}
    _text(atomic.get("program"), names(*path, "program"), "the program that computes it, such as 'pyscf'")
    model = optional_mapping(atomic.get("model"), names(*path, "model"))
    refuse_unknown(model, (*_MODEL, "schema_name"), names, (*path, "model"))
    _text(model.get("method"), names(*path, "model", "method"), "a method such as 'hf'")
    basis = model.get("basis")
    if not (basis is None or isinstance(basis, str)):
        raise InputError(
            f"expected the name of a basis set, not {shown(basis)}", names(*path, "model", "basis")
        )
    for field in ("keywords", "protocols", "extras"):
        if field in atomic:
            atomic[field] = mapping(atomic[field], names(*path, field))
    atomic.setdefault("driver", driver)
    return atomic


def _text(value: Any, field: str, what: str) -> None:
    if value is None or value == "":
        raise InputError(f"is missing: {what}", field)
    if not isinstance(value, str):
        raise InputError(f"expected {what}, not {shown(value)}", field)


def _level(name: str, atomic: Mapping[str, Any]) -> Level:
    return Level(
        name=name,
        program=atomic["program"].strip().lower(),
        method=atomic["model"]["method"],
        basis=atomic["model"].get("basis") or None,
        keywords=dict(atomic.get("keywords", {})),
        protocols=dict(atomic.get("protocols", {})),
        extras=dict(atomic.get("extras", {})),
    )
