"""What to cite for a job: the programs and methods that made its number.

DOIs are those that the programs themselves ask for, where they do (metadata of qcmanybody and pyscf,
documentation of tblite), else the journals'.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qcmb_mpi.problem import Level

__all__ = ["Reference", "references"]


@dataclass(frozen=True)
class Reference:
    """What for, and where it is published."""

    what: str
    text: str
    doi: str


MANYBODY = Reference(
    "QCManyBody (definition of the expansion, schema of the result)",
    "L. A. Burns, C. D. Sherrill, B. P. Pritchard, QCManyBody: A Flexible Implementation of the Many-Body "
    "Expansion, J. Chem. Phys. 161, 152501 (2024)",
    "10.1063/5.0231843",
)
QCENGINE = Reference(
    "QCElemental, QCEngine (molecules, units, programs)",
    "D. G. A. Smith et al., Quantum Chemistry Common Driver and Databases (QCDB) and Quantum Chemistry "
    "Engine (QCEngine): Automation and interoperability among computational chemistry programs, "
    "J. Chem. Phys. 155, 204801 (2021)",
    "10.1063/5.0059356",
)
PYSCF = Reference(
    "PySCF",
    "Q. Sun et al., Recent developments in the PySCF program package, J. Chem. Phys. 153, 024109 (2020)",
    "10.1063/5.0006074",
)
LIBXC = Reference(
    "Libxc (density functionals in PySCF)",
    "S. Lehtola, C. Steigemann, M. J. T. Oliveira, M. A. L. Marques, Recent developments in libxc — A "
    "comprehensive library of functionals for density functional theory, SoftwareX 7, 1 (2018)",
    "10.1016/j.softx.2017.11.002",
)
XTB = {
    "gfn2-xtb": Reference(
        "GFN2-xTB (with tblite)",
        "C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 15, 1652-1671 (2019)",
        "10.1021/acs.jctc.8b01176",
    ),
    "gfn1-xtb": Reference(
        "GFN1-xTB (with tblite)",
        "S. Grimme, C. Bannwarth, P. Shushkov, J. Chem. Theory Comput. 13, 1989-2009 (2017)",
        "10.1021/acs.jctc.7b00118",
    ),
    "ipea1-xtb": Reference(
        "IPEA1-xTB (with tblite)",
        "V. Asgeirsson, C. Bauer, S. Grimme, Chem. Sci. 8, 4879 (2017)",
        "10.1039/c7sc00601b",
    ),
}
TREATMENTS = {
    "cp": Reference(
        "counterpoise correction (cp)",
        "S. F. Boys, F. Bernardi, Mol. Phys. 19, 553 (1970)",
        "10.1080/00268977000101561",
    ),
    "vmfc": Reference(
        "Valiron-Mayer function counterpoise (vmfc)",
        "P. Valiron, I. Mayer, Chem. Phys. Lett. 275, 46 (1997)",
        "10.1016/S0009-2614(97)00689-7",
    ),
}
#: PySCF methods that are no density functional.
WAVE_FUNCTION = ("hf", "mp2", "ccsd", "ccsd(t)")


def references(levels: Sequence[Level], treatments: Iterable[str]) -> tuple[list[Reference], list[str]]:
    """What to cite for some levels and BSSE treatments.

    Returns
    -------
    references
        In the order in which they are worth reading.
    others
        Programs whose own documentation says how they are cited.
    """
    found = [MANYBODY, QCENGINE]
    others = []
    for level in levels:
        method = level.method.lower()
        if level.program == "pyscf":
            found.append(PYSCF)
            if method not in WAVE_FUNCTION:
                found.append(LIBXC)
        elif level.program == "tblite" and method in XTB:
            found.append(XTB[method])
        else:
            others.append(level.program)
    found += [TREATMENTS[treatment] for treatment in treatments if treatment in TREATMENTS]
    return list(dict.fromkeys(found)), sorted(set(others))
