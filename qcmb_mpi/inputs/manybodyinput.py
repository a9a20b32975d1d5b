"""``ManyBodyInput``: QCManyBody's model of version 2, which also takes the guide's flat form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qcmb_mpi.errors import InputError

__all__ = ["ManyBodyInput"]


class _Stands(type):
    """Lets a class stand for QCManyBody's: its objects, methods and fields, imported when used."""

    def __call__(cls, **values: Any) -> Any:
        from qcmb_mpi.inputs.build import build
        from qcmb_mpi.inputs.recognise import to_schema
        from qcmb_mpi.inputs.schema import OURS

        for section in OURS:
            if section in values:
                raise InputError(
                    "QCManyBody's model has no place for it; hand in the whole input as a dictionary", section
                )

        return build(*to_schema(values, Path.cwd())).problem.model

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _model())

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _model())

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_model(), name)


class ManyBodyInput(metaclass=_Stands):
    """A many-body calculation: ``qcmanybody.models.v2.ManyBodyInput`` for all purposes.

    Takes that model's fields, or the flat form
    ``ManyBodyInput(molecule=..., driver=..., specification={program, method, basis}, keywords={...})``,
    and returns an object of QCManyBody's class.  Unlike that class it fills in the charges and
    multiplicities of fragments that were not given (neutral, lowest multiplicity) instead of
    searching for them, and accepts fragments that are not contiguous.

    Parameters
    ----------
    molecule
        QCElemental ``Molecule`` or dictionary.
    driver
        ``energy``, ``gradient`` or ``hessian``.
    specification
        ``program``, ``method``, ``basis`` and ``keywords`` of the level, or several such by name.
    keywords
        Many-body keywords: ``max_nbody``, ``bsse_type``, ``levels`` and so on.

    Raises
    ------
    InputError
        Anything that is wrong, by field.
    """


def _model() -> Any:
    from qcmanybody.models.v2 import ManyBodyInput as Model

    return Model
