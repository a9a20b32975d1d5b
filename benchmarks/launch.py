"""From the command to the first task: ``mpiexec -n 2`` on a small input, warm disk.

    python benchmarks/launch.py [--runs 5]

The first task notes when it begins, so that nothing of the program itself is asked.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from inputs import atoms, write

PLUGIN = """
import os, time
import spin

class First(spin.Spin):
    name = "first"

    def compute(self, *arguments, **keywords):
        try:
            with open(os.environ["FIRST_TASK"], "x") as file:
                file.write(repr(time.time()))
        except FileExistsError:
            pass
        return super().compute(*arguments, **keywords)

spin.register_engine(First())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--ranks", type=int, default=2)
    options = parser.parse_args()
    mpiexec = Path(sys.executable).parent / "mpiexec"
    times = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "first.py").write_text(PLUGIN)
        content = atoms(4, 2, 1.0)
        content["specification"]["specification"]["program"] = "first"
        path = write(folder, "small", content)
        here = str(Path(__file__).resolve().parent)
        for number in range(options.runs + 1):
            mark = folder / f"mark{number}"
            environ = {**os.environ, "FIRST_TASK": str(mark), "OMP_NUM_THREADS": "1", "PYTHONPATH": here}
            begin = time.time()
            subprocess.run(
                [
                    *(str(mpiexec) if mpiexec.exists() else "mpiexec", "-n", str(options.ranks)),
                    *(sys.executable, "-m", "qcmb_mpi", "run", str(path), "--overwrite", "--quiet"),
                    *("--plugin", str(folder / "first.py")),
                ],
                check=True,
                stdin=subprocess.DEVNULL,
                env=environ,
            )
            times.append((float(mark.read_text()) - begin, time.time() - begin))
    first, whole = zip(*times[1:], strict=True)  # the first run warms the disk
    print(
        f"{options.ranks} ranks, {options.runs} runs: to the first task {statistics.median(first):.2f} s ",
        end="",
    )
    print(f"(from {min(first):.2f} to {max(first):.2f}), whole program {statistics.median(whole):.2f} s")


if __name__ == "__main__":
    main()
