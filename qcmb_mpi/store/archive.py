"""The answers of one job, by task number, on top of a checkpoint or of memory alone.

A checkpoint knows keys; a job knows task numbers.  This module translates: it finds what an earlier
run has left, adds what arrives, and hands energies and derivatives to the assembly.  Derivatives
are stored with the fragments in canonical order (by their digest), since keys do not depend on the
order in which a job lists its fragments but derivatives do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.expansion.assemble import coordinates
from qcmb_mpi.expansion.plan import Block, TaskTable
from qcmb_mpi.expansion.symmetry import Symmetry
from qcmb_mpi.store.cache import Cache
from qcmb_mpi.store.derived import derived, sources
from qcmb_mpi.store.format import (
    DERIVED,
    FAILURE,
    FROM_CACHE_THREADED,
    ROW,
    Rows,
    claim,
    join_keys,
    split_keys,
)
from qcmb_mpi.store.rescue import Batch
from qcmb_mpi.store.task_keys import Keys

__all__ = ["Archive", "Results", "Store"]

CHUNK = 4096  # tasks whose derivatives are handled at once

Floats = NDArray[np.float64]


class Store(Protocol):
    """Where rows are kept: a checkpoint, or memory; ``warnings`` tell what was lost or damaged."""

    warnings: list[str]

    def append(self, rows: Rows, gradients: Floats = ..., hessians: Floats = ...) -> None: ...

    def append_failures(self, failures: Rows) -> None: ...

    def append_records(self, keys: NDArray[np.uint64], records: Sequence[bytes]) -> None: ...

    def rows(self) -> Rows: ...

    def records(self) -> Iterator[tuple[bytes, bytes]]: ...

    def stream(self, rows: Rows) -> Iterator[tuple[slice, Floats, Floats]]: ...

    @property
    def pending(self) -> int: ...

    def save(self, sync: bool = False) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, eq=False)
class Results:
    """Answers of some tasks, as flat arrays.

    Attributes
    ----------
    tasks : (n,) int64
        Task numbers.
    energies, walls, cpus, finished : (n,) float64
        Eh, s, s, unix s.
    attempts : (n,) int64
        Failed tries before.
    gradient_lengths, hessian_lengths : (n,) int64
        Floats of each task in ``floats``.
    floats : (m,) float64
        Gradient [Eh/bohr], then Hessian [Eh/bohr^2], of the first task, then of the next.
    notes, records
        What was done beyond the plain algorithm; full records as bytes.  One for each task, or none.
    """

    tasks: NDArray[np.int64]
    energies: Floats
    walls: Floats
    cpus: Floats
    finished: Floats
    attempts: NDArray[np.int64]
    gradient_lengths: NDArray[np.int64]
    hessian_lengths: NDArray[np.int64]
    floats: Floats
    notes: Sequence[str]
    records: Sequence[bytes]


class Archive:
    """The answers of one job, by task number.

    Parameters
    ----------
    table
        The tasks.
    keys
        Their keys.
    offsets : (n_fragments + 1,) int64
        First atom of each fragment.
    canonical : (n_fragments,) int64
        Place of each fragment in canonical order.
    store
        Where rows are kept.
    cache
        Folder of answers that jobs share, if there is one.
    share_earlier
        Whether what the store holds already is contributed to the cache too.

    Attributes
    ----------
    done : (n_tasks,) bool
        Which answers are there.
    energies : (n_tasks,) float64
        In Eh; NaN where there is none.
    n_done, n_derived
        Answers that are there, and those of them that followed by symmetry in this run.
    repeats
        False if an answer came out of a cache whose last bits may not repeat.
    """

    def __init__(
        self,
        table: TaskTable,
        keys: Keys,
        offsets: NDArray[np.int64],
        canonical: NDArray[np.int64],
        store: Store,
        cache: Cache | None = None,
        share_earlier: bool = True,
    ):
        self._table = table
        self._keys = keys
        self._offsets = offsets
        self._canonical = canonical
        self.store = store
        self._cache = cache
        self._share_earlier = share_earlier
        self.done = np.zeros(table.n_tasks, dtype=bool)
        self.energies = np.full(table.n_tasks, np.nan)
        self.n_done = self.n_derived = 0
        self.notes: dict[str, int] = {}
        self.repeats = True
        self._symmetry: Symmetry | None = None
        self._rows: list[Rows] = []  # those with derivatives
        self._row_of = np.full(0, -1)

    def load(self) -> int:
        """Take over what the store holds already; returns how many tasks that answers.

        What of it the cache lacks is contributed there.
        """
        rows = self.store.rows()
        tasks, places = self._keys.find(split_keys(rows["key"]))
        if len(tasks):
            rows = rows[places]
            self._take(tasks, rows)
            if self._cache is not None and self._share_earlier:
                new = self._cache.lacks(tasks) & (rows["rank"] != DERIVED)
                tasks, rows = tasks[new], rows[new]
                for which, gradients, hessians in self.store.stream(rows):
                    self._cache.add(tasks[which], Batch(rows[which], gradients, hessians))
        return self.n_done

    def reuse(self) -> int:
        """Take over what the cache has for tasks not yet done; returns how many tasks that answers."""
        if self._cache is None:
            return 0
        before = self.n_done
        for tasks, batch in self._cache.find(np.flatnonzero(~self.done)):
            batch.rows["key"] = join_keys(self._keys.of(tasks))
            self.store.append(batch.rows, batch.first, batch.second)
            self._take(tasks, batch.rows)
            self.store.save()
        return self.n_done - before

    def follow(self, symmetry: Symmetry) -> int:
        """From now on an answer is one to all equivalent tasks; returns how many tasks that answers at once.

        The cache gets none of them: it is for what was computed.
        """
        self._symmetry = symmetry
        known = sources(symmetry, self.done)
        for block, positions in self._table.split(known):
            for results in self._known(block, known[positions], symmetry.moves):
                self._derive(results)
        self.store.save()
        return self.n_derived

    @property
    def settled(self) -> NDArray[np.bool_]:
        """Which tasks need not be computed, (n_tasks,): done, or to follow from an equivalent one."""
        return self.done if self._symmetry is None else self.done | self._symmetry.follows

    def append(self, results: Results, seat: int, host: str) -> None:
        """Add answers that have just arrived, and with them those of equivalent tasks."""
        self._append(results, seat, host)
        self._derive(results)

    def _append(self, results: Results, seat: int, host: str) -> None:
        rows = np.zeros(len(results.tasks), dtype=ROW)
        keys = self._keys.of(results.tasks)
        rows["key"] = join_keys(keys)
        rows["energy"] = results.energies
        rows["wall"] = results.walls
        rows["cpu"] = results.cpus
        rows["finished"] = results.finished
        rows["attempt"] = results.attempts
        rows["rank"] = seat
        rows["host"] = host.encode()
        if any(results.notes):
            rows["note"] = [note.encode() for note in results.notes]
        claim(rows, results.gradient_lengths, results.hessian_lengths)
        gradients, hessians = self._canonical_order(results) if len(results.floats) else (np.empty(0),) * 2
        self.store.append(rows, gradients, hessians)
        if self._cache is not None and seat != DERIVED:
            self._cache.add(results.tasks, Batch(rows, gradients, hessians))
        if any(results.records):
            self.store.append_records(keys, results.records)
        self._take(results.tasks, rows)

    def _derive(self, results: Results) -> None:
        if self._symmetry is not None:
            for others in derived(results, self._symmetry, self.done):
                self._append(others, DERIVED, "")
                self.n_derived += len(others.tasks)

    def _known(self, block: Block, tasks: NDArray[np.int64], derivatives: bool) -> Iterator[Results]:
        """Answers of some tasks of a block that are done."""
        if not derivatives:
            nothing = np.zeros((len(tasks), 0))
            yield self._again(tasks, nothing, nothing)
            return
        for some, addresses, gradients, hessians in self.derivatives(block, tasks):
            n, n_coordinates = addresses.shape
            order = np.argsort(addresses, axis=1)
            if gradients.shape[1]:
                gradients = np.take_along_axis(gradients, order, axis=1)
            if hessians.shape[1]:
                squares = hessians.reshape(n, n_coordinates, n_coordinates)
                which = np.arange(n)[:, None, None]
                hessians = squares[which, order[:, :, None], order[:, None, :]].reshape(n, -1)
            yield self._again(some, gradients, hessians)

    def _again(self, tasks: NDArray[np.int64], gradients: Floats, hessians: Floats) -> Results:
        """Answers as they arrived; derivatives with the atoms in ascending order."""
        nothing = np.zeros(len(tasks))
        return Results(
            tasks=tasks,
            energies=self.energies[tasks],
            walls=nothing,
            cpus=nothing,
            finished=np.full(len(tasks), time.time()),
            attempts=np.zeros(len(tasks), dtype=np.int64),
            gradient_lengths=np.full(len(tasks), gradients.shape[1]),
            hessian_lengths=np.full(len(tasks), hessians.shape[1]),
            floats=np.concatenate([gradients, hessians], axis=1).reshape(-1),
            notes=(),
            records=(),
        )

    def append_failures(
        self,
        tasks: NDArray[np.int64],
        attempts: NDArray[np.int64],
        kinds: Sequence[str],
        messages: Sequence[str],
        finished: Floats,
        seat: int,
        host: str,
    ) -> None:
        """Note attempts that failed."""
        rows = np.zeros(len(tasks), dtype=FAILURE)
        rows["key"] = join_keys(self._keys.of(tasks))
        rows["attempt"] = attempts
        rows["rank"] = seat
        rows["host"] = host.encode()
        rows["kind"] = [kind.encode() for kind in kinds]
        rows["message"] = [message.encode() for message in messages]
        rows["finished"] = finished
        self.store.append_failures(rows)

    def derivatives(
        self, block: Block, among: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Floats, Floats]]:
        """Derivatives of all tasks of a block that are done, or of some of them.

        Yields
        ------
        tasks : (n,) int64
            Task numbers.
        addresses : (n, m) int64
            Place of each coordinate among those of the whole cluster, 3 * atom + axis.
        gradients : (n, m) or (n, 0) float64
            In Eh/bohr, in the order of ``addresses``.
        hessians : (n, m * m) or (n, 0) float64
            In Eh/bohr^2, likewise.
        """
        everything = np.concatenate(self._rows) if self._rows else np.empty(0, ROW)
        self._rows = [everything]
        tasks = block.start + np.flatnonzero(self.done[block.tasks]) if among is None else among
        for begin in range(0, len(tasks), CHUNK):
            some = tasks[begin : begin + CHUNK]
            basis = self._in_canonical_order(block.basis(some - block.start))
            for positions, addresses in coordinates(basis, self._offsets):
                rows = everything[self._row_of[some[positions]]]
                for which, gradients, hessians in self.store.stream(rows):
                    n = len(rows[which])
                    yield (
                        some[positions][which],
                        addresses[which],
                        gradients.reshape(n, -1),
                        hessians.reshape(n, -1),
                    )

    def records(self) -> dict[int, bytes]:
        """Full record of every task that has one, by task number."""
        kept = dict(self.store.records())
        found = {}
        for block in self._table.blocks if kept else ():
            for task, key in enumerate(join_keys(self._keys.of_block(block)).tolist(), block.start):
                if key in kept:
                    found[task] = kept[key]
        return found

    def _take(self, tasks: NDArray[np.int64], rows: Rows) -> None:
        self.n_done += int(np.count_nonzero(~self.done[tasks]))
        self.done[tasks] = True
        self.energies[tasks] = rows["energy"]
        self.repeats &= not (rows["rank"] == FROM_CACHE_THREADED).any()
        for note in np.unique(rows["note"]).tolist() if rows["note"].any() else []:
            if note:
                self.notes[note.decode()] = self.notes.get(note.decode(), 0) + int(
                    (rows["note"] == note).sum()
                )
        if rows["length"].any():
            if not len(self._row_of):
                self._row_of = np.full(self._table.n_tasks, -1, dtype=np.int64)
            self._row_of[tasks] = sum(len(part) for part in self._rows) + np.arange(len(rows))
            self._rows.append(rows.copy())

    def _in_canonical_order(self, basis: NDArray[np.integer]) -> NDArray[np.integer]:
        return np.take_along_axis(basis, np.argsort(self._canonical[basis], axis=1), axis=1)

    def _canonical_order(self, results: Results) -> tuple[Floats, Floats]:
        """Gradients and Hessians with the fragments of each task in canonical order."""
        gradients: list[Floats] = [np.empty(0)] * len(results.tasks)
        hessians: list[Floats] = [np.empty(0)] * len(results.tasks)
        ends = np.cumsum(results.gradient_lengths + results.hessian_lengths)
        for block, positions in self._table.split(results.tasks):
            basis = self._in_canonical_order(block.basis(results.tasks[positions] - block.start))
            for members, addresses in coordinates(basis, self._offsets):
                # a task lists its atoms by ascending address
                orders = np.argsort(np.argsort(addresses, axis=1), axis=1)
                for position, order in zip(positions[members].tolist(), orders, strict=True):
                    n_gradient = int(results.gradient_lengths[position])
                    n_hessian = int(results.hessian_lengths[position])
                    begin = int(ends[position]) - n_gradient - n_hessian
                    if n_gradient:
                        gradients[position] = results.floats[begin : begin + n_gradient][order]
                    if n_hessian:
                        square = results.floats[begin + n_gradient : begin + n_gradient + n_hessian]
                        matrix = square.reshape(len(order), len(order))
                        hessians[position] = matrix[np.ix_(order, order)].reshape(-1)
        return np.concatenate(gradients), np.concatenate(hessians)
