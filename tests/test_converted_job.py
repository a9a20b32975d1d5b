"""A structure becomes an input, the input a result."""

from __future__ import annotations

from pathlib import Path

import pytest
from program import Program

WATERS = Path(__file__).parents[1] / "examples" / "water_decamer.xyz"


def test_ten_waters_from_a_structure_to_a_result(program: Program) -> None:
    pytest.importorskip("tblite")
    program.write("waters.xyz", WATERS.read_text())
    flags = ("--program", "tblite", "--method", "gfn2-xtb", "--max-nbody", "2", "--bsse", "nocp")
    assert "python -m qcmb_mpi validate waters.json" in program.succeed("convert", "waters.xyz", *flags).out
    assert "right (tblite" in program.succeed("validate", "waters.json").out
    program.succeed("waters.json", "--quiet")
    result = program.read("waters.result.json")
    assert result["success"]
    assert result["properties"]["calcinfo_nfr"] == 10
    assert -0.3 < result["return_result"] < -0.05  # ten waters hold together, in hartree


@pytest.mark.slow
def test_the_jobs_of_two_frames_share_what_they_have_in_common(program: Program) -> None:
    pytest.importorskip("tblite")
    first = WATERS.read_text().rstrip("\n").split("\n")
    moved = [*first[:-1], "H 2.9 -1.3 1.9"]  # the last atom of the last molecule
    program.write("two.xyz", "\n".join([*first, *moved]) + "\n")
    flags = ("--program", "tblite", "--method", "gfn2-xtb", "--max-nbody", "2", "--bsse", "nocp")
    program.succeed("convert", "two.xyz", *flags)
    for job in ("two-001.json", "two-002.json"):
        program.succeed(job, "--quiet")
    run = program.read("two-002.result.json")["provenance"]
    assert (run["tasks_from_cache"], run["tasks_computed"]) == (9 + 36, 1 + 9)
