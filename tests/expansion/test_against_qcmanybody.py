"""The task list, the properties and the text are QCManyBody's own, whatever was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle
import pytest
from oracle import ALL, PAIRS, SINGLE, Case, Levels

from qcmb_mpi.expansion.properties import properties, returned
from qcmb_mpi.expansion.result import summary

SINGLE_LEVELS: list[tuple[int, Levels]] = [(n, {top: "a"}) for n in (2, 3, 4) for top in range(1, n + 1)]
LARGER: list[tuple[int, Levels]] = [(5, {2: "a"}), (5, {5: "a"}), (6, {3: "a"}), (6, {2: "a", 3: "b"})]
SEVERAL_LEVELS: list[tuple[int, Levels]] = [
    (2, {1: "a", 2: "b"}),
    (3, {1: "a", 2: "b"}),
    (3, {2: "a", 3: "b"}),
    (4, {1: "a", 3: "b"}),
    (4, {1: "a", 2: "b", 4: "c"}),
]
SUPERSYSTEM: list[tuple[int, Levels]] = [
    (3, {1: "a", "supersystem": "s"}),
    (3, {2: "a", "supersystem": "s"}),
    (4, {1: "a", 2: "b", "supersystem": "s"}),
    (5, {2: "a", "supersystem": "s"}),
]
EVERY_TREATMENT = SINGLE + PAIRS + ALL


def name(value: Any) -> str:
    if isinstance(value, dict):
        return "-".join(f"{key}{level}" for key, level in value.items())
    return "+".join(value) if isinstance(value, tuple) else str(value)


def check(this: Case, driver: str, *, flat: bool = False) -> None:
    """Labels, properties, returned values and text of one case against QCManyBody."""
    wanted = oracle.PROPERTIES[driver]
    labels = this.labels()
    assert len(labels) == len(set(labels))
    assert set(labels) == oracle.oracle_labels(this.core)
    results = oracle.answers(labels, this.offsets, wanted, flat=flat)
    theirs = this.core.analyze(results)
    if not labels:  # QCManyBody then knows energies only
        wanted = ["energy"]
    sums = oracle.exact_sums(this, results, wanted)
    order = np.arange(this.n_atoms)
    embedding = bool(this.core.embedding_charges)
    oracle.assert_same_values(
        properties(this.expansion, sums, order=order, embedding=embedding), theirs["results"]
    )
    ours = returned(this.expansion, sums, order=order)
    oracle.assert_same_values(ours, {each: theirs[f"ret_{each}"] for each in wanted})
    text = summary(this.expansion, this.names, sums["energy"], embedding=embedding)
    oracle.assert_same_text(text, theirs["stdout"])


@pytest.mark.parametrize("total", [False, True], ids=["interaction", "total"])
@pytest.mark.parametrize("treatments", EVERY_TREATMENT, ids=name)
@pytest.mark.parametrize(("n_fragments", "levels"), SINGLE_LEVELS + SEVERAL_LEVELS + SUPERSYSTEM, ids=name)
def test_energies_are_those_of_qcmanybody(
    n_fragments: int, levels: Levels, treatments: tuple[str, ...], total: bool
) -> None:
    check(oracle.case(n_fragments, treatments, levels, total=total), "energy")


@pytest.mark.parametrize("treatments", SINGLE + ALL[:1], ids=name)
@pytest.mark.parametrize(("n_fragments", "levels"), LARGER, ids=name)
def test_energies_of_larger_clusters_are_those_of_qcmanybody(
    n_fragments: int, levels: Levels, treatments: tuple[str, ...]
) -> None:
    check(oracle.case(n_fragments, treatments, levels, total=True), "energy")


@pytest.mark.parametrize("driver", ["gradient", "hessian"])
@pytest.mark.parametrize("total", [False, True], ids=["interaction", "total"])
@pytest.mark.parametrize("treatments", SINGLE + PAIRS[:1] + ALL[:1], ids=name)
@pytest.mark.parametrize(
    ("n_fragments", "levels"),
    [
        (2, {2: "a"}),
        (3, {1: "a"}),
        (3, {1: "a", 2: "b"}),
        (3, {3: "a"}),
        (4, {2: "a"}),
        (4, {2: "a", "supersystem": "s"}),
    ],
    ids=name,
)
def test_derivatives_are_those_of_qcmanybody(
    n_fragments: int, levels: Levels, treatments: tuple[str, ...], total: bool, driver: str
) -> None:
    check(oracle.case(n_fragments, treatments, levels, total=total), driver)


@pytest.mark.parametrize("driver", ["energy", "gradient"])
@pytest.mark.parametrize("total", [False, True], ids=["interaction", "total"])
@pytest.mark.parametrize("treatments", [("nocp",), ("cp",), ("nocp", "cp"), ("cp", "nocp")], ids=name)
@pytest.mark.parametrize("n_fragments", [2, 3, 5])
def test_supersystem_ie_only_gives_the_ends_of_the_expansion(
    n_fragments: int, treatments: tuple[str, ...], total: bool, driver: str
) -> None:
    this = oracle.case(n_fragments, treatments, {n_fragments: "a"}, total=total, ends_only=True)
    check(this, driver)


@pytest.mark.parametrize("levels", [{2: "a"}, {1: "a", 2: "b", "supersystem": "s"}], ids=name)
def test_molecules_of_schema_version_1_give_the_same(levels: Levels) -> None:
    check(oracle.case(3, ("vmfc", "cp", "nocp"), levels, total=True, version=1), "gradient")


@pytest.mark.parametrize("treatments", SINGLE, ids=name)
def test_single_atoms_have_no_total_gradient_as_in_qcmanybody(treatments: tuple[str, ...]) -> None:
    this = oracle.case(3, treatments, {2: "a"}, total=True, kinds=oracle.ATOMS)
    check(this, "gradient", flat=True)


@pytest.mark.parametrize("treatments", [*SINGLE, ("nocp", "vmfc")], ids=name)
@pytest.mark.parametrize("levels", [{2: "a"}, {3: "a"}, {1: "a", 2: "b"}], ids=name)
def test_embedding_charges_leave_no_interaction_data(
    levels: Levels, treatments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QCMANYBODY_EMBEDDING_CHARGES", "1")
    charges = {1: [0.0], 2: [-0.8, 0.4, 0.4], 3: [0.1, -0.1]}
    check(oracle.case(3, treatments, levels, total=True, embedding=charges), "energy")


@pytest.mark.parametrize(
    "levels", [{2: "a"}, {1: "a", 3: "b"}, {1: "a", "supersystem": "s"}, {1: "a", 2: "b"}], ids=name
)
@pytest.mark.parametrize("treatments", SINGLE + ALL[:1], ids=name)
def test_the_tasks_are_those_whose_molecules_qcmanybody_makes(
    levels: Levels, treatments: tuple[str, ...]
) -> None:
    this = oracle.case(3, treatments, levels, total=False)
    assert sorted(this.labels()) == sorted(label for _, label, _ in this.core.iterate_molecules())


@pytest.mark.parametrize("treatments", SINGLE, ids=name)
def test_a_supersystem_adds_nothing_to_an_expansion_through_all_fragments(
    treatments: tuple[str, ...],
) -> None:
    this = oracle.case(3, treatments, {3: "a", "supersystem": "s"}, total=True)
    assert set(this.labels()) == oracle.oracle_labels(this.core)
    results = oracle.answers(this.labels(), this.offsets, ["energy"])
    theirs = this.core.analyze(results)
    sums = oracle.exact_sums(this, results, ["energy"])
    ours = properties(this.expansion, sums, order=np.arange(this.n_atoms))
    assert ours.keys() == theirs["results"].keys()
    # QCManyBody's returned value is right, its N-body contribution and what builds on it are not
    stem = f"{treatments[0]}_corrected"
    wrong = {
        f"{stem}_3_body_contribution_to_energy",
        *(
            f"{stem}_{kind}_energy{end}"
            for kind in ("total", "interaction")
            for end in ("", "_through_3_body")
        ),
    }
    oracle.assert_same_values(
        {key: value for key, value in ours.items() if key not in wrong},
        {key: value for key, value in theirs["results"].items() if key not in wrong},
    )
    oracle.assert_same_values(ours[f"{stem}_total_energy"], theirs["ret_energy"])
    oracle.assert_same_values(
        returned(this.expansion, sums, order=np.arange(this.n_atoms)), {"energy": theirs["ret_energy"]}
    )
