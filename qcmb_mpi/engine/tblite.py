"""The tblite engine: GFN1-xTB, GFN2-xTB and IPEA1-xTB.

Knows nothing of other engines, expansions or files.  A task takes well below a millisecond, so
nothing is done per call that can be done once.  tblite is imported when the engine is first used.
"""

from __future__ import annotations

import difflib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.engine.base import Answer, Resources, TaskMolecule
from qcmb_mpi.engine.failures import EngineFailure, Kind, checked
from qcmb_mpi.engine.record import atomic_result
from qcmb_mpi.errors import InputError
from qcmb_mpi.problem import Cluster, Driver, Level

__all__ = ["TbliteEngine"]

METHODS = {
    "gfn1": "GFN1-xTB",
    "gfn1-xtb": "GFN1-xTB",
    "gfn2": "GFN2-xTB",
    "gfn2-xtb": "GFN2-xTB",
    "ipea1": "IPEA1-xTB",
    "ipea1-xtb": "IPEA1-xTB",
}

HEAVIEST = 86

#: Kelvin to hartree, the constant of tblite's own interface.
KELVIN = 3.166808578545117e-6

NO_BASIS = (None, "", "(auto)")


@dataclass(frozen=True, eq=False)
class _Settings:
    method: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


class TbliteEngine:
    """Computes tasks with tblite.

    Notes
    -----
    Keywords are tblite's ``accuracy`` (default 1), ``max_iter`` (250) and ``electronic_temperature`` in
    kelvin (300).  Basis functions belong to the parametrisation, so ghost atoms have no meaning.
    """

    name = "tblite"
    ghosts: bool | None = False
    point_charges = False

    def __init__(self) -> None:
        self._read: list[tuple[Level, _Settings]] = []
        self._calculator: Any = None

    def version(self) -> str:
        """Version of tblite; raises InputError with the command to install it."""
        try:
            return importlib.metadata.version("tblite")
        except importlib.metadata.PackageNotFoundError:
            raise InputError("tblite is not installed; pip install 'qcmb-mpi[tblite]'", "program") from None

    def check(self, level: Level, driver: Driver, cluster: Cluster) -> None:
        """Refuse what tblite cannot compute; see :class:`qcmb_mpi.engine.base.Engine`."""
        self.version()
        self._settings(level)
        if driver == "hessian":
            raise InputError("tblite has no analytic Hessian; energies and gradients only", "driver")
        heavy = np.flatnonzero((cluster.numbers > HEAVIEST) | (cluster.numbers < 1))
        if heavy.size:
            symbol = cluster.symbols[int(heavy[0])]
            raise InputError(
                f"tblite has no parameters for {symbol}; its methods end with radon (Z = {HEAVIEST})",
                "molecule.symbols",
            )
        charges = np.asarray(cluster.charges)
        if not np.array_equal(charges, np.round(charges)):
            raise InputError("tblite needs whole numbers as charges", "molecule.fragment_charges")
        electrons = np.add.reduceat(cluster.numbers, cluster.offsets[:-1]) - charges.astype(int)
        unpaired = cluster.multiplicities - 1
        wrong = (electrons < 0) | (unpaired < 0) | (unpaired > electrons) | ((electrons - unpaired) % 2 != 0)
        if wrong.any():
            i = int(np.flatnonzero(wrong)[0])
            raise InputError(
                f"fragment {i + 1} has {electrons[i]} electrons, which cannot have multiplicity "
                f"{cluster.multiplicities[i]}",
                "molecule.fragment_multiplicities",
            )

    def sizes(self, level: Level, cluster: Cluster) -> NDArray[np.float64]:
        """Valence functions of each fragment, shape (n_fragments,)."""
        return np.add.reduceat(valence_functions(cluster.numbers), cluster.offsets[:-1])

    def energy_error(self, level: Level) -> float:
        """Convergence threshold of the energy in Eh: 1e-6 times the accuracy."""
        return 1e-6 * float(self._settings(level).attributes.get("accuracy", 1.0))

    def compute(
        self,
        level: Level,
        driver: Driver,
        molecule: TaskMolecule,
        resources: Resources,
        *,
        attempt: int = 0,
        keep_record: bool = False,
    ) -> Answer:
        """Compute one task; see :class:`qcmb_mpi.engine.base.Engine`.

        Ghost atoms are refused: tblite would ignore them and return the energy in the monomer's own
        basis under another name.
        """
        if driver == "hessian":
            raise EngineFailure(Kind.INPUT, "tblite has no analytic Hessian")
        if not molecule.real.all():
            raise EngineFailure(Kind.INPUT, "tblite has no ghost atoms")
        if molecule.point_charges is not None and len(molecule.point_charges):
            raise EngineFailure(Kind.INPUT, "tblite takes no point charges here")
        found = self._settings(level)
        note = ""
        try:
            calculator = self._calculator(
                found.method,
                molecule.numbers,
                molecule.geometry,
                charge=float(molecule.charge),
                uhf=molecule.multiplicity - 1,
                logger=_silence,
            )
            for name, value in found.attributes.items():
                calculator.set(name, value)
            if attempt:
                calculator.set("max-iter", 1000)
                calculator.set("mixer-damping", 0.4 / 2**attempt)
                note = "SCC with slower mixing"
            result = calculator.singlepoint()
            energy = float(result.get("energy"))
            # tblite computes it with every energy; it is read only where wanted.
            gradient = np.asarray(result.get("gradient")) if driver == "gradient" else None
        except RuntimeError as error:
            text = str(error).strip()
            kind = Kind.CONVERGENCE if "converge" in text.lower() else Kind.CRASH
            raise EngineFailure(kind, f"tblite: {text}") from error
        answer = checked(Answer(energy, gradient, note=note), len(molecule.symbols), driver)
        if not keep_record:
            return answer
        record = atomic_result(
            level, driver, molecule, answer, self.properties(molecule),
            creator="tblite", version=self.version(),
        )  # fmt: skip
        return Answer(energy, gradient, note=note, record=record)

    def properties(self, molecule: TaskMolecule) -> dict[str, Any]:
        """What a QCSchema record tells besides the answer."""
        return {"calcinfo_natom": len(molecule.symbols)}

    def _settings(self, level: Level) -> _Settings:
        for known, found in self._read:
            if known is level:
                return found
        self.version()
        found = _read(level)
        if self._calculator is None:
            from tblite.interface import Calculator

            self._calculator = Calculator
        self._read = [(level, found), *self._read[:15]]
        return found


