"""QCManyBody's own serial computer with our engines, and the comparison of its results with ours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import qcengine

from qcmb_mpi.engine.registry import register_with_qcengine

ENERGY = 1e-9  # Eh
DERIVATIVE = 1e-7  # Eh/bohr and Eh/bohr^2
PRINTED = 1e-6  # the tables have kcal/mol too

#: Numbers that count something or belong to the molecule.
EXACT = ("calcinfo_nmc", "calcinfo_nfr", "calcinfo_natom", "calcinfo_nmbe")

_single_points: dict[str, Any] = {}


def oracle(content: Mapping[str, Any]) -> Any:
    """QCManyBody's result of an input, computed in this process one task after the other."""
    if content["schema_version"] == 2:
        from qcmanybody.v2 import ManyBodyComputer
    else:
        from qcmanybody.v1 import ManyBodyComputer  # type: ignore[assignment]
    register_with_qcengine()
    with _remembered():
        return ManyBodyComputer.from_manybodyinput(model(content))


def model(content: Mapping[str, Any]) -> Any:
    """An input as QCManyBody's own model of its version."""
    if content["schema_version"] == 2:
        from qcmanybody.models.v2 import ManyBodyInput
    else:
        from qcmanybody.models.v1 import ManyBodyInput  # type: ignore[assignment]
    return ManyBodyInput(**content)


@contextmanager
def _remembered() -> Iterator[None]:
    """No single point is computed twice: the treatments have most of theirs in common."""
    original = qcengine.compute

    def compute(task: Any, program: str) -> Any:
        text = task.model_dump_json() if hasattr(task, "model_dump_json") else task.json()
        content = json.loads(text)
        content.pop("provenance", None)
        key = hashlib.sha256(json.dumps([program, content], sort_keys=True).encode()).hexdigest()
        if key not in _single_points:
            _single_points[key] = original(task, program, task_config={"ncores": 1})
        return _single_points[key]

    qcengine.compute = compute
    try:
        yield
    finally:
        qcengine.compute = original


def assert_same_result(ours: Any, theirs: Any) -> None:
    """Our result and QCManyBody's: every property, every label, every printed line.

    Parameters
    ----------
    ours, theirs
        ``ManyBodyResult`` of the same version.
    """
    assert isinstance(ours, type(theirs))
    assert ours.success is theirs.success is True
    assert ours.schema_name == theirs.schema_name
    assert ours.schema_version == theirs.schema_version
    assert not ours.extras
    assert_same_values(ours.properties, theirs.properties, "properties")
    which = "cluster" if theirs.schema_version == 2 else "component"
    our_tasks, their_tasks = getattr(ours, f"{which}_properties"), getattr(theirs, f"{which}_properties")
    assert set(our_tasks) == set(their_tasks)
    for label in their_tasks:
        assert_same_values(our_tasks[label], their_tasks[label], label)
    assert set(getattr(ours, f"{which}_results")) == set(getattr(theirs, f"{which}_results"))
    driver = theirs.input_data.specification.driver.value
    np.testing.assert_allclose(
        ours.return_result, theirs.return_result, rtol=0, atol=ENERGY if driver == "energy" else DERIVATIVE
    )
    assert_same_text(ours.stdout, theirs.stdout)
    assert_same_molecule(ours.input_data.molecule, theirs.input_data.molecule)
    assert ours.input_data.specification == theirs.input_data.specification
    if theirs.schema_version == 2:
        assert_same_molecule(ours.molecule, theirs.molecule)


def assert_same_values(ours: Any, theirs: Any, where: str) -> None:
    """Two models of properties agree: the same fields set, the same numbers."""
    our_fields, their_fields = _fields(ours), _fields(theirs)
    assert set(our_fields) == set(their_fields), where
    for name, value in their_fields.items():
        if name in EXACT or not isinstance(value, float | np.ndarray):
            assert our_fields[name] == value, (where, name)
        else:
            assert np.shape(our_fields[name]) == np.shape(value), (where, name)
            derivative = "gradient" in name or "hessian" in name
            np.testing.assert_allclose(
                our_fields[name],
                value,
                rtol=0,
                atol=DERIVATIVE if derivative else ENERGY,
                err_msg=f"{where}: {name}",
            )


def _fields(properties: Any) -> dict[str, Any]:
    content = properties.model_dump() if hasattr(properties, "model_dump") else properties.dict()
    return {name: value for name, value in content.items() if value is not None}


def assert_same_text(ours: str, theirs: str) -> None:
    """Two tables agree in every word, and in every number within what is compared above."""
    our_lines, their_lines = ours.splitlines(), theirs.splitlines()
    assert len(our_lines) == len(their_lines), f"{ours}\n---\n{theirs}"
    for our_line, their_line in zip(our_lines, their_lines, strict=True):
        assert len(our_line) == len(their_line), (our_line, their_line)
        for our_word, their_word in zip(our_line.split(), their_line.split(), strict=True):
            if our_word != their_word:
                assert abs(float(our_word) - float(their_word)) < PRINTED, (our_line, their_line)


def assert_same_molecule(ours: Any, theirs: Any) -> None:
    assert ours.get_hash() == theirs.get_hash()
    assert [list(fragment) for fragment in ours.fragments] == [list(f) for f in theirs.fragments]
    assert ours.fragment_charges == theirs.fragment_charges
    assert ours.fragment_multiplicities == theirs.fragment_multiplicities
