"""The text of a new input file in QCManyBody's command-line format, laid out for people who edit it.

Atoms and fragments have a line each; numbers are written in full.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qcmb_mpi.inputs.assign import Assigned
from qcmb_mpi.inputs.cli_input import NAME
from qcmb_mpi.inputs.fragments import Fragments
from qcmb_mpi.inputs.frame import Frame

__all__ = ["Calculation", "job_content", "job_text"]

WIDTH = 100


@dataclass(frozen=True)
class Calculation:
    """What is to be computed of a structure, as the user wrote it.

    Attributes
    ----------
    program, method, basis, driver, max_nbody, bsse
        The fields of those names.
    keywords
        Handed to the program.
    """

    program: str
    method: str
    max_nbody: int
    bsse: tuple[str, ...]
    basis: str | None = None
    driver: str = "energy"
    keywords: Mapping[str, Any] = field(default_factory=dict)


def job_content(
    frame: Frame,
    fragments: Fragments,
    assigned: Assigned,
    calculation: Calculation,
    cache_dir: str | None = None,
) -> dict[str, Any]:
    """An input as a dictionary in the order in which one reads it."""
    single = {
        "driver": calculation.driver,
        "program": calculation.program,
        "method": calculation.method,
        "basis": calculation.basis,
    }
    high_spin = sum(multiplicity - 1 for multiplicity in assigned.multiplicities) + 1
    inline = {
        "units": frame.units,
        "symbols": list(frame.symbols),
        "geometry": frame.geometry.tolist(),
        "fragments": [atoms.tolist() for atoms in fragments.atoms],
        "fragment_charges": list(assigned.charges),
        "fragment_multiplicities": list(assigned.multiplicities),
        "molecular_multiplicity": None if frame.multiplicity == high_spin else frame.multiplicity,
    }
    content: dict[str, Any] = {
        "schema_name": NAME,
        "schema_version": 1,
        "calculation": {"type": "single", "single": _given(single)},
        "bsse": {"type": list(calculation.bsse)},
        "manybody": {"max_nbody": calculation.max_nbody},
    }
    if calculation.keywords:
        content["program"] = {"keywords": dict(calculation.keywords)}
    if cache_dir is not None:
        content["execution"] = {"cache_dir": cache_dir}
    content["molecule"] = {"source": "inline", "inline": _given(inline)}
    return content


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def job_text(content: Mapping[str, Any]) -> str:
    """JSON with one line for each atom and fragment."""
    return _value(content, "")


def _value(value: Any, indent: str) -> str:
    inner = indent + "  "
    if isinstance(value, Mapping) and value:
        items = [f"{inner}{json.dumps(str(name))}: {_value(item, inner)}" for name, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        if any(isinstance(item, Sequence | Mapping) and not isinstance(item, str) for item in value):
            return "[\n" + ",\n".join(f"{inner}{json.dumps(item)}" for item in value) + f"\n{indent}]"
        line = json.dumps(value)
        if len(line) > WIDTH and not any(isinstance(item, str) and " " in item for item in value):
            lines = textwrap.wrap(line[1:-1], WIDTH, break_long_words=False, break_on_hyphens=False)
            return "[\n" + "\n".join(inner + text for text in lines) + f"\n{indent}]"
        return line
    return json.dumps(value)
