"""Every format gives the same Problem, and it is the one that QCManyBody would compute."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import qcelemental
import qcmanybody
import yaml
from input_samples import (
    HF,
    IONS,
    MP2,
    RADICALS,
    WATERS,
    changed,
    cli,
    flat,
    leveled,
    multi,
    schema,
    schema_v1,
)
from qcmanybody.models import v1, v2

from qcmb_mpi.errors import InputError
from qcmb_mpi.expansion.plan import plan
from qcmb_mpi.inputs import ManyBodyInput, from_model, load
from qcmb_mpi.inputs import schema as known

ANGSTROM = 1 / qcelemental.constants.bohr2angstroms


def written(tmp_path, raw, name="input.json"):
    path = tmp_path / name
    path.write_text(json.dumps(raw) if name.endswith(".json") else yaml.safe_dump(raw, sort_keys=False))
    return path


def expansion(raw):
    return from_model(raw).problem.expansion


@pytest.mark.parametrize("name", ["input.json", "input.yaml", "input"])
@pytest.mark.parametrize("make", [schema, schema_v1, flat])
def test_the_formats_of_the_schema_give_the_same_problem(tmp_path, make, name):
    loaded = load(written(tmp_path, make(max_nbody=2), name))
    problem = loaded.problem
    assert problem.cluster.symbols == ("O", "H", "H") * 3
    assert problem.cluster.numbers.tolist() == [8, 1, 1] * 3
    assert problem.cluster.geometry.ravel().tolist() == WATERS["geometry"]
    assert problem.cluster.offsets.tolist() == [0, 3, 6, 9]
    assert problem.cluster.charges.tolist() == [0.0, 0.0, 0.0]
    assert problem.cluster.multiplicities.tolist() == [1, 1, 1]
    assert problem.cluster.order.tolist() == list(range(9))
    assert problem.cluster.embedding is None
    assert problem.driver == "energy"
    assert problem.keep_records is False
    (level,) = problem.levels
    assert (level.name, level.program, level.method, level.basis) == ("(auto)", "pyscf", "hf", "sto-3g")
    assert problem.expansion.treatments == ("cp",)
    assert problem.expansion.orders == ((1, 2),)
    assert problem.expansion.return_total_data is False
    assert problem.expansion.families is None
    assert isinstance(problem.model, v1.ManyBodyInput if make is schema_v1 else v2.ManyBodyInput)
    assert loaded.warnings == ()


def test_the_command_line_format_gives_its_problem(tmp_path):
    raw = cli(
        manybody={"max_nbody": 2, "return_total_data": True},
        program={"keywords": {"conv_tol": 1e-8}},
        execution={"parallel": True, "n_workers": None},
        output={"format": "text", "pretty": True},
    )
    loaded = load(written(tmp_path, raw))
    assert loaded.execution == {"parallel": True, "n_workers": None}
    assert loaded.output == {"format": "text", "pretty": True}
    problem = loaded.problem
    assert problem.cluster.symbols == ("He",) * 3
    assert problem.cluster.geometry[:, 2] == pytest.approx([0.0, 3.0 * ANGSTROM, 6.0 * ANGSTROM], abs=1e-8)
    assert problem.levels[0].keywords == {"conv_tol": 1e-8}
    assert problem.levels[0].method == "mp2"
    assert problem.expansion.return_total_data is True
    assert problem.expansion.orders == ((1, 2),)
    assert load(written(tmp_path, raw, "input.yaml")).normalised == loaded.normalised


def test_the_command_line_format_has_defaults():
    raw = cli()
    for field in ("schema_version", "bsse", "manybody", "molecule.source", "calculation.type"):
        raw = changed(raw, field, ...)
    raw = changed(raw, "calculation.single.driver", ...)
    problem = from_model(raw).problem
    assert (problem.driver, problem.expansion.treatments, problem.expansion.max_nbody) == (
        "energy",
        ("cp",),
        3,
    )


def test_levels_of_the_command_line_format_are_named_by_what_they_are():
    problem = from_model(multi({1: ("ccsd", "a"), 2: ("mp2", "a"), "supersystem": ("hf", "a")})).problem
    assert [level.name for level in problem.levels] == ["ccsd/a", "mp2/a", "hf/a"]
    assert problem.expansion.orders == ((1,), (2,), ())
    assert problem.expansion.supersystem == 2


def test_equal_levels_of_the_command_line_format_are_one_where_they_follow_each_other():
    problem = from_model(multi({3: ("hf", "a"), 1: ("mp2", "a"), 2: ("mp2", "a")})).problem
    assert [level.name for level in problem.levels] == ["mp2/a", "hf/a"]
    assert problem.expansion.orders == ((1, 2), (3,))
    problem = from_model(multi({1: ("hf", "a"), 2: ("mp2", "a"), 3: ("hf", "a")})).problem
    assert [level.name for level in problem.levels] == ["hf/a", "mp2/a", "hf/a/pyscf"]


XYZ = "3\ncomment\nHe 0 0 0\nHe 0 0 3\nHe 0.0 0.0 6.0 extra\n\n"
PDB = (
    "REMARK made by hand\n"
    "HETATM    1  O   HOH A   1       0.000   0.000   0.000  1.00  0.00           O\n"
    "HETATM    2  H1  HOH A   1       0.757   0.586   0.000  1.00  0.00           H\n"
    "HETATM    3  H2  HOH A   1      -0.757   0.586   0.000  1.00  0.00           H\n"
    "HETATM    4 NA    NA A   2       0.000   0.000   4.000\n"
    "END\n"
)


@pytest.mark.parametrize("given_in", ["flat", "group"])
def test_a_geometry_comes_from_an_xyz_file_beside_the_input(tmp_path, given_in):
    (tmp_path / "he3.xyz").write_text(XYZ)
    fragments = [[0], [1], [2]]
    if given_in == "flat":
        molecule = {"source": "xyz", "file": "he3.xyz", "fragments": fragments}
    else:
        molecule = {"source": "file", "file": {"file": "he3.xyz", "fragments": fragments}}
    cluster = load(written(tmp_path, cli(molecule=molecule))).problem.cluster
    assert cluster.n_fragments == 3
    assert cluster.geometry[:, 2] == pytest.approx([0.0, 3.0 * ANGSTROM, 6.0 * ANGSTROM], abs=1e-8)


def test_residues_of_a_pdb_file_are_fragments(tmp_path):
    (tmp_path / "sodium.pdb").write_text(PDB)
    molecule = {"source": "pdb", "file": "sodium.pdb", "fragment_charges": [0, 1]}
    cluster = load(written(tmp_path, cli(molecule=molecule, manybody={}))).problem.cluster
    assert cluster.symbols == ("O", "H", "H", "Na")
    assert cluster.offsets.tolist() == [0, 3, 4]
    assert cluster.charges.tolist() == [0.0, 1.0]


def test_a_geometry_comes_from_a_molecule_of_qcschema(tmp_path):
    written(tmp_path, {"schema_name": "qcschema_molecule", "schema_version": 2, **WATERS}, "water.json")
    molecule = {"source": "qcschema", "file": "water.json"}
    cluster = load(written(tmp_path, cli(molecule=molecule))).problem.cluster
    assert cluster.geometry.ravel().tolist() == WATERS["geometry"]
    assert cluster.n_fragments == 3


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ("three\n\n", "line 1: expected the number of atoms"),
        ("2\n\nHe 0 0 0\n", "announces 2 atoms, but 1 follow"),
        ("1\n\nHe 0 0\n", "line 3: expected an element"),
        ("1\n\nHe 0 0 zero\n", "line 3: expected an element"),
        ("1\n\nHe 0 0 0\n1\n\nHe 0 0 0\n", "expected one geometry"),
        ("1\n\nHq 0 0 0\n", "'Hq' is not an element"),
    ],
)
def test_a_wrong_xyz_file_is_told_with_its_line(tmp_path, content, fragment):
    (tmp_path / "bad.xyz").write_text(content)
    with pytest.raises(Exception, match=r"molecule\.file") as caught:
        load(written(tmp_path, cli(molecule={"source": "xyz", "file": "bad.xyz"})))
    assert fragment in str(caught.value)


def test_the_charges_of_a_file_can_be_given_beside_it(tmp_path):
    (tmp_path / "na.xyz").write_text("2\n\nNa 0 0 0\nCl 0 0 2.5\n")
    molecule = {"source": "xyz", "file": "na.xyz", "fragments": [[0], [1]]}
    raw = cli(molecule={**molecule, "fragment_charges": [1, -1]}, manybody={})
    assert load(written(tmp_path, raw)).problem.cluster.multiplicities.tolist() == [1, 1]
    raw = cli(molecule={**molecule, "molecular_charge": 1}, manybody={})
    with pytest.raises(InputError, match=r"input\.json: molecule\.fragment_charges: "):
        load(written(tmp_path, raw))


# fragments


def test_fragments_need_not_be_contiguous():
    symbols = ["O", "O", "H", "H", "H", "H"]
    geometry = np.array([[0, 0, 0], [6, 0, 0], [1.4, 1.1, 0], [7.4, 1.1, 0], [-1.4, 1.1, 0], [4.6, 1.1, 0]])
    molecule = {
        "symbols": symbols,
        "geometry": geometry.ravel().tolist(),
        "fragments": [[1, 3, 5], [4, 0, 2]],
    }
    for make in (schema, schema_v1):
        problem = from_model(make(molecule)).problem
        cluster = problem.cluster
        assert cluster.order.tolist() == [1, 3, 5, 4, 0, 2]
        assert cluster.symbols == ("O", "H", "H", "H", "O", "H")
        assert cluster.geometry.tolist() == geometry[cluster.order].tolist()
        assert problem.model.molecule.geometry.tolist() == geometry.tolist()
        assert [f.tolist() for f in problem.model.molecule.fragments] == [[1, 3, 5], [4, 0, 2]]


def test_embedding_charges_follow_the_atoms_of_their_fragments():
    molecule = {**WATERS, "fragments": [[3, 4, 5], [0, 1, 2], [8, 7, 6]]}
    charges = {"2": [-0.8, 0.4, 0.4], "1": [1, 2, 3], "3": [4, 5, 6]}
    cluster = from_model(schema(molecule, embedding_charges=charges, return_total_data=True)).problem.cluster
    assert cluster.embedding.tolist() == [1, 2, 3, -0.8, 0.4, 0.4, 4, 5, 6]
    assert cluster.symbols[-3:] == ("H", "H", "O")


def test_a_molecule_without_fragments_is_one_fragment_and_says_so():
    molecule = {key: WATERS[key] for key in ("symbols", "geometry")}
    loaded = from_model(schema(molecule))
    assert loaded.problem.cluster.n_fragments == 1
    assert plan(loaded.problem.expansion).n_tasks == 1
    assert loaded.warnings == ("molecule.fragments: not given, so all 9 atoms are one fragment",)


# charges and multiplicities


def test_what_is_not_given_is_neutral_and_of_the_lowest_multiplicity():
    symbols = ["O", "H", "H", "O", "H", "Na"]
    geometry = [0, 0, 0, 1.4, 1.1, 0, -1.4, 1.1, 0, 6, 0, 0, 6, 0, 1.8, 0, 0, 9]
    molecule = {"symbols": symbols, "geometry": geometry, "fragments": [[0, 1, 2], [3, 4], [5]]}
    problem = from_model(schema(molecule)).problem
    assert problem.cluster.charges.tolist() == [0, 0, 0]
    assert problem.cluster.multiplicities.tolist() == [1, 2, 2]
    assert problem.model.molecule.molecular_multiplicity == 3


def test_ions_have_the_multiplicity_of_their_electrons():
    problem = from_model(schema({**IONS, "molecular_charge": 1})).problem
    assert problem.cluster.charges.tolist() == [1, -1, 1]
    assert problem.cluster.multiplicities.tolist() == [1, 1, 1]
    assert problem.model.molecule.molecular_charge == 1


def test_single_entries_may_be_left_open():
    molecule = {**IONS, "fragment_charges": [1, -1, None], "fragment_multiplicities": [None, 1, 4]}
    cluster = from_model(schema(molecule)).problem.cluster
    assert cluster.charges.tolist() == [1, -1, 0]
    assert cluster.multiplicities.tolist() == [1, 1, 4]


def test_one_fragment_has_the_charge_and_multiplicity_of_the_molecule():
    molecule = {
        "symbols": ["O", "O"],
        "geometry": [0, 0, 0, 0, 0, 2.5],
        "molecular_charge": 1,
        "molecular_multiplicity": 4,
    }
    cluster = from_model(schema(molecule)).problem.cluster
    assert (cluster.charges.tolist(), cluster.multiplicities.tolist()) == ([1], [4])


def test_low_spin_coupling_of_given_radicals_is_allowed_with_a_warning():
    loaded = from_model(schema({**RADICALS, "fragment_multiplicities": [2, 2], "molecular_multiplicity": 1}))
    assert loaded.problem.cluster.multiplicities.tolist() == [2, 2]
    assert "high-spin" in loaded.warnings[0]


def test_a_molecule_that_qcelemental_made_keeps_its_charges():
    molecule = qcelemental.models.v2.Molecule(**RADICALS, molecular_charge=-1)
    raw = changed(schema(), "molecule", molecule)
    cluster = from_model(v2.ManyBodyInput(**raw)).problem.cluster
    assert cluster.charges.tolist() == molecule.fragment_charges
    assert cluster.multiplicities.tolist() == molecule.fragment_multiplicities


def test_a_geometry_in_angstrom_is_suspected():
    molecule = {**WATERS, "geometry": (0.5 * np.array(WATERS["geometry"])).tolist()}
    assert "angstrom" in from_model(schema(molecule)).warnings[0]


# levels and treatments


@pytest.mark.parametrize(
    ("bsse_type", "max_nbody", "treatments"),
    [
        ("cp", None, ("cp",)),
        (["SSFC", "cp", "none", "mbe"], None, ("cp", "nocp")),
        ("vmfc", 2, ("vmfc", "nocp")),
        ("vmfc", None, ("vmfc", "nocp", "cp")),
        (["cp", "vmfc"], 2, ("cp", "vmfc", "nocp")),
        (["nocp", "vmfc", "cp"], 3, ("nocp", "vmfc", "cp")),
    ],
)
def test_treatments_keep_their_order_and_bring_along_what_is_free(bsse_type, max_nbody, treatments):
    assert expansion(schema(bsse_type=bsse_type, max_nbody=max_nbody)).treatments == treatments


def test_several_levels_bring_nothing_along():
    assert expansion(leveled({1: "mp2", 3: "hf"}, bsse_type="vmfc")).treatments == ("vmfc",)


@pytest.mark.parametrize(
    ("driver", "given", "total"),
    [("energy", None, False), ("gradient", None, True), ("hessian", None, True), ("gradient", False, False)],
)
def test_total_data_are_the_default_for_derivatives(driver, given, total):
    raw = changed(schema(return_total_data=given), "specification.driver", driver)
    problem = from_model(raw).problem
    assert problem.driver == driver
    assert problem.expansion.return_total_data is total


def test_a_level_serves_the_lower_orders_that_are_not_listed():
    problem = from_model(leveled({"3": "hf", "2": "mp2"})).problem
    assert [level.name for level in problem.levels] == ["mp2", "hf"]
    assert problem.expansion.orders == ((1, 2), (3,))


def test_a_single_named_level_serves_all_orders_where_levels_are_not_given():
    raw = changed(schema(max_nbody=2), "specification.specification", {"hf/sto-3g": HF})
    problem = from_model(raw).problem
    assert [level.name for level in problem.levels] == ["hf/sto-3g"]
    assert problem.expansion.orders == ((1, 2),)


def test_an_unused_level_is_told():
    loaded = from_model(leveled({2: "hf"}))
    assert [level.name for level in loaded.problem.levels] == ["hf"]
    assert loaded.warnings == ("specification.keywords.levels: mp2 serves no body order and is not used",)


def test_the_driver_of_a_level_gives_way():
    raw = changed(schema(), "specification.specification.driver", "hessian")
    assert from_model(raw).problem.driver == "energy"
    assert from_model(changed(schema(), "specification.specification.driver", ...)).problem.driver == "energy"


def test_records_are_kept_by_protocol():
    raw = changed(schema(), "specification.protocols", {"cluster_results": "all"})
    assert from_model(raw).problem.keep_records
    raw = changed(schema_v1(), "specification.protocols", {"component_results": "all"})
    assert from_model(raw).problem.keep_records


ORACLE = {
    "single": schema(),
    "two-body": schema(max_nbody=2, bsse_type=["nocp", "cp"]),
    "vmfc": schema(bsse_type="vmfc"),
    "vmfc, two-body": schema(bsse_type="vmfc", max_nbody=2, return_total_data=True),
    "shortcut": schema(supersystem_ie_only=True),
    "levels": leveled({1: "mp2", 3: "hf"}, bsse_type=["cp", "vmfc"]),
    "levels, wrong way round": leveled({"2": "hf", "1": "mp2"}),
    "supersystem": leveled({"supersystem": "hf", 2: "mp2"}, bsse_type=["vmfc"]),
}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("case", ORACLE)
def test_tasks_and_levels_are_those_of_qcmanybody(case, version):
    raw = ORACLE[case]
    if version == 1:
        raw = {**raw, "schema_name": "qcschema_manybodyinput", "schema_version": 1}
    problem = from_model(raw).problem
    computer = {1: qcmanybody.v1, 2: qcmanybody.v2}[version].computer.ManyBodyComputer
    theirs = computer.from_manybodyinput(problem.model, build_tasks=False)
    core = theirs.qcmb_core
    ours = problem.expansion
    assert list(ours.treatments) == [word.value for word in core.bsse_type]
    assert [level.name for level in problem.levels] == list(core.nbodies_per_mc_level)
    orders = [[n for n in nbodies if n != "supersystem"] for nbodies in core.nbodies_per_mc_level.values()]
    assert [list(order) for order in ours.orders] == orders
    assert ours.return_total_data == theirs.return_total_data
    labels = {
        (mc, *map(tuple, pair))
        for mc, sets in core.compute_map.items()
        for pairs in sets["all"].values()
        for pair in pairs
    }
    assert plan(ours).n_tasks == len(labels)


# models and round trips


@pytest.mark.parametrize("make", [schema, schema_v1])
def test_a_model_is_echoed_as_it_was_given(make):
    raw = make(max_nbody=2)
    model = from_model(raw).problem.model
    again = from_model(model)
    assert again.problem.model is model
    assert again.normalised == from_model(raw).normalised


@pytest.mark.parametrize("raw", [schema(), schema_v1(), leveled({1: "mp2", 2: "hf"}), flat(), cli()])
def test_the_normalised_input_is_an_input(raw):
    raw = {**raw, "screening": {"distance": {"2": 3.0}}, "execution": {"n_workers": 2}}
    loaded = from_model(raw)
    again = from_model(json.loads(loaded.normalised))
    assert again.normalised == loaded.normalised
    assert again.problem.levels == loaded.problem.levels
    assert again.problem.cluster.geometry.tolist() == loaded.problem.cluster.geometry.tolist()
    assert again.problem.expansion.families[2].tolist() == loaded.problem.expansion.families[2].tolist()
    assert loaded.execution == {"n_workers": 2}


@pytest.mark.parametrize("version", [1, 2])
def test_a_molecule_is_that_of_qcelemental(version):
    kind = getattr(qcelemental.models, f"v{version}").Molecule
    theirs = kind(**WATERS, fragment_charges=[0, 0, 0], fragment_multiplicities=[1, 1, 1])
    ours = from_model(schema() if version == 2 else schema_v1()).problem.model.molecule
    assert ours.get_hash() == theirs.get_hash()
    assert ours.name == theirs.name


@pytest.mark.parametrize("kind", [qcelemental.models.v1.Molecule, qcelemental.models.v2.Molecule, dict])
def test_manybodyinput_takes_the_guides_form(kind):
    model = ManyBodyInput(**{**flat(max_nbody=2), "molecule": kind(**WATERS)})
    assert type(model) is v2.ManyBodyInput
    assert isinstance(model, ManyBodyInput)
    assert model.specification.specification["(auto)"].model.method == "hf"
    assert from_model(model).problem.expansion.orders == ((1, 2),)


def test_manybodyinput_is_that_of_qcmanybody_otherwise():
    model = ManyBodyInput(**schema())
    assert type(model) is v2.ManyBodyInput
    assert ManyBodyInput.model_fields is v2.ManyBodyInput.model_fields
    assert not isinstance(3, ManyBodyInput)
    assert issubclass(v2.ManyBodyInput, ManyBodyInput)


def test_the_flat_form_takes_several_levels():
    levels = {"hf": {"program": "pyscf", **HF["model"]}, "mp2": {"program": "pyscf", **MP2["model"]}}
    raw = changed(flat(levels={1: "mp2", 2: "hf"}), "specification", levels)
    assert [level.name for level in from_model(raw).problem.levels] == ["mp2", "hf"]


def test_protocols_of_a_level_are_kept():
    protocols = {"wavefunction": "all", "stdout": False}
    for make in (schema, schema_v1):
        raw = changed(make(), "specification.specification.protocols", protocols)
        assert from_model(raw).problem.levels[0].protocols == protocols


def test_yaml_numbers_without_a_point_are_numbers(tmp_path):
    text = yaml.safe_dump(cli()) + "program:\n  keywords: {conv_tol: 1e-9}\n"
    path = tmp_path / "input.yml"
    path.write_text(text)
    assert load(path).problem.levels[0].keywords == {"conv_tol": 1e-9}


def test_yaml_keys_may_be_numbers(tmp_path):
    problem = load(written(tmp_path, leveled({1: "mp2", 2: "hf"}), "input.yaml")).problem
    assert problem.expansion.orders == ((1,), (2,))


EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    "path",
    [p for e in ("json", "yaml") for p in sorted(EXAMPLES.glob(f"*.{e}")) if ".result" not in p.name],
    ids=lambda p: p.name,
)
def test_every_example_is_an_input_without_warnings(path):
    loaded = load(path)
    assert loaded.warnings == ()
    assert plan(loaded.problem.expansion).n_tasks > 0


def test_four_hundred_fragments_are_loaded_without_a_search(tmp_path):
    # QCElemental's search for charges is exponential: with it this test would not end
    cells = np.stack(np.meshgrid(*[np.arange(8.0) * 6] * 3), -1).reshape(-1, 3)[:400]
    water = np.array([[0, 0, 0], [1.4, 1.1, 0], [-1.4, 1.1, 0]])
    molecule = {
        "symbols": ["O", "H", "H"] * 400,
        "geometry": (cells[:, None] + water).ravel().tolist(),
        "fragments": np.arange(1200).reshape(400, 3).tolist(),
    }
    problem = load(written(tmp_path, schema(molecule, bsse_type="nocp", max_nbody=3))).problem
    assert plan(problem.expansion).n_tasks == 10_667_000


def test_version_1_is_told_to_end_where_pydantics_does(monkeypatch):
    monkeypatch.setattr("sys.version_info", (3, 14, 0))
    with pytest.raises(InputError, match=r"schema_version: version 1 .* Python 3\.13 or earlier"):
        from_model(schema_v1())


def test_parts_of_an_input_may_be_models():
    specification = v2.ManyBodySpecification(**schema(max_nbody=2)["specification"])
    molecule = qcelemental.models.v2.Molecule(**WATERS)
    model = ManyBodyInput(molecule=molecule, specification=specification)
    assert from_model(model).problem.expansion.orders == ((1, 2),)
    assert from_model({"molecule": molecule, "specification": specification}).problem.model == model


def test_sections_of_ours_do_not_fit_into_a_model():
    with pytest.raises(InputError, match=r"screening: .* as a dictionary"):
        ManyBodyInput(**flat(), screening={"distance": {"2": 3.0}})


def test_treatments_may_be_a_tuple():
    assert expansion(schema(bsse_type=("nocp", "cp"))).treatments == ("nocp", "cp")


def test_an_expansion_without_a_task_is_told():
    assert "nothing is computed" in from_model(schema(max_nbody=1)).warnings[0]


@pytest.mark.parametrize(("version", "models"), [(1, v1), (2, v2)])
def test_known_fields_are_those_of_the_models(version, models):
    def names(model):
        return set(model.__fields__ if version == 1 else model.model_fields)

    named = set(known._NAMED[version])
    atomic = models.AtomicSpecification if version == 1 else qcelemental.models.v2.AtomicSpecification
    assert names(models.ManyBodyInput) == set(known._TOP[version])
    assert names(models.ManyBodySpecification) == set(known._SPECIFICATION[version])
    assert names(models.ManyBodyKeywords) == named | set(known._KEYWORDS)
    assert names(models.ManyBodyProtocols) == {known._PROTOCOL[version]} | (named if version == 2 else set())
    assert names(atomic) == named | set(known._ATOMIC)


def test_yaml_may_share_groups(tmp_path):
    path = tmp_path / "input.yaml"
    levels = "{1: {<<: *level, basis: cc-pvdz}, 2: *level}"
    raw = changed(cli(manybody={}), "calculation", ...)
    path.write_text(
        yaml.safe_dump(raw)
        + f"calculation:\n  type: multi\n  multi:\n    levels: {levels}\n".replace(
            "*level, basis", "&level {method: hf, basis: sto-3g, program: pyscf}, basis", 1
        )
    )
    names = [level.name for level in load(path).problem.levels]
    assert names == ["hf/cc-pvdz", "hf/sto-3g"]
