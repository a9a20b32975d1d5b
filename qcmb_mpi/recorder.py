"""Takes the answers off the master's hands: into the archive, to the disk, onto the screen.

Here is decided when to save and what to show; the archive knows how, the schedule knows nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.engine.failures import Kind
from qcmb_mpi.farm.messages import Answers
from qcmb_mpi.farm.schedule import Schedule
from qcmb_mpi.logs import log
from qcmb_mpi.pulse import Pulse
from qcmb_mpi.report.progress import Progress
from qcmb_mpi.store.archive import Archive, Results

__all__ = ["Recorder", "failure_text"]

SAVE_EVERY = 0.5  # s between two saves at least
SAVE_WITHIN = 5.0  # s after which even a single finished task is saved
SYNC_EVERY = 10.0  # s between two of them that wait for the disk
LOUD = 20  # failed attempts that are logged as warnings
SHOW_EVERY = 0.25  # s between two looks at what there is to show


class Recorder:
    """The master's sink.

    Parameters
    ----------
    archive
        Where answers go.
    progress
        What is shown meanwhile.
    hosts
        Host of each seat; grows as seats join.
    interval
        Finished tasks after which a save is due.
    energy_so_far
        Called now and then: the best total there is, and what it is.
    pulse
        Tells those who watch from outside.
    label
        Of a task, for the log.
    """

    def __init__(
        self,
        archive: Archive,
        progress: Progress,
        hosts: dict[int, str],
        interval: int,
        energy_so_far: Callable[[], tuple[float | None, str]],
        pulse: Pulse,
        label: Callable[[int], str],
    ):
        self._archive = archive
        self._progress = progress
        self._hosts = hosts
        self._interval = interval
        self._energy_so_far = energy_so_far
        self._pulse = pulse
        self._label = label
        self._failures = 0
        self._saved = self._synced = time.monotonic()
        self._shown = -float("inf")
        self._unsaved = 0

    def append(self, answers: Answers, seat: int, attempts: NDArray[np.int64]) -> None:
        """Keep results."""
        heads = answers.heads
        notes: list[str] = []
        records: list[bytes] = []
        if answers.texts:
            notes, records = [""] * len(heads), [b""] * len(heads)
            begins = answers.pieces()[1]
            for position in range(len(heads)):
                middle = int(begins[position] + heads["text"][position])
                notes[position] = answers.texts[begins[position] : middle].decode(errors="replace")
                records[position] = answers.texts[middle : begins[position + 1]]
        self._archive.append(
            Results(
                tasks=heads["task"].astype(np.int64),
                energies=heads["energy"].astype(np.float64),
                walls=heads["wall"].astype(np.float64),
                cpus=heads["cpu"].astype(np.float64),
                finished=heads["finished"].astype(np.float64),
                attempts=attempts,
                gradient_lengths=heads["gradient"].astype(np.int64),
                hessian_lengths=heads["hessian"].astype(np.int64),
                floats=answers.floats,
                notes=notes,
                records=records,
            ),
            seat,
            self._hosts.get(seat, ""),
        )
        self._unsaved += len(heads)

    def append_failures(self, answers: Answers, seat: int, attempts: NDArray[np.int64]) -> None:
        """Note failed attempts."""
        self._archive.append_failures(
            answers.heads["task"].astype(np.int64),
            attempts,
            [Kind(int(kind)).word for kind in answers.heads["kind"]],
            [answers.text(position) for position in range(len(answers))],
            answers.heads["finished"].astype(np.float64),
            seat,
            self._hosts.get(seat, ""),
        )
        self._unsaved += self._interval  # a failure is worth a save
        for position, head in enumerate(answers.heads):
            self._failures += 1
            text = failure_text(
                self._label(int(head["task"])),
                int(attempts[position]) + 1,
                Kind(int(head["kind"])),
                answers.text(position),
                self._place(seat),
                float(head["wall"]),
            )
            log.log(logging.WARNING if self._failures <= LOUD else logging.DEBUG, "%s", text)
            if self._failures == LOUD:
                log.warning("further failed attempts are logged with log_level DEBUG only")

    def set_aside(self, seats: frozenset[int]) -> None:
        """Say that seats get nothing more."""
        hosts = sorted({self._hosts.get(seat, "?") for seat in seats})
        log.warning(
            "%s on %s %s set aside: tasks fail there that succeed elsewhere. Look at its scratch folder, "
            "and at whether the program runs there",
            _ranks(seats),
            ", ".join(hosts),
            "is" if len(seats) == 1 else "are",
        )

    def lost(self, rank: int) -> None:
        """Say that a rank has died."""
        log.warning("%s has died; others get its tasks, and the job goes on", self._place(rank))

    def silent(self, rank: int) -> None:
        """Say that a rank is not believed any more."""
        log.warning("%s gives no sign of life; others get its tasks", self._place(rank))

    def back(self, rank: int) -> None:
        """Say that a rank that was given up is there again."""
        log.warning("%s is back", self._place(rank))

    def _place(self, seat: int) -> str:
        return f"rank {seat} on {self._hosts.get(seat, 'an unknown host')}"

    def save(self) -> None:
        """Bring everything to the disk."""
        self._archive.store.save(sync=True)
        self._saved = self._synced = time.monotonic()
        self._unsaved = 0

    def round(self, schedule: Schedule, now: float) -> None:
        """Save and show, if that is due."""
        since = now - self._saved
        # also with nothing to save: the store renews its lock, and sees whether its file is still there
        if since >= SAVE_WITHIN or (self._unsaved >= self._interval and since >= SAVE_EVERY):
            sync = now - self._synced >= SYNC_EVERY
            self._archive.store.save(sync)
            self._saved, self._unsaved = now, 0
            if sync:
                self._synced = now
        self._pulse.beat(schedule, self._archive.n_done, now)
        if now - self._shown >= SHOW_EVERY:
            self._shown = now
            energy, label = self._energy_so_far()
            self._progress.update(
                self._archive.n_done,  # the schedule takes what follows by symmetry for done
                schedule.n_failed,
                schedule.n_tasks,
                energy,
                label,
                schedule.seconds_left(),
                schedule.busy_fraction(),
                now,
            )


def _ranks(seats: frozenset[int]) -> str:
    """``rank 3``, or ``ranks 3, 4, 5``."""
    return f"rank{'s' * (len(seats) > 1)} {', '.join(map(str, sorted(seats)))}"


def failure_text(label: str, attempt: int, kind: Kind, message: str, where: str, seconds: float) -> str:
    """One line of the log: which attempt at which task failed, where, after how long, and how."""
    first = message.partition("\n")[0]
    return f"{kind.word} in task {label}, attempt {attempt}, {where}, after {seconds:.1f} s: {first}"
