"""What the tests of the expansion share: QCManyBody as the oracle, and answers without chemistry.

Every task gets random numbers with the magnitudes of real energies and derivatives, seeded by its
label, so that QCManyBody's assembly and ours see the same ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qcelemental.models.v1 import Molecule as MoleculeV1
from qcelemental.models.v2 import Molecule as MoleculeV2
from qcmanybody import ManyBodyCore
from qcmanybody.utils import delabeler, labeler

from qcmb_mpi.expansion.assemble import Assembly, coordinates, hessian_elements
from qcmb_mpi.expansion.exact import Exact
from qcmb_mpi.expansion.plan import Expansion, TaskTable, plan
from qcmb_mpi.expansion.weights import through

PROPERTIES = {"energy": ["energy"], "gradient": ["energy", "gradient"]}
PROPERTIES["hessian"] = ["energy", "gradient", "hessian"]

#: Fragments of different sizes, in turn.
FRAGMENTS = (("He",), ("O", "H", "H"), ("H", "H"))
ATOMS = (("He",),)

#: Every choice of BSSE treatments, the first being the one returned.
SINGLE, PAIRS, ALL = (list(permutations(("nocp", "cp", "vmfc"), k))[:: 2 if k == 3 else 1] for k in (1, 2, 3))

Levels = Mapping[Any, str]


@dataclass
class Case:
    """The same expansion for QCManyBody and for us."""

    core: ManyBodyCore
    expansion: Expansion
    table: TaskTable
    names: list[str]
    offsets: NDArray[np.int64]

    @property
    def n_atoms(self) -> int:
        return int(self.offsets[-1])

    def labels(self) -> list[str]:
        """Label of every task, in the order of the table."""
        return [self.table.label(task, self.names) for task in range(self.table.n_tasks)]


def molecule(n_fragments: int, version: int = 2, kinds: Sequence[tuple[str, ...]] = FRAGMENTS) -> Any:
    """A cluster of neutral singlets at random places at least 2 bohr apart."""
    fragments = [kinds[i % len(kinds)] for i in range(n_fragments)]
    symbols = [symbol for fragment in fragments for symbol in fragment]
    ends = np.cumsum([len(fragment) for fragment in fragments])
    rng = np.random.default_rng(n_fragments)
    model = MoleculeV1 if version == 1 else MoleculeV2
    return model(
        symbols=symbols,
        geometry=np.arange(len(symbols))[:, None] * 3.0 + rng.uniform(-0.5, 0.5, (len(symbols), 3)),
        fragments=[
            list(range(end - len(fragment), end)) for end, fragment in zip(ends, fragments, strict=True)
        ],
        molecular_charge=0.0,
        molecular_multiplicity=1,
        fragment_charges=[0.0] * n_fragments,
        fragment_multiplicities=[1] * n_fragments,
        fix_com=True,
        fix_orientation=True,
    )


def every_order(levels: Levels) -> dict[Any, str]:
    """``{2: a, 3: b}`` as ``{1: a, 2: a, 3: b}``, as QCManyBody's computer hands it to its core."""
    result: dict[Any, str] = {}
    for top in sorted(key for key in levels if key != "supersystem"):
        for n in range(len(result) + 1, top + 1):
            result[n] = levels[top]
    return {**result, **{key: name for key, name in levels.items() if key == "supersystem"}}


def expansion_of(core: ManyBodyCore) -> Expansion:
    """The expansion that a core stands for, with the treatments it added of itself."""
    per_level = core.nbodies_per_mc_level
    names = list(per_level)
    return Expansion(
        n_fragments=core.nfragments,
        treatments=tuple(treatment.value for treatment in core.bsse_type),
        orders=tuple(tuple(n for n in orders if n != "supersystem") for orders in per_level.values()),
        supersystem=names.index(core.levels["supersystem"]) if "supersystem" in core.levels else None,
        return_total_data=core.return_total_data,
        supersystem_ie_only=core.supersystem_ie_only,
    )


