"""From a structure's file to an input file: what is written, what is said, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import qcelemental

from qcmb_mpi.cli import main
from qcmb_mpi.inputs import load

EXAMPLES = Path(__file__).parents[2] / "examples"
WATERS = EXAMPLES / "water_decamer.xyz"
SALT = EXAMPLES / "sodium_chloride_water.xyz"
FLAGS = ("--program", "tblite", "--method", "gfn2-xtb", "--max-nbody", "2", "--bsse", "nocp")
ANGSTROM = 1 / qcelemental.constants.bohr2angstroms

WATER = np.array([[0.0, 0.0, 0.0], [0.757, 0.586, 0.0], [-0.757, 0.586, 0.0]])


def xyz(symbols, geometry, comment=""):
    lines = [f"{s} {x:.17g} {y:.17g} {z:.17g}" for s, (x, y, z) in zip(symbols, geometry, strict=True)]
    return "\n".join([str(len(lines)), comment, *lines]) + "\n"


def waters(n):
    return ["O", "H", "H"] * n, np.concatenate([WATER + np.array([3.2 * i, 0, 0]) for i in range(n)])


@pytest.fixture
def convert(tmp_path, monkeypatch, capsys):
    """Converts a file or a text; returns exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(source, *flags, name="cluster.xyz", plain=True):
        if isinstance(source, str):
            (tmp_path / name).write_text(source)
            source = name
        code = main(["convert", str(source), *(FLAGS if plain else ()), *flags])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def converted(convert, source, *flags, **options):
    code, out, err = convert(source, "-o", "job.json", *flags, **options)
    assert code == 0, err
    return out, err


def test_ten_waters_become_ten_fragments_without_a_warning(convert):
    out, err = converted(convert, WATERS)
    assert "30 atoms, 10 fragments (found by bonds)" in out
    assert out.count("H2O") == 10
    assert not err
    problem = load("job.json").problem
    assert problem.cluster.offsets.tolist() == list(range(0, 31, 3))
    assert problem.expansion.max_nbody == 2
    assert problem.expansion.treatments == ("nocp",)
    assert (problem.levels[0].program, problem.levels[0].method) == ("tblite", "gfn2-xtb")


def test_coordinates_are_those_of_the_file_to_the_last_digit(convert):
    geometry = np.random.default_rng(3).normal(size=(2, 3)) * [[1.0], [1e-3]] + [[0], [9.0]]
    converted(convert, xyz(["He", "Ne"], geometry))
    assert json.loads(Path("job.json").read_text())["molecule"]["inline"]["geometry"] == geometry.tolist()


def test_the_file_can_be_read_and_edited_by_people(convert):
    converted(convert, WATERS)
    lines = Path("job.json").read_text().splitlines()
    assert "        [3, 4, 5]," in lines  # a fragment
    assert sum(line.strip(" ,[]").count(",") == 2 and "." in line for line in lines) == 30  # atoms
    assert max(map(len, lines)) < 120


def test_all_flags_arrive(convert):
    flags = (
        "--driver",
        "gradient",
        "--basis",
        "sto-3g",
        "--keywords",
        '{"conv_tol": 1e-9}',
        "--embedding",
        "no",
    )
    model = ("--program", "pyscf", "--method", "hf", "--max-nbody", "3", "--bsse", "cp,nocp")
    converted(convert, WATERS, *model, *flags, plain=False)
    problem = load("job.json").problem
    assert problem.driver == "gradient"
    assert (problem.levels[0].basis, problem.levels[0].keywords) == ("sto-3g", {"conv_tol": 1e-9})
    assert set(problem.expansion.treatments) == {"cp", "nocp"}
    assert problem.expansion.max_nbody == 3


def test_lonely_ions_are_not_guessed_but_named(convert):
    _, err = converted(convert, SALT)
    assert 'Na (fragment 1), Cl (fragment 2); if they are ions, give --charges "Na+,Cl-"' in err
    assert load("job.json").problem.cluster.charges.tolist() == [0] * 6
    _, err = converted(convert, SALT, "--overwrite", "--charges", "Na+,Cl-")
    assert not err
    assert load("job.json").problem.cluster.charges.tolist() == [1, -1, 0, 0, 0, 0]
    converted(convert, SALT, "--overwrite", "--charges", "-1,1,0,0,0,0")  # begins with a minus
    assert load("job.json").problem.cluster.charges.tolist() == [-1, 1, 0, 0, 0, 0]


