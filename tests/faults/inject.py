"""Prove with real processes that a job loses nothing and always gives the same bits.

    python tests/faults/inject.py --jobs 200 --kills 300 --fuzz 1000 --seed 1

prints a line for each failure, with the seed that repeats it, and a line for each kind of round.

* ``--jobs``: jobs in which many tasks have mishaps, with and without MPI (``mishap_rounds.py``).
* ``--kills``: jobs that are killed by SIGKILL again and again (``kill_rounds.py``).
* ``--fuzz``: jobs that go on with a damaged checkpoint (``fuzz_rounds.py``).

Rounds have the seeds SEED, SEED + 1, ...; the folder of a round that failed is kept.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import fuzz_rounds  # noqa: E402
import kill_rounds  # noqa: E402
import mishap_rounds  # noqa: E402
from jobs import SHAPES, Undisturbed, undisturbed  # noqa: E402

References = list[Undisturbed]
#: One round: seed, folder and undisturbed jobs to how many of what is counted there were.
Round = Callable[[int, Path, References], int]


class Rounds:
    """Rounds of one kind, several at once, until there were enough of what they count.

    Parameters
    ----------
    name
        Of the kind.
    one
        Runs one.
    wanted
        How many mishaps, kills or damages.
    """

    def __init__(self, name: str, one: Round, wanted: int, seed: int, top: Path, references: References):
        self._name = name
        self._one = one
        self._wanted = wanted
        self._seeds = itertools.count(seed)
        self._top = top
        self._references = references
        self._lock = threading.Lock()
        self._running = self._counted = self._ran = 0
        self.failed: list[int] = []

    def run(self, at_once: int) -> None:
        """Run them and say how it went."""
        begin = time.monotonic()
        with ThreadPoolExecutor(at_once) as pool:
            for future in [pool.submit(self._work) for _ in range(at_once)]:
                future.result()
        seconds = time.monotonic() - begin
        counts = f"{self._counted} in {self._ran} rounds, {len(self.failed)} failed"
        print(f"{self._name}: {counts}, {seconds:.0f} s", flush=True)

    def _work(self) -> None:
        while True:
            with self._lock:
                if self._counted + self._running >= self._wanted:
                    return
                self._running += 1
                seed = next(self._seeds)
            counted = self._try(seed)
            with self._lock:
                self._running -= 1
                self._ran += 1
                self._counted += counted

    def _try(self, seed: int) -> int:
        name = f"{self._name}-{seed}"
        try:
            counted = self._one(seed, self._top / name, self._references)
        except Exception as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            print(f"FAILED --{self._name} 1 --seed {seed}: {said} ({self._top / name})", flush=True)
            (self._top / f"{name}.txt").write_text(traceback.format_exc())
            self.failed.append(seed)
            return 1
        for path in (self._top / name, self._top / f"{name}-tmp"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self._top.glob(f"{name}-*.*"):
            path.unlink()
        return counted


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="jobs with mishaps")
    parser.add_argument("--kills", type=int, default=0, metavar="N", help="kills of jobs")
    parser.add_argument("--fuzz", type=int, default=0, metavar="N", help="damaged checkpoints")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the first round of each kind")
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="rounds at once")
    options = parser.parse_args()
    top = Path(tempfile.mkdtemp(prefix="faults-"))
    references = [undisturbed(top / f"undisturbed-{i}", shape) for i, shape in enumerate(SHAPES)]
    failed = []
    for name, one, wanted, at_once in (
        ("jobs", mishap_rounds.run, options.jobs, options.at_once),
        ("kills", kill_rounds.run, options.kills, options.at_once),
        ("fuzz", fuzz_rounds.run, options.fuzz, 1),  # its rounds fork
    ):
        if wanted:
            rounds = Rounds(name, one, wanted, options.seed, top, references)
            rounds.run(at_once)
            failed += rounds.failed
    if failed:
        return 1
    shutil.rmtree(top)
    return 0


if __name__ == "__main__":
    sys.exit(main())
