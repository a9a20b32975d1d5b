"""A program that is no Python, behind QCEngine: NWChem's numbers have to be PySCF's."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from clusters import HF_WIDER, cluster, many_body
from program import Mpi, Program

pytestmark = [
    pytest.mark.mpi,
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("nwchem") is None and not os.environ.get("REQUIRE_NWCHEM"),
        reason="NWChem is not installed",
    ),
]

HELIUM = (("He", (0.0, 0.0, 0.0)),)


def test_both_treatments_under_mpi_are_those_of_pyscf(program: Program, mpi: Mpi) -> None:
    molecule = cluster((HELIUM, (0, 0, 0)), (HELIUM, (4.2, 0, 0)), (HELIUM, (1.0, 4.5, 0.5)))
    for name in ("nwchem", "pyscf"):
        level = {**HF_WIDER, "program": name}
        program.write(f"{name}.json", many_body(molecule, level=level, bsse_type=["cp", "nocp"]))
    program.succeed("nwchem.json", ranks=2, mpi=mpi)
    program.succeed("pyscf.json", "--n-workers", "2")
    theirs, ours = (program.read(f"{name}.result.json") for name in ("nwchem", "pyscf"))
    energies = [key for key in ours["properties"] if "energy" in key]
    assert len(energies) > 10
    for key in energies:
        assert np.allclose(theirs["properties"][key], ours["properties"][key], atol=1e-6, rtol=0), key
    assert "nwchem" in theirs["provenance"]["programs"]
    assert not program.close()
