"""The many-body keywords and levels, checked, as an Expansion.

Resolves what QCManyBody resolves (``v2/computer.py`` and ``core.py``), and refuses what it refuses
and what it drops without a word: ``max_nbody`` that contradicts ``levels``, and
``supersystem_ie_only`` with several levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qcmb_mpi.errors import InputError
from qcmb_mpi.expansion.plan import Expansion
from qcmb_mpi.inputs.fields import Names, choice, flag, mapping, nearest, number, shown, whole_number
from qcmb_mpi.problem import Driver

__all__ = ["BSSE", "DRIVERS", "Treatment", "read_treatment"]

#: What users may write for a BSSE treatment, and its name here.
BSSE = {"nocp": "nocp", "cp": "cp", "vmfc": "vmfc", "ssfc": "cp", "mbe": "nocp", "none": "nocp"}

DRIVERS: tuple[Driver, ...] = ("energy", "gradient", "hessian")

KEYWORDS = ("specification", "keywords")


@dataclass(frozen=True)
class Treatment:
    """How the cluster is expanded.

    Attributes
    ----------
    expansion
        Without screening.
    level_names
        Names of the levels used, in the order of ``expansion.orders``.
    embedding
        Point charges of each fragment's atoms by 1-based fragment.
    warnings
        What is allowed but may not be meant.
    """

    expansion: Expansion
    level_names: tuple[str, ...]
    embedding: Mapping[int, Sequence[float]] | None
    warnings: tuple[str, ...]


def read_treatment(
    keywords: Mapping[str, Any],
    specifications: Sequence[str],
    fragment_sizes: Sequence[int],
    driver: Driver,
    names: Names,
) -> Treatment:
    """Check the many-body keywords against the cluster and the specifications.

    Parameters
    ----------
    keywords
        ``specification.keywords`` of QCSchema, without unknown fields.
    specifications
        Names in ``specification.specification``.
    fragment_sizes
        Number of atoms of each fragment.
    driver
        Derivative wanted.
    names
        The user's spelling.

    Raises
    ------
    InputError
        Naming the keyword that is wrong or contradicts another.
    """
    n_fragments = len(fragment_sizes)
    given = {key: value for key, value in keywords.items() if value is not None}
    warnings: list[str] = []
    treatments = _treatments(given.get("bsse_type", "cp"), names(*KEYWORDS, "bsse_type"))
    by_order, supersystem = _levels(given, specifications, n_fragments, names, warnings)
    max_nbody = max(by_order)
    level_names = list(dict.fromkeys(by_order[order] for order in sorted(by_order)))
    if supersystem is not None:
        level_names.append(supersystem)

    embedding = _embedding(given.get("embedding_charges"), fragment_sizes, names)
    total = _total_data(given, driver, n_fragments, embedding is not None, names)
    if embedding is not None and treatments == ["cp"]:
        warnings.append(
            f"{names(*KEYWORDS, 'embedding_charges')}: without effect on cp, where every fragment has a basis"
        )
    if treatments == ["cp"] and max_nbody == 1 and not total:
        warnings.append(
            f"{names(*KEYWORDS, 'max_nbody')}: the interaction through 1-body is zero, nothing is computed; "
            "return_total_data gives the monomers"
        )
    shortcut = flag(given.get("supersystem_ie_only", False), names(*KEYWORDS, "supersystem_ie_only"))
    if shortcut:
        _check_shortcut(treatments, max_nbody, n_fragments, level_names, names)
    if "vmfc" in treatments and len(level_names) == 1:
        # single-level vmfc computes every task of nocp, and of cp at max_nbody = N
        free = ["nocp", "cp"] if max_nbody == n_fragments else ["nocp"]
        treatments += [word for word in free if word not in treatments]

    expansion = Expansion(
        n_fragments=n_fragments,
        treatments=tuple(treatments),
        orders=tuple(
            tuple(order for order in sorted(by_order) if by_order[order] == name) for name in level_names
        ),
        supersystem=None if supersystem is None else level_names.index(supersystem),
        return_total_data=total,
        supersystem_ie_only=shortcut,
    )
    return Treatment(expansion, tuple(level_names), embedding, tuple(warnings))


def _treatments(value: Any, field: str) -> list[str]:
    words = [value] if isinstance(value, str) or not isinstance(value, Sequence) else list(value)
    if not words:
        raise InputError(f"names no treatment; known are {', '.join(BSSE)}", field)
    many = len(words) > 1
    found = [BSSE[choice(w, BSSE, f"{field}[{i}]" if many else field)] for i, w in enumerate(words)]
    return list(dict.fromkeys(found))


def _levels(
    given: Mapping[str, Any],
    specifications: Sequence[str],
    n_fragments: int,
    names: Names,
    warnings: list[str],
) -> tuple[dict[int, str], str | None]:
    """The level of each body order from 1 to max_nbody, and that of the supersystem."""
    max_nbody = None
    if "max_nbody" in given:
        field = names(*KEYWORDS, "max_nbody")
        max_nbody = whole_number(given["max_nbody"], field)
        _check_order(max_nbody, n_fragments, field)
    if "levels" not in given:
        if len(specifications) > 1:
            raise InputError(
                f"is missing: say which body orders each of {', '.join(specifications)} serves",
                names(*KEYWORDS, "levels"),
            )
        return dict.fromkeys(range(1, (max_nbody or n_fragments) + 1), specifications[0]), None

    field = names(*KEYWORDS, "levels")
    numbered, supersystem = _read_levels(given["levels"], specifications, n_fragments, names)
    highest = max(numbered)
    if max_nbody is not None and max_nbody != highest:
        raise InputError(
            f"{max_nbody} contradicts {field}, which go up to {highest}-body; leave one of them out",
            names(*KEYWORDS, "max_nbody"),
        )
    unused = [name for name in specifications if name not in (*numbered.values(), supersystem)]
    if unused:
        warnings.append(f"{field}: {', '.join(unused)} serves no body order and is not used")
    by_order: dict[int, str] = {}
    for top in sorted(numbered):  # a level serves the lower orders that are not listed too
        by_order.update(dict.fromkeys(range(len(by_order) + 1, top + 1), numbered[top]))
    return by_order, supersystem


def _read_levels(
    value: Any, specifications: Sequence[str], n_fragments: int, names: Names
) -> tuple[dict[int, str], str | None]:
    field = names(*KEYWORDS, "levels")
    numbered: dict[int, str] = {}
    supersystem = None
    used: dict[str, str] = {}
    for key, level in mapping(value, field, "body orders").items():
        place = names(*KEYWORDS, "levels", key)
        if level not in specifications:
            raise InputError(
                f"there is no level {shown(level)} in {names('specification', 'specification')}; "
                f"{nearest(level, specifications)}",
                place,
            )
        if level in used:
            raise InputError(
                f"{level!r} serves {used[level]} already. A level serves lower orders that are not "
                "listed by itself; for orders that do not follow each other give it a second name",
                place,
            )
        used[level] = key
        if key == "supersystem":
            supersystem = level
            continue
        try:
            order = int(key)
        except ValueError:
            raise InputError("expected a body order (1, 2, ...) or 'supersystem'", place) from None
        _check_order(order, n_fragments, place)
        if order in numbered:
            raise InputError(f"body order {order} is given twice", place)
        numbered[order] = level
    if not numbered:
        raise InputError("needs at least one body order (1, 2, ...)", field)
    return numbered, supersystem


def _check_order(order: int, n_fragments: int, field: str) -> None:
    if order < 1:
        raise InputError(f"{order} is less than 1; body orders are 1 to {n_fragments}", field)
    if order > n_fragments:
        fragments = "the 1 fragment" if n_fragments == 1 else f"the {n_fragments} fragments"
        raise InputError(f"{order} is more than {fragments}", field)


def _embedding(
    value: Any, fragment_sizes: Sequence[int], names: Names
) -> dict[int, tuple[float, ...]] | None:
    field = names(*KEYWORDS, "embedding_charges")
    if value is None or value == {}:
        return None
    charges: dict[int, tuple[float, ...]] = {}
    for key, row in mapping(value, field, "lists of charges by 1-based fragment").items():
        place = names(*KEYWORDS, "embedding_charges", key)
        fragment = whole_number(key, place)
        if not 1 <= fragment <= len(fragment_sizes):
            raise InputError(f"there is no fragment {key}: they are 1 to {len(fragment_sizes)}", place)
        if isinstance(row, str) or not isinstance(row, Sequence):
            raise InputError(f"expected a list of charges, not {shown(row)}", place)
        size = fragment_sizes[fragment - 1]
        if len(row) != size:
            raise InputError(f"has {len(row)} charges for the {size} atoms of fragment {fragment}", place)
        charges[fragment] = tuple(number(item, place) for item in row)
    missing = [str(i + 1) for i in range(len(fragment_sizes)) if i + 1 not in charges]
    if missing:
        listed = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
        raise InputError(f"fragment without charges: {listed}; every fragment needs them", field)
    return charges


def _total_data(
    given: Mapping[str, Any], driver: Driver, n_fragments: int, embedded: bool, names: Names
) -> bool:
    field = names(*KEYWORDS, "return_total_data")
    # a single fragment interacts with nothing: its total data are all there is
    default = driver != "energy" or n_fragments == 1
    total = flag(given.get("return_total_data", default), field)
    if embedded and not total:
        given_as = "is false" if "return_total_data" in given else f"is false by default for {driver}"
        raise InputError(
            f"{given_as}, but with {names(*KEYWORDS, 'embedding_charges')} there are no interaction data; "
            "set it to true",
            field,
        )
    return total


def _check_shortcut(
    treatments: Sequence[str], max_nbody: int, n_fragments: int, level_names: Sequence[str], names: Names
) -> None:
    field = names(*KEYWORDS, "supersystem_ie_only")
    if len(level_names) > 1:
        raise InputError(f"needs a single level, not {len(level_names)} ({', '.join(level_names)})", field)
    if max_nbody != n_fragments:
        raise InputError(
            f"needs max_nbody to be the number of fragments ({n_fragments}), not {max_nbody}", field
        )
    if "vmfc" in treatments:
        raise InputError("cannot be used with vmfc, which needs all n-mers; use cp instead", field)