def test_many_of_a_kind_are_one_line(convert):
    out, _ = converted(convert, xyz(*waters(20)))
    assert [line.split() for line in out.splitlines() if "H2O" in line] == [
        ["20", "H2O", "3", "0", "1", "1-20"]
    ]


def test_an_atom_pulled_off_one_of_twenty_waters_is_noticed(convert):
    symbols, geometry = waters(21)
    geometry[4] = geometry[3] + (geometry[4] - geometry[3]) * 1.45
    _, err = converted(convert, xyz(symbols, geometry))
    assert "is a molecule broken?" in err
    assert "atoms O 4 and H 5 (1.39 angstrom; fragments 2, HO, and 3, H)" in err


def test_a_water_without_one_of_its_atoms_is_noticed(convert):
    symbols, geometry = waters(20)
    _, err = converted(convert, xyz(np.delete(symbols, 4), np.delete(geometry, 4, axis=0)))
    assert "fragment 2 (HO) is H2O without an H" in err
    assert "odd number of electrons, so taken as doublets: HO (fragment 2)" in err


def test_two_waters_grown_together_are_noticed(convert):
    symbols, geometry = waters(20)
    geometry[3:6] = geometry[:3] + np.array([0, -1.5, 0])
    _, err = converted(convert, xyz(symbols, geometry))
    assert "fragment 1 (H4O2) is 2 H2O in one" in err


def test_fragments_that_are_too_close_are_noticed(convert):
    _, err = converted(
        convert, xyz(["O", "H", "H"] * 2, np.concatenate([WATER, WATER + np.array([0, 0, 1.7])]))
    )
    assert "suspiciously close" in err
    assert "atoms O 1 and O 4 (1.70 angstrom" in err


def test_fragments_that_cut_a_bond_are_noticed(convert):
    _, err = converted(convert, xyz(*waters(1)), "--fragments", "1-2,3")
    assert "cut through bonds" in err
    assert "atoms O 1 and H 3" in err


CELL = 'Lattice="9 0 0 0 9 0 0 0 9" Properties=id:I:1:species:S:1:pos:R:3 {} pbc="{}"'


def extended(charge="", pbc="T T T"):
    symbols, geometry = ["Na", "He"], [[0.0, 0.0, 0.0], [0.0, 0.0, 3.5]]
    lines = xyz(symbols, geometry, CELL.format(charge, pbc)).splitlines()
    return "\n".join([*lines[:2], *(f"{i} {line}" for i, line in enumerate(lines[2:], 1))]) + "\n"


def test_an_extended_xyz_file_has_columns_a_cell_and_a_charge(convert):
    _, err = converted(convert, extended("charge=1"), "--charges", "Na+", name="cell.extxyz")
    assert "periodic cell, which is ignored" in err
    cluster = load("job.json").problem.cluster
    assert cluster.symbols == ("Na", "He")
    assert cluster.charges.tolist() == [1, 0]
    _, err = converted(convert, extended(pbc="F F F"), "--charges", "Na+", "--overwrite")
    assert not err
    code, _, err = convert(extended("charge=1"), "-o", "other.json")
    assert code == 2
    assert "add up to 0, but the file gives the whole a charge of 1" in err


PDB = (
    "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1\n"
    "HETATM    1  OW  HOH A   1       0.000   0.000   0.000  1.00  0.00\n"
    "HETATM    2 1HW  HOH A   1       0.757   0.586   0.000  1.00  0.00\n"
    "HETATM    3 2HW  HOH A   1      -0.757   0.586   0.000  1.00  0.00\n"
    "HETATM    4 NA    NA A   2       0.000   0.000   4.000\n"
    "HETATM    5  OW  HOH A   1       8.000   0.000   0.000  1.00  0.00           O\n"
    "HETATM    6 1HW  HOH A   1       8.757   0.586   0.000  1.00  0.00           H\n"
    "HETATM    7 2HW  HOH A   1       7.243   0.586   0.000  1.00  0.00           H\n"
    "HETATM    8 HG11 VAL A   3       0.000   9.000   0.000  1.00  0.00\n"
    "HETATM    9 HG12 VAL A   3       0.000   9.000   2.000  1.00  0.00\n"
    "END\n"
)


