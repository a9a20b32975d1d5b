"""The report of a checkpoint: what the page says, that it needs no network, and that tables add up."""

from __future__ import annotations

import csv
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import h5py
import numpy as np
import pytest
from clusters import HF, HYDROGENS, many_body
from program import Program
from toy import Toy

TREATMENTS = ("cp", "nocp", "vmfc")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished job: gradients of three hydrogen molecules with every treatment."""
    program = Program(tmp_path_factory.mktemp("done"))
    program.write(
        "input.json",
        many_body(
            HYDROGENS, level=HF, driver="gradient", bsse_type=TREATMENTS, max_nbody=3, return_total_data=True
        ),
    )
    program.succeed("input.json", "--quiet")
    finished = program.succeed(
        "report", "input.checkpoint.h5", "--csv", "tables", "--png", "plots", "--clusters", "clusters.json"
    )
    assert "Report (complete): input.report.html" in finished.out, finished
    assert not program.close()
    return program.folder


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def properties(folder: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((folder / "input.result.json").read_text())["properties"]
    return found


class Page(HTMLParser):
    """Text of a page, what it refers to, and whether its tags are balanced."""

    VOID = ("meta", "link", "br")

    def __init__(self, path: Path):
        super().__init__()
        self.text = ""
        self.references: list[str] = []
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.references += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_data(self, data):
        self.text += data


def test_the_page_refers_to_nothing_outside_itself(done: Path) -> None:
    page = Page(done / "input.report.html")
    assert all(reference.startswith(("#", "data:")) for reference in page.references)
    content = (done / "input.report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|//[a-z]+\.[a-z]|<script|@import|url\((?!['\"]?#)", content)
    assert content.count("<svg") == 7


def test_the_page_tells_numbers_levels_and_what_to_cite(done: Path) -> None:
    text = Page(done / "input.report.html").text.replace("−", "-")
    values = properties(done)
    for treatment in TREATMENTS:
        for n in (2, 3):
            assert f"{values[f'{treatment}_corrected_{n}_body_contribution_to_energy']:.8f}" in text
    assert f"{values['cp_corrected_total_energy']:.8f} Eh" in text
    for word in ("sto-3g", "pyscf", "10.1063/5.0231843", "10.1063/5.0006074", "10.1080/00268977000101561"):
        assert word in text
    assert "Partial" not in text
    assert "No attempt has failed" in text


def test_increments_add_up_to_the_body_orders_and_to_the_result(done: Path) -> None:
    values = properties(done)
    table = rows(done / "tables" / "increments.csv")
    orders = {(o["treatment"], o["n"]): o for o in rows(done / "tables" / "body_orders.csv")}
    assert len(table) == 3 * (3 + 3 + 1)
    assert len(orders) == 9
    for (treatment, n), order in orders.items():
        mine = [row for row in table if (row["treatment"], row["n"]) == (treatment, n)]
        total = sum(float(row["delta_e_hartree"]) for row in mine)
        assert total == pytest.approx(float(order["contribution_hartree"]), abs=1e-12)
        if n != "1":
            expected = values[f"{treatment}_corrected_{n}_body_contribution_to_energy"]
            assert float(order["contribution_hartree"]) == expected
            assert all(float(row["distance_angstrom"]) > 1 for row in mine)
        assert float(order["total_hartree"]) == values[f"{treatment}_corrected_total_energy_through_{n}_body"]
    trimer = next(row for row in table if row["n"] == "3")
    assert trimer["fragments"] == "1+2+3"
    dimers = [row for row in table if row["n"] == "2" and row["treatment"] == "cp"]
    for name in ("distance_angstrom", "com_distance_angstrom"):
        assert float(trimer[name]) == max(float(row[name]) for row in dimers)
    kj = float(trimer["delta_e_kj_mol"]) / float(trimer["delta_e_hartree"])
    assert kj == pytest.approx(2625.4996, rel=1e-7)


def test_the_table_of_tasks_is_the_checkpoint(done: Path) -> None:
    table = rows(done / "tables" / "tasks.csv")
    with h5py.File(done / "input.checkpoint.h5", "r", locking=False) as file:
        kept = file["results"][...]
    assert sorted(float(row["energy_hartree"]) for row in table) == sorted(kept["energy"].tolist())
    assert {row["state"] for row in table} == {"done"}
    assert len({row["label"] for row in table}) == len(kept)


def test_clusters_are_those_of_the_result(done: Path) -> None:
    written = json.loads((done / "clusters.json").read_text())
    expected = json.loads((done / "input.result.json").read_text())["cluster_properties"]
    assert set(written) == set(expected)
    for label, entry in written.items():
        assert entry["return_energy"] == expected[label]["return_energy"]
        assert (
            np.ravel(entry["return_gradient"]).tolist()
            == np.ravel(expected[label]["return_gradient"]).tolist()
        )
    lines = (done / "clusters.json").read_text().splitlines()
    assert len(lines) == len(expected) + 2
    json.loads("{" + lines[1].rstrip(",") + "}")


def test_plots_are_files(done: Path) -> None:
    files = sorted(path.name for path in (done / "plots").iterdir())
    assert len(files) == 7
    assert all((done / "plots" / name).read_bytes().startswith(b"\x89PNG") for name in files)


@pytest.mark.slow
def test_the_checkpoint_is_not_touched(done: Path, program: Program) -> None:
    path = program.folder / "input.checkpoint.h5"
    shutil.copy(done / "input.checkpoint.h5", path)
    before = path.read_bytes()
    path.chmod(0o444)
    program.succeed("report", "input.checkpoint.h5")
    assert path.read_bytes() == before
    assert program.files() == ["input.checkpoint.h5", "input.report.html"]


@pytest.fixture
def partial(program: Program) -> Program:
    """A job of which a trimer and a dimer have failed, and another dimer at first."""
    toy = Toy(program, 4, "toy_program")
    toy.write_input(max_retries=1)
    toy.goes_wrong({"0-1-2": ["raise", "always"], "2-3": ["input", "always"], "0-3": ["raise"]})
    assert program.run("input.json", **toy.variables).code == 1
    return program


@pytest.mark.slow
def test_a_partial_run_is_marked_and_nothing_is_made_up(partial: Program) -> None:
    finished = partial.succeed("report", "input.checkpoint.h5", "--csv", "tables")
    assert "partial, 12 of 14 tasks" in finished.out
    text = Page(partial.folder / "input.report.html").text
    for words in (
        "Partial: 12 of 14 tasks are done",
        "2 of them have failed",
        "QCEngine Execution Error",
        "the toy does not do this",
    ):
        assert words in text
    assert '["(auto)", [1, 2, 3], [1, 2, 3]]' in text
    orders = rows(partial.folder / "tables" / "body_orders.csv")
    assert [bool(order["total_hartree"]) for order in orders] == [True, False, False]
    assert [order["tasks_missing"] for order in orders] == ["0", "1", "2"]
    table = rows(partial.folder / "tables" / "increments.csv")
    unknown = [row["fragments"] for row in table if not row["delta_e_hartree"]]
    assert unknown == ["3+4", "1+2+3", "1+3+4", "2+3+4"]
    states = [row["state"] for row in rows(partial.folder / "tables" / "tasks.csv")]
    assert (states.count("done"), states.count("failed")) == (12, 2)
    recovered = [row["recovered"] for row in rows(partial.folder / "tables" / "failures.csv")]
    assert (recovered.count("yes"), recovered.count("no")) == (1, 3)


@pytest.mark.slow
@pytest.mark.parametrize(("failing", "n_done"), [(("0-1",), 2), (("0", "1", "0-1"), 0)])
def test_a_job_that_has_little_or_nothing_yet_can_be_looked_at(
    program: Program, failing: tuple[str, ...], n_done: int
) -> None:
    toy = Toy(program, 2)
    toy.write_input(max_nbody=2, max_retries=0)
    toy.goes_wrong({name: ["input", "always"] for name in failing})
    assert program.run("input.json", **toy.variables).code == 1
    finished = program.succeed("report", "input.checkpoint.h5", "--csv", "tables", "--png", "plots")
    assert f"partial, {n_done} of 3 tasks" in finished.out
    assert "Warning" not in finished.err
    assert f"Partial: {n_done} of 3 tasks are done" in Page(program.folder / "input.report.html").text
    (dimer,) = (row for row in rows(program.folder / "tables" / "increments.csv") if row["n"] == "2")
    assert dimer["delta_e_hartree"] == ""


def test_without_matplotlib_tables_are_written_and_the_command_that_helps_is_named(
    done: Path, program: Program
) -> None:
    shutil.copy(done / "input.checkpoint.h5", program.folder)
    program.write(
        "script.py",
        "import sys\n"
        "sys.modules['matplotlib'] = None\n"
        "from qcmb_mpi.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n",
    )
    script = program.folder / "script.py"
    finished = program.succeed("report", "input.checkpoint.h5", "--csv", "tables", script=script)
    assert "pip install 'qcmb-mpi[plot]'" in finished.err
    assert len(rows(program.folder / "tables" / "increments.csv")) == 21
    assert "<svg" not in (program.folder / "input.report.html").read_text()
    refused = program.run("report", "input.checkpoint.h5", "--png", "plots", script=script)
    assert refused.code == 2
    assert "pip install 'qcmb-mpi[plot]'" in refused.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing.h5",), "there is no such checkpoint"),
        (("input.json",), "Did you mean"),
        (("input.checkpoint.h5", "-o", "nowhere/page.html"), "does not exist"),
        (("input.checkpoint.h5", "-o", "input.checkpoint.h5"), "is the checkpoint itself"),
        (("input.checkpoint.h5", "--csv", "input.json"), "input.json"),
    ],
)
def test_what_cannot_be_done_is_said(
    done: Path, program: Program, arguments: tuple[str, ...], words: str
) -> None:
    for name in ("input.json", "input.checkpoint.h5"):
        shutil.copy(done / name, program.folder)
    refused = program.run("report", *arguments)
    assert refused.code == 2, refused
    assert words in refused.err
    assert "Traceback" not in refused.err


def test_increments_can_be_plotted_from_python(done: Path) -> None:
    from qcmb_mpi import InputError, plot_increments

    axes = plot_increments(done / "input.checkpoint.h5", 2, "cp")
    shown = sum(len(points.get_offsets()) for points in axes.collections)
    assert shown == 3
    with pytest.raises(InputError, match="4-body"):
        plot_increments(done / "input.checkpoint.h5", 4)
