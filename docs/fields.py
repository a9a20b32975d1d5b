"""What every field of an input means, in our words.

Names, and whether a field is there at all, come from the program: ``from_inputs`` asks it and refuses to
write a page while the two differ.  Defaults and examples given here are tried out by ``tests/test_docs.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["EMPTY", "FORMS", "MOLECULE", "Field", "Section"]

EMPTY = object()  # no value stands for leaving the field out


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes
    ----------
    kind
        Type in words.
    meaning
        In words; Markdown.
    example
        A value that can be given in the form's smallest input.
    default
        In words, if it is not ``value``.
    value
        What leaving the field out amounts to.
    version
        Of the schema, if only one has the field.
    beside
        Other fields of the group that it needs.
    """

    kind: str
    meaning: str
    example: Any
    default: str = ""
    value: Any = EMPTY
    version: int | None = None
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """A group of fields.

    Attributes
    ----------
    path
        Where the group is in an input; a number is a place in a list.
    title
        The path as users write it.
    fields
        By name.
    needs
        Other fields of the input that are there when this section is, by path.
    """

    path: tuple[str, ...]
    title: str
    fields: dict[str, Field]
    needs: dict[tuple[str, ...], Any] | None = None


GEOMETRY = [0.0, 0.0, 0.0, 0.0, 0.0, 5.6]
HELIUM = {"symbols": ["He", "He"], "geometry": GEOMETRY, "fragments": [[0], [1]]}
LEVEL = {"program": "pyscf", "method": "hf", "basis": "sto-3g"}
ATOMIC = {"program": "pyscf", "model": {"method": "hf", "basis": "sto-3g"}}