def test_a_pdb_file_is_cut_by_bonds_or_by_residue(convert):
    out, _ = converted(convert, PDB, name="box.pdb")
    assert "9 atoms, 5 fragments (found by bonds)" in out
    out, _ = converted(convert, PDB, "--by", "residue", "--overwrite", name="box.pdb")
    assert "4 fragments (by residue)" in out
    cluster = load("job.json").problem.cluster
    assert cluster.symbols == ("O", "H", "H", "Na", "O", "H", "H", "H", "H")
    assert cluster.offsets.tolist() == [0, 3, 4, 7, 9]  # residue 1 twice: numbers begin again


def test_the_models_of_a_pdb_file_are_frames(convert):
    model = "MODEL\n{}ENDMDL\n".format("".join(PDB.splitlines(keepends=True)[1:4]))
    code, out, err = convert(model * 2, "--max-nbody", "1", name="box.pdb")
    assert (code, err) == (0, "")
    assert "box.pdb, frames 1-2: 3 atoms, 1 fragment" in out
    assert load("box-002.json").problem.cluster.symbols == ("O", "H", "H")


MOLECULE = {
    "schema_name": "qcschema_molecule",
    "schema_version": 2,
    "symbols": ["Na", "O", "H", "H"],
    "geometry": [0.0, 0.0, 0.0, 0.0, 0.0, 4.4, 0.0, 1.43, 5.51, 0.0, -1.43, 5.51],
    "fragments": [[0], [1, 2, 3]],
    "fragment_charges": [1.0, 0.0],
    "molecular_charge": 1.0,
    "masses": [22.99, 16.0, 1.0, 1.0],
}


def test_a_molecule_of_qcschema_keeps_its_fragments_and_charges(convert):
    out, err = converted(convert, json.dumps(MOLECULE), name="sodium.json")
    assert "2 fragments (as the file has them), charge 1" in out
    assert "not taken over from the file: masses" in err
    cluster = load("job.json").problem.cluster
    assert cluster.geometry.ravel().tolist() == MOLECULE["geometry"]
    assert cluster.charges.tolist() == [1, 0]
    converted(
        convert, json.dumps(MOLECULE), "--by", "bonds", "--charges", "Na+", "--overwrite", name="sodium.json"
    )
    assert load("job.json").problem.cluster.n_fragments == 2


def test_a_multiplicity_of_the_whole_must_be_possible(convert):
    oxygens = {"symbols": ["O"] * 2, "geometry": [0, 0, 0, 0, 0, 9.0], "molecular_multiplicity": 5}
    code, _, err = convert(json.dumps(oxygens), "-o", "job.json", name="oxygen.json")
    assert code == 2
    assert "--multiplicities" in err
    converted(convert, json.dumps(oxygens), "--multiplicities", "O=3", name="oxygen.json")
    assert load("job.json").problem.cluster.multiplicities.tolist() == [3, 3]


def test_frames_become_jobs_that_share_a_cache(convert):
    symbols, geometry = waters(3)
    frames = "\n".join(xyz(symbols, geometry + 0.01 * i) for i in range(3))
    code, out, err = convert(frames)
    assert (code, err) == (0, "")
    assert "cluster.xyz, frames 1-3: 9 atoms, 3 fragments" in out
    assert 'for job in cluster-[0-9][0-9][0-9].json; do python -m qcmb_mpi "$job" </dev/null; done' in out
    names = sorted(path.name for path in Path().glob("cluster-???.json"))
    assert names == [f"cluster-00{i}.json" for i in (1, 2, 3)]
    loaded = [load(name) for name in names]
    assert {job.execution["cache_dir"] for job in loaded} == {"cluster.cache"}
    assert loaded[2].problem.cluster.geometry[0, 0] == pytest.approx(0.02 * ANGSTROM, abs=1e-8)


