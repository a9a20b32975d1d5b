"""QCManyBody's command-line format (``qcmanybody_cli_input``, version 1), brought into QCSchema's.

Knows where each of its fields goes; what their values may be is checked there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcmb_mpi.errors import InputError
from qcmb_mpi.inputs.fields import (
    Names,
    choice,
    dotted,
    flag,
    mapping,
    optional_mapping,
    refuse_unknown,
    shown,
)
from qcmb_mpi.inputs.fields import Path as Place
from qcmb_mpi.inputs.geometry_file import read_geometry, to_bohr
from qcmb_mpi.inputs.schema import AUTO, OURS

__all__ = ["NAME", "OUTPUT_FORMATS", "is_cli", "to_schema"]

NAME = "qcmanybody_cli_input"

OUTPUT_FORMATS = ("json", "yaml", "text")

_TOP = ("schema_name", "schema_version", "molecule", "calculation", "bsse", "manybody", "program", "output")
_SOURCES = ("inline", "xyz", "pdb", "qcschema")
_CHARGES = ("molecular_charge", "molecular_multiplicity", "fragment_charges", "fragment_multiplicities")
_LEVEL = ("method", "basis", "program")
_KEYWORDS: Place = ("specification", "keywords")
_BSSE_TYPE: Place = (*_KEYWORDS, "bsse_type")
_ORDERS: Place = (*_KEYWORDS, "levels")
_LEVELS: Place = ("specification", "specification")


def is_cli(raw: Mapping[str, Any]) -> bool:
    """Whether this is QCManyBody's command-line format."""
    return raw.get("schema_name") == NAME or ("calculation" in raw and "specification" not in raw)


def to_schema(raw: Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], Names]:
    """QCSchema's version 2 of an input in this format, and where its fields came from.

    Parameters
    ----------
    raw
        The input without ``execution`` and ``screening``.
    folder
        Where the paths of geometry files begin: the input file's folder.
    """
    here = Names()
    refuse_unknown(raw, _TOP, here, (), OURS)
    if raw.get("schema_name", NAME) != NAME:
        raise InputError(f"expected {NAME!r}, not {shown(raw['schema_name'])}", "schema_name")
    if raw.get("schema_version", 1) != 1:
        raise InputError(f"only version 1 is known, not {shown(raw['schema_version'])}", "schema_version")
    for section in ("molecule", "calculation"):
        if raw.get(section) is None:
            raise InputError("is missing", section)
    renamed: dict[Place, Place] = {("specification", "driver"): ("calculation", "driver")}
    molecule = _molecule(mapping(raw["molecule"], "molecule"), folder, renamed)
    program = optional_mapping(raw.get("program"), "program")
    refuse_unknown(program, ("keywords",), here, ("program",))
    keywords = optional_mapping(program.get("keywords"), "program.keywords")
    driver, levels, orders = _calculation(mapping(raw["calculation"], "calculation"), keywords, renamed)
    many_body = _many_body(raw, here, renamed)
    if orders is not None:
        many_body["levels"] = orders
    _check_output(optional_mapping(raw.get("output"), "output"))
    specification = {"driver": driver, "keywords": many_body, "specification": levels}
    return {"molecule": molecule, "specification": specification}, Names(renamed)


def _many_body(raw: Mapping[str, Any], here: Names, renamed: dict[Place, Place]) -> dict[str, Any]:
    many_body = optional_mapping(raw.get("manybody"), "manybody")
    known = ("max_nbody", "return_total_data", "supersystem_ie_only", "embedding_charges")
    refuse_unknown(many_body, known, here, ("manybody",))
    bsse = {} if raw.get("bsse") is None else raw["bsse"]
    if isinstance(bsse, Mapping):
        bsse = mapping(bsse, "bsse")
        refuse_unknown(bsse, ("type",), here, ("bsse",))
        renamed[_BSSE_TYPE] = ("bsse", "type")
        bsse = bsse.get("type")
    else:
        renamed[_BSSE_TYPE] = ("bsse",)
    renamed[_KEYWORDS] = ("manybody",)
    return many_body if bsse is None else {**many_body, "bsse_type": bsse}


def _molecule(section: dict[str, Any], folder: Path, renamed: dict[Place, Place]) -> dict[str, Any]:
    here = Names()
    path: Place = ("molecule",)
    source = section.get("source") or "inline"
    if source == "file":  # an earlier spelling: the kind is that of the file
        group = mapping(section.get("file"), "molecule.file")
        refuse_unknown(group, ("file", "fragments", *_CHARGES), here, ("molecule", "file"))
        refuse_unknown(section, ("source", "file", "inline"), here, path)
        return _from_file(group, None, folder, ("molecule", "file"), renamed)
    kind = choice(source, _SOURCES, "molecule.source")
    if kind == "inline":
        refuse_unknown(section, ("source", "inline", "file", "fragments"), here, path)
        if section.get("inline") is None:
            raise InputError("is missing: symbols, geometry and fragments", "molecule.inline")
        for field in ("file", "fragments"):
            if section.get(field) is not None:
                raise InputError("does not go with source 'inline'", f"molecule.{field}")
        return _inline(mapping(section["inline"], "molecule.inline"), renamed)
    refuse_unknown(section, ("source", "inline", "file", "fragments", *_CHARGES), here, path)
    if section.get("inline") is not None:
        raise InputError(f"does not go with source {kind!r}", "molecule.inline")
    file = section.get("file")
    if isinstance(file, Mapping):
        for field in ("fragments", *_CHARGES):
            if section.get(field) is not None:
                raise InputError("belongs beside the file's name in molecule.file", f"molecule.{field}")
        group = mapping(file, "molecule.file")
        refuse_unknown(group, ("file", "fragments", *_CHARGES), here, ("molecule", "file"))
        return _from_file(group, kind, folder, ("molecule", "file"), renamed)
    return _from_file(section, kind, folder, path, renamed)


