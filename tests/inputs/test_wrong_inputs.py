"""Every mistake is an InputError that names the field as the user wrote it."""

from __future__ import annotations

import json
import os

import pytest
from input_samples import HF, IONS, RADICALS, WATERS, changed, cli, flat, leveled, multi, schema, schema_v1

from qcmb_mpi.errors import ExitCode, InputError
from qcmb_mpi.inputs import from_model, load

MOL = "molecule"
KEYS = "specification.keywords"
INLINE = "molecule.inline"


def water(**fields):
    return schema({**WATERS, **fields})


WRONG = {
    # fields
    "unknown top field": (changed(schema(), "molecul", {}), "molecul", "'molecule'"),
    "unknown section": (changed(schema(), "exekution", {}), "exekution", "'execution'"),
    "unknown keyword": (schema(max_nbdy=2), f"{KEYS}.max_nbdy", "'max_nbody'"),
    "unknown molecule field": (water(fragmetns=[]), "molecule.fragmetns", "'fragments'"),
    "unknown specification field": (
        changed(schema(), "specification.diver", "energy"),
        "specification.diver",
        "'driver'",
    ),
    "unknown protocol": (
        changed(schema(), "specification.protocols", {"component_results": "all"}),
        "specification.protocols.component_results",
        "cluster_results",
    ),
    "unknown protocol in version 1": (
        changed(schema_v1(), "specification.protocols", {"cluster_results": "all"}),
        "specification.protocols.cluster_results",
        "component_results",
    ),
    "unknown model field": (
        changed(schema(), "specification.specification.model.bassis", "sto-3g"),
        "specification.specification.model.bassis",
        "'basis'",
    ),
    "unknown field of a level": (
        changed(leveled({3: "hf"}), "specification.specification.mp2.keyword", {}),
        "specification.specification.mp2.keyword",
        "'keywords'",
    ),
    "no molecule": (changed(schema(), "molecule", ...), "molecule", "missing"),
    "no specification": (changed(schema(), "specification", ...), "specification", "missing"),
    "no levels at all": (
        changed(schema(), "specification.specification", {}),
        "specification.specification",
        "missing",
    ),
    "no program": (
        changed(schema(), "specification.specification.program", ...),
        "specification.specification.program",
        "missing",
    ),
    "program is a number": (
        changed(leveled({3: "hf"}), "specification.specification.hf.program", 3),
        "specification.specification.hf.program",
        "not 3",
    ),
    "no method": (
        changed(schema(), "specification.specification.model", {"basis": "sto-3g"}),
        "specification.specification.model.method",
        "missing",
    ),
    "basis object": (
        changed(schema(), "specification.specification.model.basis", {"name": "x"}),
        "specification.specification.model.basis",
        "name of a basis set",
    ),
    "keywords are a list": (
        changed(schema(), "specification.specification.keywords", [1]),
        "specification.specification.keywords",
        "group",
    ),
    "specification is text": (changed(schema(), "specification", "hf"), "specification", "group"),
    "molecule is text": (changed(schema(), "molecule", "water"), "molecule", "group"),
    "protocol word": (
        changed(schema(), "specification.protocols", {"cluster_results": "some"}),
        "specification.protocols.cluster_results",
        "all, none",
    ),
    "level protocol, caught by the model": (
        changed(schema(), "specification.specification.protocols", {"wavefunction": "everything"}),
        "specification.specification.protocols.wavefunction",
        "everything",
    ),
    "level protocol of version 1": (
        changed(schema_v1(), "specification.specification.protocols", {"wavefunction": "everything"}),
        "specification.specification.protocols.wavefunction",
        "enumeration",
    ),
    "molecule field, caught by the model": (
        water(connectivity=[[0, 1, 99]]),
        "molecule.connectivity[0][2]",
        "99",
    ),
    "molecule field, caught by the model of version 1": (
        schema_v1({**WATERS, "connectivity": [[0, 1, 99]]}),
        "molecule.connectivity[0][2]",
        "5",
    ),
    # schema
    "schema name": (
        changed(schema(), "schema_name", "qcschema_manybody_input"),
        "schema_name",
        "did you mean",
    ),
    "schema of a single point": (
        changed(schema(), "schema_name", "qcschema_input"),
        "schema_name",
        "qcmanybody_cli_input",
    ),
    "version contradicts name": (changed(schema(), "schema_version", 1), "schema_version", "contradicts"),
    "version unknown": (changed(schema(), "schema_version", 7), "schema_version", "expected 1 or 2"),
    # driver and treatment
    "driver": (changed(schema(), "specification.driver", "gradients"), "specification.driver", "'gradient'"),
    "driver properties": (
        changed(schema(), "specification.driver", "properties"),
        "specification.driver",
        "energy, gradient, hessian",
    ),
    "no driver": (changed(schema(), "specification.driver", ...), "specification.driver", "missing"),
    "driver of a level": (
        changed(schema(), "specification.specification.driver", "x"),
        "specification.specification.driver",
        "energy",
    ),
    "BSSE word": (schema(bsse_type="counterpoise"), f"{KEYS}.bsse_type", "nocp, cp, vmfc, ssfc, mbe, none"),
    "BSSE word in a list": (schema(bsse_type=["cp", "vmcf"]), f"{KEYS}.bsse_type[1]", "'vmfc'"),
    "no BSSE word": (schema(bsse_type=[]), f"{KEYS}.bsse_type", "known are"),
    "BSSE number": (schema(bsse_type=[3]), f"{KEYS}.bsse_type", "known are"),
    "max_nbody too large": (schema(max_nbody=9), f"{KEYS}.max_nbody", "9 is more than the 3 fragments"),
    "max_nbody zero": (schema(max_nbody=0), f"{KEYS}.max_nbody", "less than 1"),
    "max_nbody negative": (schema(max_nbody=-1), f"{KEYS}.max_nbody", "less than 1"),
    "max_nbody fraction": (schema(max_nbody=1.5), f"{KEYS}.max_nbody", "whole number"),
    "max_nbody text": (schema(max_nbody="two"), f"{KEYS}.max_nbody", "whole number"),
    "max_nbody boolean": (schema(max_nbody=True), f"{KEYS}.max_nbody", "whole number"),
    "return_total_data": (schema(return_total_data="yes"), f"{KEYS}.return_total_data", "true or false"),
    # levels
    "max_nbody contradicts levels": (
        leveled({1: "mp2", 2: "hf"}, max_nbody=3),
        f"{KEYS}.max_nbody",
        "contradicts specification.keywords.levels",
    ),
    "level twice": (leveled({1: "hf", 2: "mp2", 3: "hf"}), f"{KEYS}.levels.3", "'hf' serves 1 already"),
    "level is the supersystem's": (
        leveled({2: "hf", "supersystem": "hf"}),
        f"{KEYS}.levels.supersystem",
        "second name",
    ),
    "level name": (leveled({1: "mp2", 2: "hff"}), f"{KEYS}.levels.2", "'hf'"),
    "level name without levels": (schema(levels={2: "hf"}), f"{KEYS}.levels.2", "(auto)"),
    "level is no name": (leveled({1: {}}), f"{KEYS}.levels.1", "no level {}"),
    "level key": (leveled({"dimers": "hf"}), f"{KEYS}.levels.dimers", "body order"),
    "level key too large": (leveled({4: "hf"}), f"{KEYS}.levels.4", "more than the 3 fragments"),
    "level key zero": (leveled({0: "hf"}), f"{KEYS}.levels.0", "less than 1"),
    "same order twice": (leveled({"1": "hf", "01": "mp2"}), f"{KEYS}.levels.01", "given twice"),
    "supersystem alone": (leveled({"supersystem": "hf"}), f"{KEYS}.levels", "at least one body order"),
    "levels are a list": (schema(levels=["hf"]), f"{KEYS}.levels", "group of body orders"),
    "several levels, none assigned": (
        changed(leveled({2: "hf"}), f"{KEYS}.levels", ...),
        f"{KEYS}.levels",
        "hf, mp2",
    ),
    # supersystem_ie_only
    "shortcut through dimers": (
        schema(supersystem_ie_only=True, max_nbody=2),
        f"{KEYS}.supersystem_ie_only",
        "number of fragments (3), not 2",
    ),
    "shortcut with vmfc": (
        schema(supersystem_ie_only=True, bsse_type=["cp", "vmfc"]),
        f"{KEYS}.supersystem_ie_only",
        "vmfc",
    ),
    "shortcut with levels": (
        leveled({1: "mp2", 3: "hf"}, supersystem_ie_only=True),
        f"{KEYS}.supersystem_ie_only",
        "single level",
    ),
    # embedding
    "embedded interaction data": (
        schema(embedding_charges={1: [0, 0, 0], 2: [0, 0, 0], 3: [0, 0, 0]}),
        f"{KEYS}.return_total_data",
        "false by default",
    ),
    "embedding without a fragment": (
        schema(embedding_charges={1: [0, 0, 0], 2: [0, 0, 0]}, return_total_data=True),
        f"{KEYS}.embedding_charges",
        "without charges: 3",
    ),
    "embedding of fragment 0": (
        schema(embedding_charges={0: [0, 0, 0]}, return_total_data=True),
        f"{KEYS}.embedding_charges.0",
        "1 to 3",
    ),
    "embedding charges of a fragment": (
        schema(embedding_charges={1: [0, 0]}, return_total_data=True),
        f"{KEYS}.embedding_charges.1",
        "2 charges for the 3 atoms",
    ),
    "embedding charge": (
        schema(embedding_charges={1: [0, 0, "q"]}, return_total_data=True),
        f"{KEYS}.embedding_charges.1",
        "'q'",
    ),
    # atoms
    "element": (water(symbols=["O", "H", "Hx"] * 3), "molecule.symbols[2]", "'Hx' is not an element"),
    "element is a number": (water(symbols=[8, 1, 1] * 3), "molecule.symbols[0]", "symbol such as"),
    "dummy atom": (water(symbols=["X", "H", "H"] * 3), "molecule.symbols[0]", "not an element"),
    "no atoms": (water(symbols=[]), "molecule.symbols", "no atoms"),
    "no symbols": (water(symbols=None), "molecule.symbols", "missing"),
    "geometry length": (
        water(geometry=WATERS["geometry"][:-1]),
        "molecule.geometry",
        "26 numbers; 9 atoms need 27",
    ),
    "geometry of words": (water(geometry=["a"] * 27), "molecule.geometry", "numbers"),
    "ragged geometry": (water(geometry=[[0, 0], [1, 1, 1]]), "molecule.geometry", "numbers"),
    "geometry not finite": (
        water(geometry=[float("nan"), *WATERS["geometry"][1:]]),
        "molecule.geometry",
        "atom 1 (O) is at",
    ),
    "atoms at one place": (
        water(geometry=[*WATERS["geometry"][:24], 1.4, 7.1, 0.0]),
        "molecule.geometry",
        "atoms 8 (H) and 9 (H)",
    ),
    "ghost atoms": (water(real=[True] * 8 + [False]), "molecule.real", "bsse_type"),
    "masses": (water(masses=[1.0]), "molecule.masses", "1 entries for 9 atoms"),
    "atomic numbers": (
        water(atomic_numbers=[8, 1, 1] * 2 + [8, 1, 2]),
        "molecule.atomic_numbers[8]",
        "2 is not the number of H",
    ),
    "schema of the molecule": (water(schema_version=1), "molecule.schema_version", "2 and 3"),
    # fragments
    "overlapping fragments": (
        water(fragments=[[0, 1, 2], [2, 3, 4, 5], [6, 7, 8]]),
        "molecule.fragments[1]",
        "atom 2 is in fragment [0] too",
    ),
    "atom twice": (water(fragments=[[0, 1, 1, 2]]), "molecule.fragments[0]", "twice"),
    "missing atoms": (water(fragments=[[0, 1, 2], [3, 4, 5]]), "molecule.fragments", "no fragment: 6, 7, 8"),
    "atoms from 1": (
        water(fragments=[[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
        "molecule.fragments[2]",
        "begin with 0",
    ),
    "negative atom": (water(fragments=[[-1]]), "molecule.fragments[0]", "no atom -1"),
    "empty fragment": (water(fragments=[list(range(9)), []]), "molecule.fragments[1]", "no atoms"),
    "no fragments": (water(fragments=[]), "molecule.fragments", "no fragments"),
    "flat fragments": (water(fragments=[0, 1, 2]), "molecule.fragments[0]", "list"),
    # charges and multiplicities
    "charges do not add up": (
        water(molecular_charge=1),
        "molecule.fragment_charges",
        "1: H2O not given, so +0, 2: H2O",
    ),
    "given charges do not add up": (
        schema({**IONS, "molecular_charge": 0}),
        "molecule.fragment_charges",
        "add up to +1, but molecule.molecular_charge is +0",
    ),
    "charges of two fragments": (
        water(fragment_charges=[0, 0]),
        "molecule.fragment_charges",
        "2 entries for 3 fragments",
    ),
    "half a charge": (water(fragment_charges=[0.5, 0, 0]), "molecule.fragment_charges[0]", "whole number"),
    "charge beyond the electrons": (
        water(fragment_charges=[11, 0, 0]),
        "molecule.fragment_charges[0]",
        "only 10 electrons",
    ),
    "parity": (
        water(fragment_multiplicities=[1, 2, 1]),
        "molecule.fragment_multiplicities[1]",
        "fragment 2 (H2O, charge +0) has 10 electrons, so its multiplicity is odd, not 2",
    ),
    "parity of an ion": (
        schema({**IONS, "fragment_multiplicities": [2, 1, 1]}),
        "molecule.fragment_multiplicities[0]",
        "Na, charge +1",
    ),
    "multiplicity beyond the electrons": (
        water(fragment_multiplicities=[13, 1, 1]),
        "molecule.fragment_multiplicities[0]",
        "at most 11",
    ),
    "multiplicity zero": (
        water(fragment_multiplicities=[0, 1, 1]),
        "molecule.fragment_multiplicities[0]",
        "not a multiplicity",
    ),
    "total multiplicity of another parity": (
        water(molecular_multiplicity=2),
        "molecule.molecular_multiplicity",
        "it is odd",
    ),
    "total multiplicity out of reach": (
        water(molecular_multiplicity=3),
        "molecule.fragment_multiplicities",
        "1: H2O 1",
    ),
    "two radicals called a singlet": (
        schema({**RADICALS, "molecular_multiplicity": 1}),
        "molecule.fragment_multiplicities",
        "make the cluster 3",
    ),
    "single fragment": (
        schema({"symbols": ["O", "H"], "geometry": [0, 0, 0, 0, 0, 2], "molecular_multiplicity": 1}),
        "molecule.molecular_multiplicity",
        "even, not 1",
    ),
    # screening
    "growing cutoffs": (
        changed(schema(), "screening", {"distance": {"2": 8, "3": 9}}),
        "screening.distance.3",
        "must not grow",
    ),
    "screening unit": (
        changed(schema(), "screening", {"distance": {"2": 8}, "unit": "nm"}),
        "screening.unit",
        "angstrom, bohr",
    ),
    "screening field": (
        changed(schema(), "screening", {"distanse": {"2": 8}}),
        "screening.distanse",
        "'distance'",
    ),
    "screening monomers": (
        changed(schema(), "screening", {"distance": {"1": 8}}),
        "screening.distance.1",
        "2 or more",
    ),
    "screening nothing": (changed(schema(), "screening", {}), "screening.distance", "missing"),
    "screening distance": (
        changed(schema(), "screening", {"distance": {"2": -1}}),
        "screening.distance.2",
        "above 0",
    ),
    "screening the shortcut": (
        changed(schema(supersystem_ie_only=True), "screening", {"distance": {"2": 8}}),
        "screening",
        "supersystem_ie_only",
    ),
    "execution name": (changed(schema(), "execution", {"n_worker": 1}), "execution.n_worker", "n_workers?"),
    "execution value": (
        changed(schema(), "execution", {"n_workers": 0}),
        "execution.n_workers",
        "at least 1",
    ),
    "execution is a list": (changed(schema(), "execution", [1]), "execution", "settings"),
    # the flat form, in its own spelling
    "flat: driver": (changed(flat(), "driver", "forces"), "driver", "energy, gradient, hessian"),
    "flat: max_nbody": (flat(max_nbody=4), "keywords.max_nbody", "4 is more than the 3 fragments"),
    "flat: BSSE": (flat(bsse_type="cpp"), "keywords.bsse_type", "'cp'"),
    "flat: no method": (
        changed(flat(), "specification", {"program": "pyscf"}),
        "specification.method",
        "missing",
    ),
    "flat: no program": (changed(flat(), "specification.program", ...), "specification.program", "missing"),
    "flat: unknown": (changed(flat(), "specification.metod", "hf"), "specification.metod", "'method'"),
    "flat: unknown on top": (changed(flat(), "keyword", {}), "keyword", "'keywords'"),
    "flat: levels": (flat(levels={2: "hf"}), "keywords.levels.2", "in specification"),
    "flat: protocols": (changed(flat(), "protocols", {"x": 1}), "protocols.x", "cluster_results"),
    # the command-line format, in its own spelling
    "cli: version": (cli(schema_version=2), "schema_version", "only version 1"),
    "cli: unknown": (cli(manybdy={}), "manybdy", "'manybody'"),
    "cli: no calculation": (changed(cli(), "calculation", ...), "calculation", "missing"),
    "cli: no type": (changed(cli(), "calculation.single", ...), "calculation.single", "missing"),
    "cli: type": (changed(cli(), "calculation.type", "double"), "calculation.type", "single, multi"),
    "cli: method": (changed(cli(), "calculation.single.method", ...), "calculation.single.method", "missing"),
    "cli: program": (
        changed(cli(), "calculation.single.program", ...),
        "calculation.single.program",
        "missing",
    ),
    "cli: driver": (
        changed(cli(), "calculation.single.driver", "freq"),
        "calculation.single.driver",
        "energy",
    ),
    "cli: level field": (
        changed(cli(), "calculation.single.bases", "x"),
        "calculation.single.bases",
        "'basis'",
    ),
    "cli: keywords": (cli(program={"keywords": [1]}), "program.keywords", "group"),
    "cli: program field": (cli(program={"conv_tol": 1}), "program.conv_tol", "keywords"),
    "cli: BSSE": (cli(bsse={"type": ["cq"]}), "bsse.type", "nocp, cp"),
    "cli: BSSE field": (cli(bsse={"typ": ["cp"]}), "bsse.typ", "'type'"),
    "cli: max_nbody": (
        cli(manybody={"max_nbody": 4}),
        "manybody.max_nbody",
        "4 is more than the 3 fragments",
    ),
    "cli: many-body field": (cli(manybody={"max_body": 4}), "manybody.max_body", "'max_nbody'"),
    "cli: source": (
        changed(cli(), "molecule.source", "cif"),
        "molecule.source",
        "inline, xyz, pdb, qcschema",
    ),
    "cli: no inline": (cli(molecule={"source": "inline"}), INLINE, "missing"),
    "cli: inline field": (changed(cli(), f"{INLINE}.unit", "bohr"), f"{INLINE}.unit", "'units'"),
    "cli: units": (changed(cli(), f"{INLINE}.units", "nm"), f"{INLINE}.units", "angstrom, bohr"),
    "cli: element": (changed(cli(), f"{INLINE}.symbols", ["He", "Hi", "He"]), f"{INLINE}.symbols[1]", "'Hi'"),
    "cli: geometry": (changed(cli(), f"{INLINE}.geometry", [[0, 0, 0]]), f"{INLINE}.geometry", "need 9"),
    "cli: fragments": (changed(cli(), f"{INLINE}.fragments", [[0], [1]]), f"{INLINE}.fragments", "2"),
    "cli: charge": (
        changed(cli(), f"{INLINE}.molecular_charge", 1),
        f"{INLINE}.fragment_charges",
        "molecule.inline.molecular_charge is +1",
    ),
    "cli: no file": (cli(molecule={"source": "xyz"}), "molecule.file", "missing"),
    "cli: file not there": (
        cli(molecule={"source": "xyz", "file": "no.xyz"}),
        "molecule.file",
        "no.xyz: there is no such file",
    ),
    "cli: inline beside file": (
        changed(cli(), "molecule.source", "xyz"),
        "molecule.inline",
        "does not go with",
    ),
    "cli: level order": (multi({4: ("hf", "x")}), "calculation.multi.levels.4", "more than the 3"),
    "cli: level word": (multi({"two": ("hf", "x")}), "calculation.multi.levels.two", "body order"),
    "cli: no levels": (multi({}), "calculation.multi.levels", "missing"),
    "cli: levels contradict": (
        {**multi({1: ("mp2", "x"), 2: ("hf", "x")}), "manybody": {"max_nbody": 3}},
        "manybody.max_nbody",
        "contradicts calculation.multi.levels",
    ),
    "cli: output": (cli(output={"format": "xml"}), "output.format", "json, yaml, text"),
    "cli: output file": (cli(output={"file": 3}), "output.file", "path"),
    "cli: output flag": (cli(output={"pretty": "no"}), "output.pretty", "true or false"),
    "cli: output field": (cli(output={"timings": True}), "output.timings", "include_timings"),
    # nothing known
    "other things": ({"atoms": []}, None, "no known format"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_named(case):
    raw, field, fragment = WRONG[case]
    with pytest.raises(InputError) as caught:
        from_model(raw)
    assert caught.value.field == field
    assert fragment in str(caught.value)
    assert str(caught.value).startswith(f"{field}: " if field else "")
    assert caught.value.exit_code == ExitCode.WRONG_INPUT
    assert len(str(caught.value)) < 400


def test_a_file_is_named_before_its_field(tmp_path):
    path = tmp_path / "water.json"
    path.write_text(json.dumps(schema(max_nbody=9)))
    with pytest.raises(InputError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: specification.keywords.max_nbody: 9 is more than the 3 fragments"
    assert caught.value.field == "specification.keywords.max_nbody"


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("in.json", '{"molecule": {\n  "symbols": ["He",]\n}}', "line 2, column 20: broken JSON"),
        ("in.json", '{"molecule": ', "line 1, column 14: broken JSON"),
        ("in.inp", "{'molecule': 1", "line 1, column 2: broken JSON"),
        ("in.json", "", "is empty"),
        ("in.yaml", " \n\n", "is empty"),
        ("in.json", "[1, 2]", "is not an input file"),
        ("in.xyz", "1\n\nHe 0 0 0\n", "convert"),
        ("in.json", '{"molecule": {}, "molecule": {}}', "molecule: is given twice"),
        ("in.yaml", "molecule: {}\nmolecule: {}\n", "line 2: is given twice"),
        ("in.yaml", "molecule:\n  symbols: [He\nspecification: 1\n", "broken YAML"),
        ("in.yaml", "molecule:\n\tsymbols: [He]\n", "line 2, column 1: broken YAML"),
        ("in.yaml", "molecule: !!python/object:os.system {}\n", "broken YAML"),
        ("in.json", b"\x89HDF\r\n\xff\xfe", "not a text file"),
        ("in.json", "[" * 100_000, "broken JSON"),
    ],
)
def test_a_broken_file_is_told_with_its_place(tmp_path, name, content, fragment):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=f"^{path}: ") as caught:
        load(path)
    assert fragment in str(caught.value)


def test_a_missing_file_and_a_folder_are_told(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "missing.json")
    with pytest.raises(InputError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        load("\0.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_an_unreadable_file_is_told(tmp_path):
    path = tmp_path / "closed.json"
    path.write_text("{}")
    path.chmod(0)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        load(path)


@pytest.mark.parametrize("thing", [None, 3, "input.json", HF["model"].keys()])
def test_what_is_no_input_is_refused_in_python_too(thing):
    with pytest.raises(InputError, match="expected a ManyBodyInput"):
        from_model(thing)
