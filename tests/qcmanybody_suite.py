"""QCManyBody's own tests of its computer, run with ours in its place and PySCF in Psi4's.

They come inside the installed package; nothing of them is copied.  This file is a program, and the
pytest plugin that it loads:

    python tests/qcmanybody_suite.py            # all of them, in some ten minutes on two cores
    python tests/qcmanybody_suite.py -k 4b_all  # further arguments are pytest's
    python tests/qcmanybody_suite.py --record   # all, and the outcome goes to docs/qcmanybody.md

Tests that cannot pass are in the table ``DIFFERENT`` with the reason and the error they must end with.
A failure that is not there is an error, and so is a pass that is.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "qcmanybody.md"
MARKS = "<!-- recorded: suite -->\n", "<!-- end -->\n"

MODULES = tuple(
    f"qcmanybody.tests.{name}"
    for name in (
        "test_computer_he4_singlelevel",
        "test_computer_he4_multilevel",
        "test_computer_het4_gradient",
        "test_schema_keywords",
    )
)

#: As tight as the tests compare.
TIGHT = {"conv_tol": 1e-12, "conv_tol_grad": 1e-8}
TIGHT_CC = {"cc_conv_tol": 1e-11, "conv_tol_normt": 1e-9}

#: The fitting sets that Psi4 takes for helium in aug-cc-pVDZ, where it is not told to do without.
FITTED = {"density_fit": "def2-universal-jkfit", "mp2_fit": "aug-cc-pvdz-ri"}


@dataclass(frozen=True)
class Difference:
    """Tests that do not pass.

    Attributes
    ----------
    tests
        Pattern of their names.
    error
        The exception that each of them ends with.
    reason
        For the reader of the page.
    """

    tests: str
    error: str
    reason: str


DIFFERENT = (
    Difference(
        r"test_mbe_level_fails|test_mbe_sie\[.*Cannot skip",
        "InputError",
        "refused here as well, by an `InputError` that names the field, in words of ours",
    ),
    Difference(
        r"test_nbody_ee_error",
        "Failed",
        "QCManyBody computes embedding charges only where an environment variable allows it; here they are "
        "computed whenever the input has them (the tests that compare their numbers pass)",
    ),
    Difference(
        r"test_fragmentless_mol",
        "InputError",
        "refused here for its other fault, levels without body orders; a molecule without fragments is one "
        "fragment here, with a warning",
    ),
)


# --- what stands in QCManyBody's place --------------------------------------------------------------


def from_manybodyinput(input_model: Any, build_tasks: bool = True) -> Any:
    """In the place of ``ManyBodyComputer.from_manybodyinput``."""
    from qcmb_mpi import ExecutorConfig, ParallelManyBodyComputer, SequentialExecutor

    model = with_pyscf(input_model)
    if not build_tasks:
        return as_read(model)
    executor = SequentialExecutor(ExecutorConfig(threads_per_worker=1))
    return ParallelManyBodyComputer.from_manybodyinput(model, executor=executor)


def with_pyscf(model: Any) -> Any:
    """The same input with PySCF and its keywords in Psi4's place.

    A level that the keywords only name, as in tests that compute nothing, gets the first one's specification.
    """
    specification = model.specification
    second = model.schema_version == 2
    content = json.loads(specification.model_dump_json() if second else specification.json())
    levels = content["specification"]
    if "program" in levels:
        levels = content["specification"] = {"(auto)": levels}
    for level in levels.values():
        if level["program"] in ("psi4", "cfour"):
            level.update(program="pyscf", keywords=pyscf_keywords(level))
    for name in (content["keywords"].get("levels") or {}).values():
        levels.setdefault(name, next(iter(levels.values())))
    return type(model)(molecule=model.molecule, specification=content)


def pyscf_keywords(level: dict[str, Any]) -> dict[str, Any]:
    """What Psi4's keywords mean to PySCF."""
    fitted = level["model"]["method"] == "mp2" and "mp2_type" not in (level["keywords"] or {})
    coupled = level["model"]["method"].startswith("ccsd")
    return {**TIGHT, **(TIGHT_CC if coupled else {}), **(FITTED if fitted else {})}


