"""The log names task, rank, host and seconds, and leaves a script's own logging alone."""

from __future__ import annotations

import logging
import re
import socket
from pathlib import Path

import pytest
from clusters import GFN2, PAIR, many_body
from program import Mpi, Program
from toy import Toy

from qcmb_mpi import ExecutorConfig, ParallelManyBodyComputer, SequentialExecutor
from qcmb_mpi.logs import log

HOST = socket.gethostname()
INPUT = many_body(PAIR, level=GFN2, bsse_type=["nocp"])


def compute(**settings: str) -> None:
    executor = SequentialExecutor(ExecutorConfig(threads_per_worker=1, **settings))  # type: ignore[arg-type]
    ParallelManyBodyComputer.from_manybodyinput(INPUT, executor=executor)


def test_a_script_that_logs_nothing_sees_nothing(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for logger in (logging.root, log):  # as in a new process
        monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(log, "level", logging.NOTSET)
    compute()
    assert capfd.readouterr() == ("", "")
    compute(log_level="DEBUG")
    assert f"qcmb_mpi: INFO: 3 tasks on 1 rank of {HOST}, 1 thread each" in capfd.readouterr().err
    assert (log.level, log.handlers, log.filters) == (logging.NOTSET, [], [])


def test_records_have_rank_and_host(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="qcmb_mpi"):
        compute()
    assert [(record.rank, record.host) for record in caplog.records] == [(0, HOST)]  # type: ignore[attr-defined]


@pytest.mark.mpi
def test_a_task_that_hangs_is_named_with_rank_host_and_seconds(program: Program, mpi: Mpi) -> None:
    toy = Toy(program, n_atoms=3)
    toy.write_input(max_nbody=1, timeout_per_task=1.0, max_retries=1)
    toy.goes_wrong({"1": ["hang"]})
    finished = program.succeed("input.json", "--log", "run.log", ranks=2, mpi=mpi, **toy.variables)
    line = next(line for line in finished.err.splitlines() if "WARNING: timeout in task" in line)
    assert '["(auto)", [2], [2]], attempt 1, rank ' in line
    assert re.search(rf"rank [01] on {re.escape(HOST)}, after [1-9]\d*\.\d s: took longer", line)
    assert line.partition("WARNING: ")[2] in (program.folder / "run.log").read_text()


def test_a_log_that_cannot_be_written_is_refused(program: Program) -> None:
    program.write("input.json", INPUT)
    finished = program.run("input.json", "--log", str(Path("no", "such", "folder")))
    assert finished.code == 2
    assert "--log: cannot write no/such/folder (No such file or directory)" in finished.err
