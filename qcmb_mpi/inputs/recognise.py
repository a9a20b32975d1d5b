"""Which of the formats an input is written in, by its content, and its form in QCSchema."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcmb_mpi.errors import InputError
from qcmb_mpi.inputs import cli_input, flat
from qcmb_mpi.inputs.fields import Names, nearest, plain
from qcmb_mpi.inputs.schema import version_of

__all__ = ["to_schema"]


def to_schema(raw: Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], int, Names]:
    """An input in QCSchema's form.

    Parameters
    ----------
    raw
        The user's input without the sections of ours.
    folder
        Where relative paths in the input begin.

    Returns
    -------
    schema, version, names
        The dictionary, its schema version, and where the user wrote each field.

    Raises
    ------
    InputError
        If the input is in none of the formats, or wrong in the fields that only its format has.
    """
    raw = plain(raw)
    if cli_input.is_cli(raw):
        schema, names = cli_input.to_schema(raw, folder)
        return schema, 2, names
    if flat.is_flat(raw):
        version_of(raw)
        schema, names = flat.to_schema(raw)
        return schema, 2, names
    if "molecule" not in raw and "specification" not in raw and "schema_name" not in raw:
        known = ("schema_name", "molecule", "specification", "calculation")
        first = next(iter(raw), "")
        raise InputError(
            "is in no known format: expected molecule and specification (QCSchema's ManyBodyInput), or "
            f"schema_name {cli_input.NAME!r} with molecule and calculation; found {first!r}, "
            f"{nearest(first, known)}"
        )
    return dict(raw), version_of(raw), Names()
