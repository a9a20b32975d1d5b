"""What waits to be computed, and in which order it leaves.

*Fresh* tasks lie in one lane for each block of alike tasks, most expensive first; the next one comes
from the lane whose first task is expected to take longest, which changes as times are measured.  Tasks
to be *retried* come before them, except at seats where they have failed.  One task of every lane goes
first, to be measured, or a few of very many; of a lane that is not measured yet a seat gets a small
piece.  *Wide* tasks need a node for themselves and wait until nothing else does.  What cannot end in
the time that is left is *late*: it stays, and is not handed out any more.

Pure: it knows neither clock nor messages, and of seats only their numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.farm.cost import CostModel
from qcmb_mpi.farm.policy import Policy

__all__ = ["Queue"]


class _Lane:
    """The fresh tasks of one block, most expensive first."""

    def __init__(self, block: int, tasks: NDArray[np.int64]):
        self.block = block
        self.probed = False
        self._tasks = tasks
        self._cursor = 0

    def __len__(self) -> int:
        return len(self._tasks) - self._cursor

    def front(self, n: int) -> NDArray[np.int64]:
        return self._tasks[self._cursor : self._cursor + n]

    def take(self, n: int) -> NDArray[np.int64]:
        tasks = self.front(n)
        self._cursor += len(tasks)
        return tasks

    def sieve(self, waiting: NDArray[np.bool_]) -> None:
        """Leave out what is not waiting any more."""
        rest = self._tasks[self._cursor :]
        self._tasks, self._cursor = rest[waiting[rest]], 0


class Queue:
    """The waiting tasks of a schedule.

    Parameters
    ----------
    model
        What tasks cost.
    waiting : (n,) int64
        The tasks, in ascending order.
    policy
        The numbers to go by.
    """

    def __init__(self, model: CostModel, waiting: NDArray[np.int64], policy: Policy):
        self._model = model
        self._policy = policy
        self._lanes = [
            _Lane(block, lane[np.argsort(-model.costs[lane], kind="stable")])
            for block, lane in enumerate(np.split(waiting, np.searchsorted(waiting, model.starts[1:])))
        ]
        self._n_fresh = len(waiting)
        self._retries: deque[int] = deque()
        self._wide: deque[int] = deque()
        self._widened: set[int] = set()
        self._late: list[int] = []
        self._shunned: dict[int, set[int]] = {}  # task -> seats where it failed

    def __len__(self) -> int:
        return self.n_ready + len(self._wide) + len(self._late)

    @property
    def n_ready(self) -> int:
        """Tasks that a single seat may take."""
        return self._n_fresh + len(self._retries)

    @property
    def n_wide(self) -> int:
        """Tasks that need a node for themselves."""
        return len(self._wide)

    @property
    def n_late(self) -> int:
        """Tasks that could not end in time."""
        return len(self._late)

    @property
    def ready(self) -> list[int]:
        """Tasks that a single seat may take, in no order that matters."""
        return [task for lane in self._lanes for task in lane.front(len(lane)).tolist()] + [*self._retries]

    @property
    def wide(self) -> list[int]:
        """Tasks that need a node for themselves."""
        return list(self._wide)

    @property
    def tasks(self) -> list[int]:
        """All of them, in no order that matters."""
        return [*self.ready, *self.wide, *self._late]

    def retry(self, task: int, wide: bool = False) -> None:
        """Take back a task that has to be computed again; once ``wide``, it stays so."""
        if wide:
            self._widened.add(task)
        (self._wide if task in self._widened else self._retries).append(task)

    def shun(self, task: int, seat: int) -> None:
        """A task has failed at a seat: if it comes back, it had better go elsewhere."""
        self._shunned.setdefault(task, set()).add(seat)

    def probe_again(self, task: int) -> None:
        """The measurement of a task's lane counts for little."""
        self._lanes[int(self._model.blocks(np.array([task]))[0])].probed = False

    def sieve(self, waiting: NDArray[np.bool_]) -> None:
        """Leave out tasks that are not ``waiting``, shape (n_tasks,): an answer has come after all."""
        self._retries = deque(task for task in self._retries if waiting[task])
        self._wide = deque(task for task in self._wide if waiting[task])
        self._late = [task for task in self._late if waiting[task]]
        for lane in self._lanes:
            lane.sieve(waiting)
        self._n_fresh = sum(len(lane) for lane in self._lanes)

    def may_take(self, seat: int, task: int, living: Iterable[int]) -> bool:
        """Whether a retried task may go to a seat: not where it failed, if there is another."""
        shunned = self._shunned.get(task, set())
        return seat not in shunned or all(other in shunned for other in living)

    def take(
        self, seat: int, seconds: float, living: Callable[[], Iterable[int]], left: float = float("inf")
    ) -> NDArray[np.int64]:
        """The next batch for a seat: one retried task, or fresh ones worth that many seconds.

        Parameters
        ----------
        seat
            Who asks.
        seconds
            Work that is wanted.
        living
            Gives all seats that could compute; asked when needed, since there may be thousands.
        left
            Seconds in which all of it has to end.

        Returns
        -------
        (n,) int64
            Empty if there is nothing for this seat.
        """
        task = self._take_one(self._retries, seat, living, left)
        if task is not None:
            return np.array([task], dtype=np.int64)
        tasks = self._fresh(seconds, left)
        self._n_fresh -= len(tasks)
        return tasks

    def take_wide(
        self, seat: int, living: Callable[[], Iterable[int]], left: float = float("inf")
    ) -> int | None:
        """A task for a node of its own that a seat may begin; parameters as in :meth:`take`."""
        return self._take_one(self._wide, seat, living, left)

    def _take_one(
        self, tasks: deque[int], seat: int, living: Callable[[], Iterable[int]], left: float
    ) -> int | None:
        for _ in range(len(tasks)):
            task = tasks.popleft()
            if not self._in_time(task, left):
                self._late.append(task)
            elif self.may_take(seat, task, living()):
                return task
            else:
                tasks.append(task)
        return None

    def _in_time(self, task: int, left: float) -> bool:
        return not self._model.seconds(np.array([task]))[0] > left  # nobody knows: it may be tried

    def _fresh(self, seconds: float, left: float) -> NDArray[np.int64]:
        if left < float("inf"):
            self._part_with_late(left)
        lanes = sorted((lane for lane in self._lanes if len(lane)), key=self._seconds_at_front, reverse=True)
        if not lanes:
            return np.empty(0, dtype=np.int64)
        measured = self._model.measured
        for lane in lanes:
            if not lane.probed and not measured[lane.block]:
                lane.probed = True
                return lane.take(self._trial(lane))
        lane = lanes[0]
        if not measured[lane.block]:
            seconds = min(seconds, self._policy.shortest_batch)
        return lane.take(self._worth(lane, min(seconds, left)))

    def _worth(self, lane: _Lane, seconds: float) -> int:
        """How many tasks at the front of a lane are worth that many seconds; one, if nobody knows."""
        n, most = 16, min(len(lane), self._policy.most_tasks)
        while True:  # mostly the first few are enough
            total = np.cumsum(self._model.seconds(lane.front(min(n, most))))
            if n >= most or not total[-1] < seconds:
                return max(1, int(total.searchsorted(seconds, side="right")))  # NaN comes behind all
            n *= 16

    def _part_with_late(self, left: float) -> None:
        """Leave the most expensive tasks of each lane, as many as could not end in the time left."""
        for lane in self._lanes:
            if not len(lane) or self._in_time(int(lane.front(1)[0]), left):
                continue
            expected = self._model.seconds(lane.front(len(lane)))  # in descending order
            late = lane.take(int((expected > left).sum()))
            self._late += late.tolist()
            self._n_fresh -= len(late)

    def _trial(self, lane: _Lane) -> int:
        """Tasks to measure a lane with: one, or a few where there are so many that they do not matter."""
        return min(self._policy.trial, max(1, len(lane) // (50 * self._policy.seats)))

    def _seconds_at_front(self, lane: _Lane) -> float:
        front = lane.front(1)
        seconds = float(self._model.seconds(front)[0])
        return seconds if np.isfinite(seconds) else float(self._model.costs[front[0]])