def test_frames_that_differ_are_told_apart(convert):
    symbols, geometry = waters(3)
    pulled = geometry.copy()
    pulled[1] *= 1.5
    _, out, err = convert(xyz(symbols, geometry) + xyz(symbols, pulled) + xyz(symbols, geometry))
    assert "cluster.xyz, frames 1, 3: 9 atoms, 3 fragments" in out
    assert "cluster.xyz, frame 2: 9 atoms, 4 fragments" in out
    assert "frame 2: suspiciously close" in err


def test_one_frame_is_taken(convert):
    symbols, geometry = waters(3)
    frames = xyz(symbols, geometry) + xyz(symbols, geometry + 1.0)
    code, _, _ = convert(frames, "--frame", "2")
    assert code == 0
    loaded = load("cluster.json")
    assert loaded.problem.cluster.geometry[0, 0] == pytest.approx(ANGSTROM, abs=1e-8)
    assert not loaded.execution


def test_an_existing_file_is_kept_unless_told_otherwise(convert):
    Path("job.json").write_text("mine")
    code, _, err = convert(WATERS, "-o", "job.json")
    assert code == 2
    assert "job.json exists already" in err
    assert Path("job.json").read_text() == "mine"
    converted(convert, WATERS, "--overwrite")
    assert load("job.json").problem.cluster.n_fragments == 10


def test_of_several_frames_none_is_written_if_one_exists(convert):
    symbols, geometry = waters(2)
    Path("cluster-002.json").write_text("mine")
    code, _, err = convert(xyz(symbols, geometry) * 2)
    assert code == 2
    assert "cluster-002.json exists already" in err
    assert not Path("cluster-001.json").exists()


def frames_of(n):
    symbols, geometry = waters(2)
    return "".join(xyz(symbols, geometry + 0.01 * i) for i in range(n))


def jobs():
    return sorted(path.name for path in Path().glob("*-*.json"))


def test_jobs_of_an_earlier_conversion_of_more_frames_do_not_stay(convert):
    convert(frames_of(5))
    Path("cluster-4.json").write_text("mine")  # no number of ours
    Path("cluster-2024.json").write_text("mine")  # nothing that the new jobs' command would run
    code, out, err = convert(frames_of(3), "--overwrite")
    assert (code, err) == (0, "")
    assert "Removed cluster-004.json, cluster-005.json of an earlier conversion" in out
    assert jobs() == [*(f"cluster-00{i}.json" for i in (1, 2, 3)), "cluster-2024.json", "cluster-4.json"]
    code, out, _ = convert(frames_of(3), "--overwrite")
    assert code == 0
    assert "Removed" not in out


def test_jobs_of_an_earlier_conversion_are_named_unless_they_may_go(convert):
    convert(frames_of(5))
    for i in (1, 2):
        Path(f"cluster-00{i}.json").unlink()
    code, _, err = convert(frames_of(2))
    assert code == 2
    assert "cluster-003.json, cluster-004.json, cluster-005.json of an earlier conversion" in err
    assert jobs() == [f"cluster-00{i}.json" for i in (3, 4, 5)]


@pytest.mark.parametrize("content", ["mine", '{"execution": {"cache_dir": "other.cache"}}', "[]", "{}"])
def test_a_numbered_file_that_is_no_job_of_ours_is_never_removed(convert, content):
    Path("cluster-007.json").write_text(content)
    code, _, err = convert(frames_of(3), "--overwrite")
    assert code == 2
    assert "cluster-007.json is named like a job of this conversion but is none" in err
    assert jobs() == ["cluster-007.json"]
    assert Path("cluster-007.json").read_text() == content


def test_a_structure_is_never_replaced_by_its_input(convert):
    code, _, err = convert(json.dumps(MOLECULE), "--overwrite", name="sodium.json")
    assert code == 2
    assert "the structure itself" in err
    assert json.loads(Path("sodium.json").read_text()) == MOLECULE


