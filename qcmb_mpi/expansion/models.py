"""QCManyBody's results with the attributes its users look for.

Importing this module imports qcmanybody (half a second): only who builds a result should.
"""

from __future__ import annotations

import html
from typing import Any

from qcmanybody.models import v1, v2

from qcmb_mpi.expansion.result import headline

__all__ = ["ManyBodyResultV1", "ManyBodyResultV2"]


class _Returned:
    """``ret_energy``, ``ret_gradient`` and ``ret_hessian``: no fields, so nothing more is serialised.

    ``print(result)`` and a notebook show QCManyBody's tables and the number; ``repr`` is the parent's.
    """

    @property
    def ret_energy(self) -> float:
        """Total or interaction energy [Eh] of the first treatment."""
        return _property(self, "energy")  # type: ignore[no-any-return]

    @property
    def ret_gradient(self) -> Any:
        """Its gradient [Eh/bohr], shape (n_atoms, 3); None where not computed."""
        return _property(self, "gradient")

    @property
    def ret_hessian(self) -> Any:
        """Its Hessian [Eh/bohr²], shape (3 n_atoms, 3 n_atoms); None where not computed."""
        return _property(self, "hessian")

    def __str__(self) -> str:
        """QCManyBody's tables and the number that is returned."""
        tables: str = self.stdout or ""  # type: ignore[attr-defined]
        return "\n".join([tables.rstrip("\n"), "", *headline(self)])

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        return f"<pre>{html.escape(str(self))}</pre>"


def _property(result: Any, name: str) -> Any:
    return getattr(result.properties, f"return_{name}")


class ManyBodyResultV1(_Returned, v1.ManyBodyResult):  # type: ignore[misc]
    """QCSchema version 1."""


class ManyBodyResultV2(_Returned, v2.ManyBodyResult):  # type: ignore[misc]
    """QCSchema version 2."""
