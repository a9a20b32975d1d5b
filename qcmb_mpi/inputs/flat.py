"""The flat form of the parallel-execution guide's first example, brought into QCSchema's version 2.

    ManyBodyInput(molecule=..., driver="energy",
                  specification={"program": "pyscf", "method": "hf", "basis": "sto-3g"},
                  keywords={"max_nbody": 3, "bsse_type": ["cp"]})

``specification`` may also hold several such groups by name, for ``keywords.levels``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcmb_mpi.inputs.fields import Names, Path, mapping, refuse_unknown
from qcmb_mpi.inputs.schema import AUTO, OURS

__all__ = ["is_flat", "to_schema"]

_TOP = ("molecule", "driver", "specification", "keywords", "protocols", "schema_name", "schema_version")
_LEVEL = ("program", "method", "basis", "model", "driver", "keywords", "protocols", "extras")


def is_flat(raw: Mapping[str, Any]) -> bool:
    """Whether the specification is that of a level, without QCSchema's outer one."""
    specification = raw.get("specification")
    if not isinstance(specification, Mapping) or "specification" in specification:
        return False
    groups = [value for value in specification.values() if isinstance(value, Mapping)]
    return (
        "driver" in raw
        or "keywords" in raw
        or "method" in specification
        or any("method" in group for group in groups)
    )


def to_schema(raw: Mapping[str, Any]) -> tuple[dict[str, Any], Names]:
    """QCSchema's form of a flat input, and where its fields came from."""
    names = Names()
    refuse_unknown(raw, _TOP, names, (), OURS)
    level = mapping(raw["specification"], "specification")
    if not any(isinstance(value, Mapping) and _looks_like_level(value) for value in level.values()):
        renamed: dict[Path, Path] = _renamed(AUTO, ("specification",))
        levels: dict[str, Any] = {AUTO: _level(level, ("specification",))}
    else:
        renamed = {}
        levels = {}
        for name, value in level.items():
            place = ("specification", name)
            renamed.update(_renamed(name, place))
            levels[name] = _level(mapping(value, f"specification.{name}"), place)
    renamed[("specification", "specification")] = ("specification",)
    for field in ("driver", "keywords", "protocols"):
        renamed[("specification", field)] = (field,)
    driver = raw.get("driver", level.get("driver") if AUTO in levels else None)
    outer = {
        "driver": driver,
        "keywords": raw.get("keywords"),
        "protocols": raw.get("protocols"),
        "specification": levels,
    }
    return {"molecule": raw.get("molecule"), "specification": outer}, Names(renamed)


def _looks_like_level(value: Mapping[str, Any]) -> bool:
    return "method" in value or "program" in value or "model" in value


def _renamed(name: str, place: Path) -> dict[Path, Path]:
    inner: Path = ("specification", "specification", name)
    return {
        inner: place,
        (*inner, "model", "method"): (*place, "method"),
        (*inner, "model", "basis"): (*place, "basis"),
    }


def _level(level: Mapping[str, Any], place: Path) -> dict[str, Any]:
    refuse_unknown(level, _LEVEL, Names(), place)
    values = {key: value for key, value in level.items() if key not in ("method", "basis")}
    if "method" in level or "basis" in level:
        values["model"] = {key: level[key] for key in ("method", "basis") if key in level}
    return values