HE2 = "2\n\nHe 0 0 0\nHe 0 0 3\n"

WRONG = {
    "element": ("2\n\nHe 0 0 0\nHq 0 0 3\n", (), "line 4: 'Hq' is not an element"),
    "broken line": ("2\n\nHe 0 0 0\nHe 0 0\n", (), "line 4: expected an element and x, y, z"),
    "not finite": ("1\n\nHe 0 0 nan\n", (), "line 3: expected an element and x, y, z"),
    "second frame": (HE2 + "2\n\nHe 0 0 0\nHe 0 x 3\n", (), "line 8: expected"),
    "short frame": ("3\n\nHe 0 0 0\nHe 0 0 3\n", (), "line 1 announces 3 atoms, but 2 follow"),
    "no number": ("He 0 0 0\n", (), "line 1: expected the number of atoms"),
    "what follows": (HE2 + "bonds\n", (), "line 5: expected the number of atoms of another frame"),
    "columns": ("1\nProperties=name:S:1:pos:R:3\nHe 0 0 0\n", (), "line 2: Properties: expected species"),
    "empty": ("", (), "cluster.xyz: is empty"),
    "same place": ("2\n\nHe 0 0 0\nHe 0 0 0\n", (), "at the same place"),
    "no such frame": (HE2, ("--frame", "2"), "--frame: there is no frame 2"),
    "frame zero": (HE2, ("--frame", "0"), "--frame: there is no frame 0"),
    "fragments": (HE2, ("--fragments", "1"), "--fragments: atoms in no fragment: 2"),
    "residues": (HE2, ("--by", "residue"), "--by: the file has no residues"),
    "charges": (HE2, ("--charges", "Na+"), "--charges: 'Na+': there is no such fragment; there are 2 He"),
    "too charged": (HE2, ("--charges", "He=3"), "--charges: fragment 1 (He, charge +3) has only 2 electrons"),
    "multiplicity": (HE2, ("--multiplicities", "He=2"), "--multiplicities: fragment 1"),
    "max_nbody": (HE2, ("--max-nbody", "3"), "--max-nbody: 3 is more than the 2 fragments"),
    "BSSE": (HE2, ("--bsse", "cq"), "--bsse: 'cq' is not known"),
    "keywords": (HE2, ("--keywords", "{accuracy: 1}"), "--keywords: is no JSON"),
    "keywords list": (HE2, ("--keywords", "[1]"), "--keywords: expected a JSON object"),
    "folder": (HE2, ("-o", "nowhere/job.json"), "--output: the folder nowhere does not exist"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_ends_with_one_message_and_no_file(convert, case):
    source, flags, words = WRONG[case]
    code, out, err = convert(source, *flags)
    assert code == 2
    assert not out
    assert err.startswith("qcmb_mpi: ")
    assert err.count("\n") == 1
    assert words in err
    assert sorted(path.name for path in Path().iterdir()) == ["cluster.xyz"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.cif", "data_\n", "is of unknown kind; expected .xyz, .extxyz, .pdb or .json"),
        ("a.pdb", "REMARK nothing\n", "holds no ATOM or HETATM lines"),
        ("a.pdb", "ATOM      1  O   HOH A   1       0.000   zero\n", "line 1: expected x, y, z in columns"),
        ("a.pdb", PDB.replace("  OW  HOH A   1 ", "  QW  HOH A   1 "), "line 2: 'Q'"),
        ("a.pdb", PDB.replace(" OW  HOH", " OW AHOH", 1).replace("1HW  HOH", "1HW BHOH", 1), "alternate"),
        ("a.json", json.dumps({"molecule": {"source": "xyz"}}), "holds no molecule of QCSchema"),
        ("a.json", json.dumps({**MOLECULE, "symbols": ["Na", "O", "H"]}), "geometry"),
        ("a.json", json.dumps({**MOLECULE, "fragment_charges": [1]}), "has 1 entries for 2 fragments"),
    ],
)
def test_a_broken_file_of_another_kind_is_told_with_its_place(convert, name, content, words):
    code, _, err = convert(content, name=name)
    assert code == 2
    assert f"{name}: " in err
    assert words in err