def case(
    n_fragments: int,
    treatments: Sequence[str],
    levels: Levels,
    *,
    total: bool,
    ends_only: bool = False,
    version: int = 2,
    kinds: Sequence[tuple[str, ...]] = FRAGMENTS,
    embedding: Mapping[int, Sequence[float]] | None = None,
) -> Case:
    cluster = molecule(n_fragments, version, kinds)
    core = ManyBodyCore(
        cluster,
        list(treatments),
        every_order(levels),
        return_total_data=total,
        supersystem_ie_only=ends_only,
        embedding_charges=embedding,
    )
    sizes = [len(atoms) for atoms in cluster.fragments]
    expansion = expansion_of(core)
    return Case(
        core,
        expansion,
        plan(expansion),
        list(core.nbodies_per_mc_level),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
    )


def oracle_labels(core: ManyBodyCore) -> set[str]:
    """Label of every task QCManyBody would run."""
    return {
        labeler(name, real, basis)
        for name, lists in core.compute_map.items()
        for tasks in lists["all"].values()
        for real, basis in tasks
    }


def answers(
    labels: Iterable[str], offsets: NDArray[np.int64], properties: Sequence[str], *, flat: bool = False
) -> dict[str, dict[str, Any]]:
    """Random energies and derivatives of tasks; ``flat`` makes the derivatives of monomers zero."""
    sizes = np.diff(offsets)
    result = {}
    for label in labels:
        _, real, basis = delabeler(label)
        rng = np.random.default_rng(zlib.crc32(label.encode()))
        n_atoms = int(sum(sizes[fragment - 1] for fragment in basis))
        slope = 0.0 if flat and len(basis) == 1 else 1.0
        hessian = rng.normal(size=(3 * n_atoms, 3 * n_atoms)) * slope
        values = {
            "energy": -76.0 * len(real) + float(rng.normal()),
            "gradient": rng.normal(size=(n_atoms, 3)) * slope,
            "hessian": hessian + hessian.T,
        }
        result[label] = {name: values[name] for name in properties}
    return result


def exact_sums(
    this: Case, results: Mapping[str, Mapping[str, Any]], properties: Sequence[str]
) -> dict[str, dict[str, dict[int, Exact]]]:
    """Our assembly of the same answers."""
    labels = this.labels()
    weights = through(this.table)
    width = 3 * this.n_atoms
    sums = {}
    for name in properties:
        size = {"energy": 1, "gradient": width, "hessian": width**2}[name]
        assembly = Assembly(this.table, weights, size)
        for block in this.table.blocks:
            tasks = np.arange(block.start, block.start + block.size)
            if name == "energy":
                assembly.add(tasks, np.array([results[labels[task]][name] for task in tasks]))
                continue
            for positions, addresses in coordinates(block.basis(), this.offsets):
                if name == "hessian":
                    addresses = hessian_elements(addresses, width)
                values = np.array([results[labels[task]][name].reshape(-1) for task in tasks[positions]])
                assembly.add(tasks[positions], values, addresses)
        sums[name] = assembly.exact()
    return sums


def assert_same_text(ours: str, theirs: str) -> None:
    """Two texts agree in every word, and in every number up to the rounding of QCManyBody's sums."""
    assert len(ours) == len(theirs)
    for our_line, their_line in zip(ours.splitlines(), theirs.splitlines(), strict=True):
        for our_word, their_word in zip(our_line.split(), their_line.split(), strict=True):
            if our_word != their_word:
                assert abs(float(our_word) - float(their_word)) < 1e-7, (our_line, their_line)


def assert_same_values(ours: Any, theirs: Any, tolerance: float = 1e-10) -> None:
    """Two nested structures agree: keys and types exactly, numbers within ``tolerance``."""
    if isinstance(theirs, Mapping):
        assert set(ours) == set(theirs)
        for key in theirs:
            assert_same_values(ours[key], theirs[key], tolerance)
    elif isinstance(theirs, np.ndarray):
        assert isinstance(ours, np.ndarray)
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        if theirs.dtype == np.float64:
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)
        else:
            np.testing.assert_array_equal(ours, theirs)
    elif isinstance(theirs, float):
        assert isinstance(ours, float)
        assert abs(ours - theirs) <= tolerance
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for our, their in zip(ours, theirs, strict=True):
            assert_same_values(our, their, tolerance)
    else:
        assert ours == theirs