def _silence(message: str) -> None:
    """Swallow what tblite would print."""


def _read(level: Level) -> _Settings:
    method = METHODS.get(level.method.strip().lower())
    if method is None:
        close = difflib.get_close_matches(level.method.lower(), METHODS, n=1, cutoff=0.4)
        hint = f"; did you mean {METHODS[close[0]]!r}?" if close else ""
        raise InputError(
            f"tblite has no method {level.method!r}; it has {', '.join(sorted(set(METHODS.values())))}{hint}",
            "method",
        )
    if level.basis not in NO_BASIS:
        raise InputError(
            f"{method} brings its own basis functions; leave the basis out (it is {level.basis!r})", "basis"
        )
    attributes: dict[str, Any] = {"verbosity": 0}
    for key, value in level.keywords.items():
        plain = key.lower()
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if plain in ("accuracy", "electronic_temperature"):
            if not number or not value > 0:
                raise InputError(f"expected a number above zero, got {value!r}", f"keywords.{key}")
            if plain == "accuracy":
                attributes["accuracy"] = float(value)
            else:
                attributes["temperature"] = float(value) * KELVIN
        elif plain == "max_iter":
            if type(value) is not int or value < 1:
                raise InputError(f"expected an integer above zero, got {value!r}", f"keywords.{key}")
            attributes["max-iter"] = value
        else:
            known = ("accuracy", "max_iter", "electronic_temperature")
            raise InputError(
                f"the tblite engine has no such keyword; known are {', '.join(known)}", f"keywords.{key}"
            )
    return _Settings(method, attributes)


def valence_functions(numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """Number of valence basis functions of each atom in GFN2-xTB, shape (n_atoms,): 1 for hydrogen
    and s-block atoms' s shells with p, 4 for second-row atoms, 9 where there are d functions."""
    z = np.asarray(numbers)
    functions = np.full(z.shape, 9.0)
    functions[z <= 2] = 1.0
    functions[(z >= 3) & (z <= 11)] = 4.0
    return functions
