"""Jobs that share a cache folder: the second computes only what is new, and results have the same bits."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from clusters import GFN2, HYDROGENS, many_body, waters
from program import Mpi, Program, bits_of
from toy import Toy

STOPPED = 75


def counts(program: Program, name: str = "input.result.json") -> tuple[int, int, int]:
    """Tasks computed, out of the checkpoint, out of the cache."""
    told = program.read(name)["provenance"]
    return told["tasks_computed"], told["tasks_reused"], told["tasks_from_cache"]


def forget(program: Program, stem: str = "input") -> None:
    """Remove what a job has left beside its input; the cache stays."""
    for path in program.folder.glob(f"{stem}.*"):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffixes != [".json"]:
            path.unlink()


def part_of(molecule: dict[str, Any], fragments: Sequence[int]) -> dict[str, Any]:
    """The same molecule with some of its fragments (three atoms each), in another order."""
    atoms = [atom for f in fragments for atom in molecule["fragments"][f]]
    return {
        **molecule,
        "symbols": [molecule["symbols"][a] for a in atoms],
        "geometry": [x for a in atoms for x in molecule["geometry"][3 * a : 3 * a + 3]],
        "fragments": [[3 * i, 3 * i + 1, 3 * i + 2] for i in range(len(fragments))],
        "fragment_charges": [0.0] * len(fragments),
        "fragment_multiplicities": [1] * len(fragments),
    }


WATERS = waters(4)
WAYS = {
    "energy": {"bsse_type": ["vmfc"], "max_nbody": 2},
    "gradient": {"bsse_type": ["nocp"], "max_nbody": 3},
}


@pytest.mark.slow
@pytest.mark.parametrize(("driver", "kept"), [("energy", ("--no-checkpoint",)), ("gradient", ())])
def test_a_second_job_computes_nothing_and_has_the_bits_of_the_first(
    program: Program, driver: str, kept: tuple[str, ...]
) -> None:
    level = GFN2 if driver == "gradient" else {"program": "pyscf", "method": "hf", "basis": "sto-3g"}
    molecule = WATERS if driver == "gradient" else waters(3)
    program.write(
        "input.json", many_body(molecule, level=level, driver=driver, return_total_data=True, **WAYS[driver])
    )
    program.succeed("input.json", *kept)
    without = bits_of(program.read("input.result.json"))
    n_tasks = counts(program)[0]
    for computed, cached in ((n_tasks, 0), (0, n_tasks)):
        forget(program)
        finished = program.succeed("input.json", "--cache-dir", "cache", *kept)
        assert counts(program) == (computed, 0, cached)
        assert bits_of(program.read("input.result.json")) == without
    assert f"0 tasks computed, 0 from the checkpoint, {n_tasks} from the cache" in finished.out
    if not kept:
        program.succeed("input.json", "--cache-dir", "cache")
        assert counts(program) == (0, n_tasks, 0)
        assert bits_of(program.read("input.result.json")) == without
        status = json.loads(program.succeed("status", "input.checkpoint.h5", "--json").out)
        assert status["busy"]["ranks"] == []
        assert status["slowest"] == []
        assert any("came out of the cache" in note for note in status["notes"])
        program.succeed("report", "input.checkpoint.h5")
        page = (program.folder / "input.report.html").read_text()
        assert "computing, on 0 ranks" in page
        assert "First task begun" not in page


@pytest.mark.slow
def test_hessians_come_out_of_the_cache_as_they_were(program: Program) -> None:
    level = {"program": "pyscf", "method": "hf", "basis": "sto-3g"}
    program.write(
        "input.json", many_body(HYDROGENS, level=level, driver="hessian", bsse_type=["nocp"], max_nbody=2)
    )
    program.succeed("input.json", "--no-checkpoint", "--cache-dir", "cache")
    first = bits_of(program.read("input.result.json"))
    program.succeed("input.json", "--cache-dir", "cache")
    assert counts(program)[:2] == (0, 0)
    assert bits_of(program.read("input.result.json")) == first


@pytest.mark.slow
def test_a_reordered_and_a_grown_cluster_and_one_with_a_moved_fragment_reuse_what_is_the_same(
    program: Program,
) -> None:
    def compute(molecule: dict[str, Any], **keywords: Any) -> tuple[int, int, int]:
        forget(program)
        keywords = {"bsse_type": ["nocp"], "max_nbody": 2, **keywords}
        program.write("input.json", many_body(molecule, level=GFN2, driver="gradient", **keywords))
        program.succeed("input.json", QCMB_MPI_CACHE_DIR="cache")
        return counts(program)

    assert compute(part_of(WATERS, [0, 1, 2])) == (6, 0, 0)
    assert compute(part_of(WATERS, [2, 0, 1])) == (0, 0, 6)
    reordered = program.read("input.result.json")["return_result"]
    assert compute(part_of(WATERS, [1, 3, 0, 2])) == (4, 0, 6)  # a monomer and three dimers are new
    moved = copy.deepcopy(part_of(WATERS, [0, 1, 2]))
    for place in range(6, 9):
        moved["geometry"][3 * place + 2] += 0.1
    assert compute(moved) == (3, 0, 3)
    assert compute(moved, max_nbody=3) == (1, 0, 6)
    # derivatives are those of the right atoms
    forget(program)
    program.write(
        "input.json",
        many_body(part_of(WATERS, [2, 0, 1]), level=GFN2, driver="gradient", bsse_type=["nocp"], max_nbody=2),
    )
    program.succeed("input.json", "--no-checkpoint")
    computed = program.read("input.result.json")["return_result"]
    assert reordered == pytest.approx(computed, abs=1e-10)
    assert max(map(abs, computed)) > 1e-3


@pytest.mark.slow
@pytest.mark.mpi
def test_two_jobs_at_once_share_one_cache(program: Program, mpi: Mpi) -> None:
    for name in ("a", "b"):
        program.write(
            f"{name}.json",
            many_body(
                WATERS, level=GFN2, driver="gradient", bsse_type=["nocp"], max_nbody=3, return_total_data=True
            ),
        )
    jobs = [
        program.start("a.json", "--cache-dir", "cache", ranks=2, mpi=mpi),
        program.start("b.json", "--cache-dir", "cache", "--n-workers", "1"),
    ]
    for job in jobs:
        finished = job.wait()
        assert finished.code == 0, finished
        assert "WARNING" not in finished.err
    assert bits_of(program.read("a.result.json")) == bits_of(program.read("b.result.json"))
    forget(program, "a")
    program.succeed("a.json", "--cache-dir", "cache", ranks=2, mpi=mpi)
    assert counts(program, "a.result.json") == (0, 0, 14)
    assert bits_of(program.read("a.result.json")) == bits_of(program.read("b.result.json"))


@pytest.mark.slow
def test_a_stopped_job_contributes_what_it_has_and_a_finished_checkpoint_too(program: Program) -> None:
    toy = Toy(program, 6)
    toy.write_input(n_workers=2)
    toy.takes(0.1)
    job = program.start("input.json", "--cache-dir", "cache", **toy.variables)
    job.wait_until(lambda: len(toy.tries()) >= 6)
    job.signal(15)
    assert job.wait().code == STOPPED
    toy.takes(0.0)
    forget(program)
    program.succeed("input.json", "--cache-dir", "cache", **toy.variables)
    computed, _, cached = counts(program)
    assert cached >= 4
    assert computed + cached == 41
    # a checkpoint from before there was a cache
    program.succeed("input.json", "--cache-dir", "new", **toy.variables)
    assert counts(program) == (0, 41, 0)
    forget(program)
    program.succeed("input.json", "--cache-dir", "new", **toy.variables)
    assert counts(program) == (0, 0, 41)


@pytest.mark.slow
def test_another_version_of_the_program_is_another_answer(program: Program) -> None:
    toy = Toy(program, 3, "toy_program")
    toy.write_input(max_nbody=2)
    program.succeed("input.json", "--cache-dir", "cache", **toy.variables)
    plugin = program.folder / "toy_program.py"
    plugin.write_text(plugin.read_text().replace('return "1.0"', 'return "1.1"'))
    # neither what that version finds in the cache nor what it finds in an older checkpoint is its own
    program.succeed("input.json", "--cache-dir", "cache", **toy.variables)
    assert counts(program) == (0, 6, 0)
    forget(program)
    program.succeed("input.json", "--cache-dir", "cache", **toy.variables)
    assert counts(program) == (6, 0, 0)


@pytest.mark.slow
def test_a_job_that_keeps_records_takes_nothing_but_contributes(program: Program) -> None:
    toy = Toy(program, 3)
    toy.write_input(max_nbody=2)
    content = json.loads((program.folder / "input.json").read_text())
    content["specification"]["protocols"] = {"cluster_results": "all"}
    program.write("records.json", content)
    for _ in range(2):
        forget(program, "records")
        finished = program.succeed("records.json", "--cache-dir", "cache", **toy.variables)
        assert counts(program, "records.result.json") == (6, 0, 0)
        assert "records" in finished.err
    program.succeed("input.json", "--cache-dir", "cache", **toy.variables)
    assert counts(program) == (0, 0, 6)


@pytest.mark.slow
def test_tasks_that_failed_are_not_shared(program: Program) -> None:
    toy = Toy(program, 3)
    toy.write_input(max_nbody=2, max_retries=0)
    toy.goes_wrong({"1-2": ["input"]})
    assert program.run("input.json", "--cache-dir", "cache", **toy.variables).code == 1
    forget(program)
    toy.goes_wrong({})
    program.succeed("input.json", "--cache-dir", "cache", **toy.variables)
    assert counts(program) == (1, 0, 5)


@pytest.mark.parametrize("place", ["a file", "missing/folder", "/proc/self"])
def test_a_folder_that_cannot_be_used_ends_the_job_before_it_begins(program: Program, place: str) -> None:
    toy = Toy(program, 3)
    toy.write_input()
    (program.folder / "a file").write_text("")
    finished = program.run("input.json", "--cache-dir", place, **toy.variables)
    assert finished.code == 2, finished
    assert "--cache-dir" in finished.err
    assert Path(place).name in finished.err
    assert "Traceback" not in finished.err
    assert not toy.tries()
    assert not (program.folder / "input.checkpoint.h5").exists()
