"""A checked input in QCSchema's form to a Problem.  Knows neither files nor the other formats."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from qcmb_mpi.errors import InputError
from qcmb_mpi.inputs.cluster import to_cluster
from qcmb_mpi.inputs.fields import Names, from_pydantic, pydantic_errors
from qcmb_mpi.inputs.keywords import read_treatment
from qcmb_mpi.inputs.molecule import build_molecule, complete
from qcmb_mpi.inputs.schema import read_specification
from qcmb_mpi.inputs.screening import screened
from qcmb_mpi.problem import Level, Problem

__all__ = ["Built", "build", "model_class"]


@dataclass(frozen=True)
class Built:
    """A problem with what its input left to be said.

    Attributes
    ----------
    problem
        What is to be computed.
    normalised
        JSON text of the input with everything filled in; itself an input.
    warnings
        What is allowed but may not be meant.
    """

    problem: Problem
    normalised: str
    warnings: tuple[str, ...]


def build(
    raw: Mapping[str, Any], version: int, names: Names, screening: Any = None, model: Any = None
) -> Built:
    """The problem of an input.

    Parameters
    ----------
    raw
        In the form of QCSchema's ManyBodyInput of ``version``, as plain values.
    version
        1 or 2: of QCManyBody's model and of the result.
    names
        The user's spelling of every field.
    screening
        The ``screening`` section, if there is one.
    model
        The ManyBodyInput that ``raw`` was taken from, if it was.

    Raises
    ------
    InputError
        Anything that is wrong with the input, by field.
    """
    model_class(version)  # version 1 may not exist here, whatever else is wrong
    specification = read_specification(raw, version, names)
    molecule, warnings = complete(raw["molecule"], names)
    treatment = read_treatment(
        specification.keywords,
        list(specification.levels),
        [len(fragment) for fragment in molecule["fragments"]],
        specification.driver,
        names,
    )
    if model is None or not _has_all_fragments(model.molecule):
        whole = build_molecule(molecule, version, names)
        model = _model(version, raw, specification.plain, whole, names)
    cluster = to_cluster(model.molecule, treatment.embedding)
    expansion = treatment.expansion
    content = _content(model, version)
    if screening is not None:
        expansion = screened(expansion, cluster, screening)
        content["screening"] = screening
    problem = Problem(
        cluster=cluster,
        levels=tuple(_level(specification.levels[name], model, version) for name in treatment.level_names),
        driver=specification.driver,
        expansion=expansion,
        model=model,
        keep_records=specification.keep_records,
    )
    return Built(problem, json.dumps(content), (*warnings, *treatment.warnings))


def model_class(version: int) -> Any:
    """QCManyBody's ManyBodyInput of a schema version."""
    if version == 2:
        from qcmanybody.models.v2 import ManyBodyInput

        return ManyBodyInput
    if sys.version_info >= (3, 14):
        raise InputError(
            "version 1 of the schema needs Python 3.13 or earlier (pydantic's version 1 ends there); "
            "write the input as version 2, schema_name 'qcschema_many_body_input'",
            "schema_version",
        )
    from qcmanybody.models.v1 import ManyBodyInput as ManyBodyInputV1

    return ManyBodyInputV1


def _model(version: int, raw: Mapping[str, Any], specification: Any, molecule: Any, names: Names) -> Any:
    values = {key: value for key, value in raw.items() if value is not None}
    try:
        return model_class(version)(**{**values, "specification": specification, "molecule": molecule})
    except pydantic_errors(version) as error:
        raise from_pydantic(error, names) from None


def _content(model: Any, version: int) -> dict[str, Any]:
    """The model as JSON's values."""
    try:
        content: dict[str, Any] = json.loads(model.model_dump_json() if version == 2 else model.json())
    except (TypeError, ValueError) as error:  # an object among the keywords, from Python only
        raise InputError(f"holds what JSON cannot hold: {error}") from None
    return content


def _level(level: Level, model: Any, version: int) -> Level:
    """The level with those protocols that are not the default ones, however the input was written."""
    protocols = model.specification.specification[level.name].protocols
    dump = protocols.model_dump_json if version == 2 else protocols.json
    return replace(level, protocols=json.loads(dump(exclude_defaults=True)))


def _has_all_fragments(molecule: Any) -> bool:
    """Whether a Molecule knows charge and multiplicity of every fragment."""
    n_fragments = len(molecule.fragments)
    return len(molecule.fragment_charges) == n_fragments == len(molecule.fragment_multiplicities)