SCHEMA_NAME = Field("text", "which form this is; recognised by its fields if not given", "", "by the fields")
CHARGES = {
    "molecular_charge": Field(
        "whole number", "charge of the whole cluster; the fragments' must add up to it", 0, "their sum"
    ),
    "molecular_multiplicity": Field(
        "whole number",
        "spin multiplicity 2S + 1 of the whole cluster",
        1,
        "that of all fragments' spins parallel",
    ),
    "fragment_charges": Field("list of whole numbers", "one for each fragment", [0, 0], value=[0, 0]),
    "fragment_multiplicities": Field(
        "list of whole numbers",
        "one for each fragment",
        [1, 1],
        "the lowest that the number of electrons allows",
        value=[1, 1],
    ),
}
FRAGMENTS = Field(
    "list of lists of whole numbers",
    "atoms of each fragment, counted from 0; in any order, not necessarily contiguous; each atom once",
    [[0], [1]],
    "all atoms are one fragment",
)
KEPT = "kept for the record, without effect on the result"
MOLECULE = {
    "symbols": Field("list of texts", "element of each atom", ["He", "He"], "required"),
    "geometry": Field(
        "list of numbers", "x, y, z of each atom in bohr, flat or in rows of three", GEOMETRY, "required"
    ),
    "fragments": FRAGMENTS,
    **CHARGES,
    "masses": Field("list of numbers", f"of each atom; {KEPT}", [4.0, 4.0], "the elements'"),
    "real": Field(
        "list of true",
        "must be true for every atom: `bsse_type` brings in ghost atoms where they are needed",
        [True, True],
        value=[True, True],
    ),
    "atom_labels": Field("list of texts", f"of each atom; {KEPT}", ["a", "b"], "none"),
    "atomic_numbers": Field(
        "list of whole numbers", "must be those of `symbols`", [2, 2], "the elements'", value=[2, 2]
    ),
    "mass_numbers": Field("list of whole numbers", f"of each atom; {KEPT}", [4, 4], "the elements'"),
    "connectivity": Field("list of [atom, atom, order]", f"bonds; {KEPT}", [[0, 1, 1.0]], "none"),
    "name": Field("text", f"{KEPT}", "two helium atoms", "the sum formula"),
    "comment": Field("text", f"{KEPT}", "as in the paper", "none"),
    "identifiers": Field("group", f"such as `smiles`, `inchi`; {KEPT}", {"smiles": "[He].[He]"}, "none"),
    "fix_com": Field("true or false", "accepted; atoms always stay where they are", True, "not looked at"),
    "fix_orientation": Field(
        "true or false", "accepted; atoms always stay where they are", True, "not looked at"
    ),
    "fix_symmetry": Field("text", "accepted, without effect", "c1", "none"),
    "validated": Field(
        "true or false", "accepted; the molecule is checked in any case", False, "not looked at"
    ),
    "schema_name": Field("text", "`qcschema_molecule`", "qcschema_molecule", "not needed"),
    "schema_version": Field("whole number", "2 or 3", 3, "not needed"),
    "provenance": Field("group", KEPT, {"creator": "me"}, "the reader of the molecule"),
    "id": Field("any", KEPT, "1", "none"),
    "extras": Field("group", KEPT, {"origin": "x"}, "empty"),
}
KEYWORDS = {
    "max_nbody": Field(
        "whole number", "highest body order", 1, "all fragments, or the highest of `levels`", value=2
    ),
    "bsse_type": Field(
        "word or list of words",
        "`nocp`, `cp`, `vmfc` (also `none` and `mbe` for `nocp`, `ssfc` for `cp`); "
        "the first one gives the result's number",
        ["nocp", "cp"],
        value=["cp"],
    ),
    "levels": Field(
        "group: body order or `supersystem` to name of a level",
        "which level serves which body order; a level also serves the lower orders that are not listed",
        EMPTY,
        "the only level serves all",
    ),
    "return_total_data": Field(
        "true or false",
        "total energies beside interaction energies: with `cp` that adds the monomers in their own basis",
        True,
        "false for energies, true for derivatives",
        value=False,
    ),
    "supersystem_ie_only": Field(
        "true or false",
        "the whole cluster less its monomers, nothing between; "
        "needs a single level, all body orders, and no `vmfc`",
        True,
        value=False,
    ),
    "embedding_charges": Field(
        "group: fragment (from 1) to list of charges",
        "point charges, one for each atom, that stand for the fragments an n-mer lacks; "
        "needs `return_total_data: true`",
        {"1": [0.0], "2": [0.0]},
        "none",
        beside={"return_total_data": True},
    ),
}
DRIVER = Field("word", "`energy`, `gradient` or `hessian`", "energy", "required")
LEVEL_FIELDS = {
    "program": Field("text", "`pyscf`, `tblite` or a program that QCEngine knows", "pyscf", "required"),
    "method": Field("text", "as the program calls it: `hf`, `mp2`, `b3lyp`, `GFN2-xTB`", "hf", "required"),
    "basis": Field("text", "as the program calls it", "sto-3g", "none, for methods that bring their own"),
}
FOR_PROGRAM = Field(
    "group", "for the program; see [Engines and plugins](engines.md)", {"conv_tol": 1e-9}, value={}
)
RECORDS = "`all` keeps the full record of every task, in the checkpoint and in the result; `none` does not"
ATOMIC_FIELDS = {
    "program": LEVEL_FIELDS["program"],
    "model": Field("group", "`method` and `basis`", ATOMIC["model"], "required"),
    "driver": Field("word", "accepted; that of the whole input counts", "energy", "that of the input"),
    "keywords": FOR_PROGRAM,
    "protocols": Field(
        "group",
        "what a record keeps (`stdout`, `wavefunction`, …), if records are kept",
        {"stdout": False},
        value={},
    ),
    "extras": Field("group", "for QCEngine's programs", {"a": 1}, value={}),
}
NAMED = {
    "schema_name": Field("text", "of this group", EMPTY, "not needed"),
    "schema_version": Field("whole number", "of this group", EMPTY, "not needed", version=1),
}
SCHEMA = [
    Section(
        (),
        "top",
        {
            "schema_name": Field(
                "text",
                "`qcschema_many_body_input` (version 2) or `qcschema_manybodyinput` (version 1)",
                "qcschema_many_body_input",
                "by the fields",
            ),
            "schema_version": Field("whole number", "2 or 1", 2, "by the fields"),
            "molecule": Field("group", "see below", HELIUM, "required"),
            "specification": Field("group", "see below", EMPTY, "required"),
            "provenance": Field("group", KEPT, {"creator": "me"}, "this program", version=2),
            "id": Field("text", KEPT, "1", "none", version=2),
            "extras": Field("group", KEPT, {"a": 1}, "empty", version=1),
        },
    ),
    Section(
        ("specification",),
        "specification",
        {
            "driver": DRIVER,
            "specification": Field(
                "group", "one level, or several by name for `keywords.levels`", ATOMIC, "required"
            ),
            "keywords": Field("group", "of the expansion", {}, value={}),
            "protocols": Field("group", "what a result keeps", {}, value={}),
            "extras": Field("group", KEPT, {"a": 1}, "empty"),
            "program": Field("text", "accepted; this program computes it", "x", "none", version=2),
            **NAMED,
        },
    ),
    Section(("specification", "keywords"), "specification.keywords", {**KEYWORDS, **NAMED}),
    Section(
        ("specification", "protocols"),
        "specification.protocols",
        {
            "cluster_results": Field("word", RECORDS, "all", value="none", version=2),
            "component_results": Field("word", "the same in version 1", "all", value="none", version=1),
            **NAMED,
        },
    ),
    Section(("specification", "specification"), "specification.specification", {**ATOMIC_FIELDS, **NAMED}),
    Section(
        ("specification", "specification", "model"),
        "specification.specification.model",
        {**{name: LEVEL_FIELDS[name] for name in ("method", "basis")}, "schema_name": NAMED["schema_name"]},
    ),
]
FLAT = [
    Section(
        (),
        "top",
        {
            "molecule": Field("group", "as in QCSchema", HELIUM, "required"),
            "driver": DRIVER,
            "specification": Field(
                "group", "one level, or several by name for `keywords.levels`", LEVEL, "required"
            ),
            "keywords": Field("group", "of the expansion, as in QCSchema", {}, value={}),
            "protocols": Field("group", "as in QCSchema", {}, value={}),
            "schema_name": Field("text", "as in QCSchema", "qcschema_many_body_input", "not needed"),
            "schema_version": Field("whole number", "2", 2, "not needed"),
        },
    ),
    Section(
        ("specification",),
        "specification",
        {
            **LEVEL_FIELDS,
            "keywords": FOR_PROGRAM,
            "driver": ATOMIC_FIELDS["driver"],
            "model": Field("group", "`method` and `basis`, in place of the two fields", EMPTY, "not needed"),
            "protocols": ATOMIC_FIELDS["protocols"],
            "extras": ATOMIC_FIELDS["extras"],
        },
    ),
]
INLINE = {
    "units": Field("word", "`angstrom` or `bohr`", "bohr", value="angstrom"),
    "symbols": MOLECULE["symbols"],
    "geometry": Field(
        "list of rows of three numbers", "x, y, z of each atom", [[0, 0, 0], [0, 0, 3]], "required"
    ),
    "fragments": FRAGMENTS,
    **CHARGES,
}
COMMAND_LINE = [
    Section(
        (),
        "top",
        {
            "schema_name": Field("text", "`qcmanybody_cli_input`", "qcmanybody_cli_input", "by the fields"),
            "schema_version": Field("whole number", "1", 1, value=1),
            "molecule": Field("group", "see below", EMPTY, "required"),
            "calculation": Field("group", "see below", EMPTY, "required"),
            "bsse": Field("group or word", "see below", {"type": ["nocp"]}, value={"type": ["cp"]}),
            "manybody": Field("group", "see below", {}, value={}),
            "program": Field("group", "see below", {}, value={}),
            "output": Field("group", "see below", {}, value={}),
        },
    ),
    Section(
        ("molecule",),
        "molecule",
        {
            "source": Field("word", "`inline`, `xyz`, `pdb` or `qcschema`", "inline", value="inline"),
            "inline": Field("group", "see below", EMPTY, "required for `inline`"),
            "file": Field(
                "text",
                "a file with one structure; the path begins at the input file",
                EMPTY,
                "required otherwise",
            ),
            "fragments": Field(
                FRAGMENTS.kind, "of the structure in `file`, as `inline.fragments`", EMPTY, "the file's"
            ),
        },
    ),
    Section(("molecule", "inline"), "molecule.inline", INLINE),
    Section(
        ("calculation",),
        "calculation",
        {
            "type": Field("word", "`single` or `multi`", "single", value="single"),
            "single": Field(
                "group", "one level for all body orders; see below", EMPTY, "required for `single`"
            ),
            "multi": Field("group", "`driver` and `levels`; see below", EMPTY, "required for `multi`"),
        },
    ),
    Section(
        ("calculation", "single"),
        "calculation.single",
        {"driver": Field("word", DRIVER.meaning, "energy", value="energy"), **LEVEL_FIELDS},
    ),
    Section(
        ("calculation", "multi"),
        "calculation.multi",
        {
            "driver": Field("word", DRIVER.meaning, "energy", value="energy"),
            "levels": Field(
                "group: body order or `supersystem` to level",
                "`method`, `basis` and `program` of each; "
                "a level also serves the lower orders that are not listed",
                {"2": LEVEL},
                "required",
            ),
        },
        {("calculation",): {"type": "multi", "multi": {"levels": {"2": LEVEL}}}},
    ),
    Section(("bsse",), "bsse", {"type": KEYWORDS["bsse_type"]}),
    Section(
        ("manybody",),
        "manybody",
        {
            name: KEYWORDS[name]
            for name in ("max_nbody", "return_total_data", "supersystem_ie_only", "embedding_charges")
        },
    ),
    Section(("program",), "program", {"keywords": FOR_PROGRAM}),
    Section(
        ("output",),
        "output",
        {
            "format": Field(
                "word",
                "`json`, `yaml` or `text` (what is printed)",
                "yaml",
                "by the name of `file`, else json",
            ),
            "file": Field(
                "text",
                "the result; the path begins at the input file",
                "x.json",
                "the input's stem + `.result.json`",
            ),
            "pretty": Field("true or false", "with line breaks and indentation", False, "true"),
            "include_timings": Field("true or false", "with the times of the run", False, "true"),
        },
    ),
]
SCREENING = [
    Section(
        ("screening",),
        "screening",
        {
            "distance": Field(
                "group: body order to number",
                "cutoffs; they must not grow with the order",
                {"2": 12.0},
                "required",
            ),
            "unit": Field("word", "of the cutoffs: `angstrom` or `bohr`", "bohr", value="angstrom"),
        },
        {("screening",): {"distance": {"2": 12.0}}},
    )
]

#: Name of a form to its smallest input and its sections.
FORMS: dict[str, tuple[dict[str, Any], list[Section]]] = {
    "molecule": (
        {"molecule": HELIUM, "specification": {"driver": "energy", "specification": ATOMIC}},
        [Section(("molecule",), "molecule", MOLECULE)],
    ),
    "schema": ({"molecule": HELIUM, "specification": {"driver": "energy", "specification": ATOMIC}}, SCHEMA),
    "flat": ({"molecule": HELIUM, "driver": "energy", "specification": LEVEL}, FLAT),
    "command_line": (
        {
            "schema_name": "qcmanybody_cli_input",
            "molecule": {
                "inline": {
                    "symbols": ["He", "He"],
                    "geometry": [[0, 0, 0], [0, 0, 3]],
                    "fragments": [[0], [1]],
                }
            },
            "calculation": {"single": LEVEL},
        },
        COMMAND_LINE,
    ),
    "screening": (
        {"molecule": HELIUM, "driver": "energy", "specification": LEVEL, "screening": {}},
        SCREENING,
    ),
}