def _inline(inline: dict[str, Any], renamed: dict[Place, Place]) -> dict[str, Any]:
    place: Place = ("molecule", "inline")
    renamed[("molecule",)] = place
    refuse_unknown(inline, ("symbols", "geometry", "fragments", "units", *_CHARGES), Names(), place)
    units = choice(inline.pop("units", None) or "angstrom", ("angstrom", "bohr"), "molecule.inline.units")
    molecule = {key: value for key, value in inline.items() if value is not None}
    if units == "angstrom" and "geometry" in molecule:
        molecule["geometry"] = to_bohr(molecule["geometry"], "molecule.inline.geometry")
    return molecule


def _from_file(
    group: Mapping[str, Any], kind: str | None, folder: Path, place: Place, renamed: dict[Place, Place]
) -> dict[str, Any]:
    file = group.get("file")
    field = dotted((*place, "file"))
    if not isinstance(file, str) or not file:
        raise InputError("is missing: the path of the geometry's file", field)
    try:
        molecule = read_geometry(folder / file, kind)
    except InputError as error:
        raise InputError(f"{file}: {error}", field) from None
    renamed[("molecule",)] = (*place, "file")
    for name in ("fragments", *_CHARGES):
        renamed[("molecule", name)] = (*place, name)  # where they can be given, given or not
        if group.get(name) is not None:
            molecule[name] = group[name]
    return molecule


def _calculation(
    section: dict[str, Any], keywords: dict[str, Any], renamed: dict[Place, Place]
) -> tuple[Any, dict[str, Any], dict[str, str] | None]:
    """Driver, levels by name, and the name of the level of each body order."""
    here = Names()
    refuse_unknown(section, ("type", "single", "multi"), here, ("calculation",))
    given = [name for name in ("single", "multi") if section.get(name) is not None]
    kind = choice(section.get("type") or "single", ("single", "multi"), "calculation.type")
    if kind not in given:
        raise InputError(f"is missing, though calculation.type is {kind!r}", f"calculation.{kind}")
    place: Place = ("calculation", kind)
    group = mapping(section[kind], f"calculation.{kind}")
    renamed[("specification", "driver")] = (*place, "driver")
    driver = group.get("driver") or "energy"
    if kind == "single":
        refuse_unknown(group, ("driver", *_LEVEL), here, place)
        renamed[_LEVELS] = place
        return driver, {AUTO: _level(AUTO, group, keywords, place, renamed)}, None
    refuse_unknown(group, ("driver", "levels"), here, place)
    listed = optional_mapping(group.get("levels"), "calculation.multi.levels", "body orders")
    if not listed:
        raise InputError("is missing: method, basis and program by body order", "calculation.multi.levels")
    renamed[_LEVELS] = (*place, "levels")
    renamed[_ORDERS] = (*place, "levels")
    levels: dict[str, Any] = {}
    orders: dict[str, str] = {}
    last: tuple[str, dict[str, Any]] | None = None
    for order in sorted(listed, key=_by_order):
        inner: Place = (*place, "levels", order)
        level = mapping(listed[order], f"calculation.multi.levels.{order}")
        refuse_unknown(level, _LEVEL, here, inner)
        if last is not None and last[1] == level and order != "supersystem":
            orders[order] = orders.pop(last[0])  # one level serves both orders: the same sums
        else:
            orders[order] = name = _level_name(level, order, levels)
            levels[name] = _level(name, level, keywords, inner, renamed)
        last = order, level
    return driver, levels, orders


def _by_order(key: str) -> tuple[bool, int]:
    """Body orders ascending, then what is none; that is refused where levels are read."""
    return (False, int(key)) if key.isdecimal() else (True, 0)


def _level_name(level: Mapping[str, Any], order: str, used: Mapping[str, Any]) -> str:
    """``method/basis``, with the program or body order where that does not tell levels apart."""
    method, basis, program = (level.get(field) for field in ("method", "basis", "program"))
    name = f"{method}/{basis}" if basis else str(method)
    if name in used:
        name = f"{name}/{program}"
    return f"{name}/{order}" if name in used else name


def _level(
    name: str, group: Mapping[str, Any], keywords: dict[str, Any], place: Place, renamed: dict[Place, Place]
) -> dict[str, Any]:
    inner: Place = (*_LEVELS, name)
    renamed.update(
        {
            inner: place,
            (*inner, "keywords"): ("program", "keywords"),
            (*inner, "model", "method"): (*place, "method"),
            (*inner, "model", "basis"): (*place, "basis"),
        }
    )
    model = {field: group[field] for field in ("method", "basis") if group.get(field) is not None}
    return {"program": group.get("program"), "model": model, "keywords": dict(keywords)}


def _check_output(output: Mapping[str, Any]) -> None:
    refuse_unknown(output, ("format", "file", "pretty", "include_timings"), Names(), ("output",))
    if output.get("format") is not None:
        choice(output["format"], OUTPUT_FORMATS, "output.format")
    if output.get("file") is not None and not isinstance(output["file"], str):
        raise InputError(f"expected a path, not {shown(output['file'])}", "output.file")
    for field in ("pretty", "include_timings"):
        if output.get(field) is not None:
            flag(output[field], f"output.{field}")