def as_read(model: Any) -> Any:
    """What we make of an input, under the names that QCManyBody's computer has for it."""
    from qcmb_mpi.inputs import from_model

    problem = from_model(model).problem
    expansion = problem.expansion
    levels: dict[Any, str] = {}
    for index, (level, orders) in enumerate(zip(problem.levels, expansion.orders, strict=True)):
        levels["supersystem" if index == expansion.supersystem else max(orders)] = level.name
    return SimpleNamespace(
        driver=problem.driver,
        nfragments=expansion.n_fragments,
        max_nbody=expansion.max_nbody,
        levels=levels,
        nbodies_per_mc_level=[list(orders) or ["supersystem"] for orders in expansion.orders],
        return_total_data=expansion.return_total_data,
        supersystem_ie_only=expansion.supersystem_ie_only,
        bsse_type=list(problem.model.specification.keywords.bsse_type),
    )


# --- the plugin --------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Put class and program in their places, before the tests are imported."""
    import qcmanybody
    from qcmanybody.tests import addons

    addons._programs["psi4"] = True
    for module in (qcmanybody, qcmanybody.v1, qcmanybody.v2):
        if hasattr(module, "ManyBodyComputer"):  # version 1 is not everywhere
            module.ManyBodyComputer = SimpleNamespace(from_manybodyinput=from_manybodyinput)
    for name in ("addon", *addons._programs):
        config.addinivalue_line("markers", name)


@pytest.hookimpl(tryfirst=True)  # before -k takes any away
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every entry of the table must name a test."""
    for difference in DIFFERENT:
        if not any(re.search(difference.tests, item.name) for item in items):
            raise pytest.UsageError(f"no test is named so: {difference.tests}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Turn what the table expects into an expected failure, and its absence into a failure."""
    report = yield
    expected = difference_of(item.name)
    if call.when != "call" or expected is None or report.skipped:
        return report
    if call.excinfo is None:
        report.outcome = "failed"
        report.longrepr = f"{item.name} passed, but the table says that it does not: {expected.reason}"
    elif call.excinfo.typename == expected.error:
        report.outcome = "skipped"
        report.wasxfail = expected.reason
    return report


def difference_of(test: str) -> Difference | None:
    return next((one for one in DIFFERENT if re.search(one.tests, test)), None)


# --- the program -------------------------------------------------------------------------------------


class Outcome:
    """Collects what became of the tests."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.skips: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and not (report.when == "setup" and not report.passed):
            return
        if hasattr(report, "wasxfail"):
            self.counts["different"] += 1
            self.reasons[report.wasxfail] += 1
        elif report.skipped:
            self.counts["skipped"] += 1
            self.skips[str(report.longrepr[-1]).removeprefix("Skipped: ")] += 1  # type: ignore[index]
        else:
            self.counts[report.outcome] += 1

    def text(self) -> str:
        """Two tables in Markdown."""
        today = datetime.date.today().isoformat()
        versions = ", ".join(f"{name} {version(name)}" for name in ("qcmanybody", "pyscf", "qcmb-mpi"))
        counts = self.counts
        lines = [
            f"{today}, {versions}: {sum(counts.values())} tests; {counts['passed']} passed, "
            f"{counts['failed']} failed, {counts['different']} differ as expected, "
            f"{counts['skipped']} skipped.",
            "",
            "| tests | why they differ or are skipped |",
            "|---|---|",
        ]
        for found in (self.reasons, self.skips):
            lines += [f"| {count} | {reason} |" for reason, count in sorted(found.items())]
        return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--record", action="store_true", help=f"write the outcome to docs/{PAGE.name}")
    options, further = parser.parse_known_args(arguments)
    if options.record and further:
        parser.error("only a run of all tests is recorded")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    here = str(Path(__file__).resolve().parent)
    sys.path.insert(0, here)
    os.environ["PYTHONPATH"] = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    outcome = Outcome()
    own = ["-c", os.devnull, "--rootdir", os.getcwd(), "-p", "qcmanybody_suite", "-p", "no:cacheprovider"]
    workers = ["-n", "auto", "--maxprocesses", "4"]
    shown = ["-q", "--tb=short", "--show-capture=no", "--disable-warnings"]
    code = pytest.main([*own, *workers, *shown, *further, "--pyargs", *MODULES], plugins=[outcome])
    text = outcome.text()
    print(text)
    if options.record and code == 0:
        before, _, rest = PAGE.read_text().partition(MARKS[0])
        PAGE.write_text(before + MARKS[0] + text + MARKS[1] + rest.partition(MARKS[1])[2])
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
