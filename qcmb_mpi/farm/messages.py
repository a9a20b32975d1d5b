"""What travels between master, ranks and runners, as flat buffers.

``Work`` goes out: tasks with the fragments they are made of, so that whoever computes them needs
the cluster but not the plan.  ``Answers`` come back: one record each, and all derivatives behind
them.  Both are joined and cut without looking at single tasks; nothing is pickled on this path.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.engine.base import Answer
from qcmb_mpi.engine.failures import Kind
from qcmb_mpi.expansion.plan import TaskTable

__all__ = [
    "ANSWER",
    "WHOLE",
    "Answers",
    "Frames",
    "Tag",
    "Work",
    "alike_work",
    "failure",
    "frame",
    "make_work",
    "pack_answer",
]


class Tag(IntEnum):
    """What a message between ranks is."""

    WORK = 1  #: to a rank: Work
    ANSWERS = 2  #: to rank 0: Answers, also none, as a sign of life
    END = 3  #: to a rank: the exit code
    LOST = 4  #: to rank 0: this rank computes no more


#: ``n_basis`` of a task whose basis is the whole cluster; 0 stands for the real fragments' own.
WHOLE = -1

TASK = np.dtype(
    [
        ("task", "<i8"),
        ("limit", "<f8"),
        ("sturdiness", "<i4"),
        ("width", "<i4"),
        ("level", "<i4"),
        ("n_real", "<i4"),
        ("n_basis", "<i4"),
    ]
)

#: One answer.  ``kind`` is 0 for a result, else a failure's Kind; ``gradient`` and ``hessian``
#: count floats, ``text`` and ``record`` bytes, all behind the records in the same order.
ANSWER = np.dtype(
    [
        ("task", "<i8"),
        ("kind", "<i4"),
        ("sturdiness", "<i4"),
        ("energy", "<f8"),
        ("wall", "<f8"),
        ("cpu", "<f8"),
        ("finished", "<f8"),
        ("gradient", "<i8"),
        ("hessian", "<i8"),
        ("text", "<i8"),
        ("record", "<i8"),
    ]
)

_COUNTS = struct.Struct("<qqq")
_RESULT = struct.Struct("<qqqqqiiddddqqqq")  # length, counts and ANSWER of one result
_LENGTH = struct.Struct("<q")
_BARE = np.dtype([("counts", "<i8", 3), ("head", ANSWER)])  # the message of one energy, nothing behind it


@dataclass(frozen=True, eq=False)
class Work:
    """Some tasks to compute.

    Attributes
    ----------
    tasks : (n,) TASK
        What each task is; ``limit`` is the time it may take [s], and ``width`` how many seats' shares of
        the node's memory.
    members : (m,) int32
        Real fragments of the first task, its basis fragments where they are listed, and so on.
    """

    tasks: NDArray[np.void]
    members: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.tasks)

    def encode(self) -> bytes:
        counts = _COUNTS.pack(len(self.tasks), len(self.members), 0)
        return b"".join((counts, self.tasks.tobytes(), self.members.tobytes()))

    @staticmethod
    def decode(data: bytes | memoryview) -> Work:
        n_tasks, n_members, _ = _COUNTS.unpack_from(data)
        tasks = np.frombuffer(data, TASK, n_tasks, _COUNTS.size)
        return Work(tasks, np.frombuffer(data, "<i4", n_members, _COUNTS.size + tasks.nbytes))

    @property
    def _lengths(self) -> NDArray[np.int64]:
        listed = np.maximum(self.tasks["n_basis"], 0)
        return np.asarray(self.tasks["n_real"] + listed, dtype=np.int64)

    def without(self, first: int) -> Work:
        """The work less its ``first`` tasks."""
        return Work(self.tasks[first:], self.members[int(self._lengths[:first].sum()) :])

    def __iter__(self) -> Iterator[tuple[int, int, int, int, NDArray[np.int32], NDArray[np.int32] | None]]:
        """Yield task, sturdiness, width, level, real and basis fragments (None for the whole cluster)."""
        at = 0
        for task, _, sturdiness, width, level, n_real, n_basis in self.tasks.tolist():
            real = self.members[at : at + n_real]
            at += n_real
            if n_basis > 0:
                yield task, sturdiness, width, level, real, self.members[at : at + n_basis]
                at += n_basis
            else:
                yield task, sturdiness, width, level, real, None if n_basis == WHOLE else real


def make_work(
    table: TaskTable,
    tasks: NDArray[np.int64],
    sturdiness: NDArray[np.integer] | int = 0,
    limits: NDArray[np.float64] | float = np.inf,
    width: int = 1,
) -> Work:
    """The work message for ``tasks``, in this order."""
    records = np.zeros(len(tasks), dtype=TASK)
    records["task"] = tasks
    records["sturdiness"] = sturdiness
    records["limit"] = limits
    records["width"] = width
    members: list[NDArray[np.int32] | None] = [None] * len(tasks)
    for block, positions in table.split(tasks):
        rows = tasks[positions] - block.start
        listed = block.real(rows).astype(np.int32)
        if block.n_basis == block.n_real:
            n_basis = 0
        elif block.n_basis == table.expansion.n_fragments:
            n_basis = WHOLE
        else:
            n_basis = block.n_basis
            listed = np.hstack([listed, block.basis(rows).astype(np.int32)])
        records["level"][positions] = block.level
        records["n_real"][positions] = block.n_real
        records["n_basis"][positions] = n_basis
        if len(positions) == len(tasks):
            return Work(records, listed.reshape(-1))
        for position, row in zip(positions.tolist(), listed, strict=True):
            members[position] = row
    return Work(records, np.concatenate([row for row in members if row is not None]))


def alike_work(
    level: int, members: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], limit: float
) -> Work:
    """Work of one shape outside a plan: tasks 0, 1, ... with these real and basis fragments each."""
    records = np.zeros(len(members), dtype=TASK)
    records["task"] = np.arange(len(members))
    records["limit"] = limit
    records["width"] = 1
    records["level"] = level
    records["n_real"] = len(members[0][0])
    records["n_basis"] = len(members[0][1])
    return Work(records, np.concatenate([part for pair in members for part in pair]).astype(np.int32))


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of some tasks.

    Attributes
    ----------
    heads : (n,) ANSWER
        One record per task.
    floats : (m,) float64
        Gradient [Eh/bohr], then Hessian [Eh/bohr^2], of the first task, then of the next.
    texts
        Note or message, then QCSchema record, of the first task, then of the next.
    """

    heads: NDArray[np.void]
    floats: NDArray[np.float64]
    texts: bytes

    def __len__(self) -> int:
        return len(self.heads)

    def encode(self) -> bytes:
        counts = _COUNTS.pack(len(self.heads), len(self.floats), len(self.texts))
        return b"".join((counts, self.heads.tobytes(), self.floats.tobytes(), self.texts))

    @staticmethod
    def decode(data: bytes | memoryview) -> Answers:
        n_heads, n_floats, n_bytes = _COUNTS.unpack_from(data)
        heads = np.frombuffer(data, ANSWER, n_heads, _COUNTS.size)
        at = _COUNTS.size + heads.nbytes
        floats = np.frombuffer(data, "<f8", n_floats, at)
        at += floats.nbytes
        return Answers(heads, floats, bytes(data[at : at + n_bytes]))

    @staticmethod
    def join(parts: Sequence[Answers]) -> Answers:
        if len(parts) == 1:
            return parts[0]
        return Answers(
            np.concatenate([np.empty(0, ANSWER), *(part.heads for part in parts)]),
            np.concatenate([np.empty(0), *(part.floats for part in parts)]),
            b"".join(part.texts for part in parts),
        )

    @staticmethod
    def decode_all(messages: Sequence[bytes]) -> Answers:
        """Decode and join; one look at many bare energies."""
        if all(len(message) == _BARE.itemsize for message in messages):
            records = np.frombuffer(b"".join(messages), _BARE)
            return Answers(records["head"].copy(), np.empty(0), b"")
        return Answers.join([Answers.decode(message) for message in messages])

    def only(self, wanted: NDArray[np.bool_]) -> Answers:
        """The answers where ``wanted``, shape (n,), holds."""
        if wanted.all():
            return self
        floats, texts = self.pieces()
        keep = np.flatnonzero(wanted).tolist()
        return Answers(
            self.heads[wanted],
            np.concatenate([self.floats[:0], *(self.floats[floats[i] : floats[i + 1]] for i in keep)]),
            b"".join(self.texts[texts[i] : texts[i + 1]] for i in keep),
        )

    def pieces(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where each answer's floats and texts begin, shapes (n + 1,)."""
        floats = np.zeros(len(self) + 1, dtype=np.int64)
        texts = np.zeros(len(self) + 1, dtype=np.int64)
        np.cumsum(self.heads["gradient"] + self.heads["hessian"], out=floats[1:])
        np.cumsum(self.heads["text"] + self.heads["record"], out=texts[1:])
        return floats, texts

    def text(self, position: int) -> str:
        """Note of a result, message of a failure."""
        begin = int(self.pieces()[1][position])
        return self.texts[begin : begin + int(self.heads["text"][position])].decode(errors="replace")


def failure(task: int, sturdiness: int, kind: Kind, message: str, wall: float, finished: float) -> Answers:
    """The answer of a task that failed after ``wall`` seconds."""
    text = message.encode()
    heads = np.zeros(1, dtype=ANSWER)
    heads[0] = (task, kind, sturdiness, np.nan, wall, 0.0, finished, 0, 0, len(text), 0)
    return Answers(heads, np.empty(0), text)


def pack_answer(
    task: int, sturdiness: int, answer: Answer, wall: float, cpu: float, finished: float
) -> bytes:
    """The frame of one result: the same as by way of :class:`Answers`, in one stroke.

    It stands between two tasks, when nothing of it is in the processor's caches.
    """
    gradient, hessian, record = answer.gradient, answer.hessian, answer.record
    size = _BARE.itemsize
    if gradient is None and hessian is None and record is None and not answer.note:
        return _RESULT.pack(
            size, 1, 0, 0, task, 0, sturdiness, answer.energy, wall, cpu, finished, 0, 0, 0, 0
        )
    floats = [b"" if array is None else array.tobytes() for array in (gradient, hessian)]
    texts = [answer.note.encode(), b"" if record is None else zlib.compress(json.dumps(record).encode())]
    counts = [*(len(part) // 8 for part in floats), *map(len, texts)]
    behind = b"".join(floats + texts)
    head = task, 0, sturdiness, answer.energy, wall, cpu, finished, *counts
    return _RESULT.pack(size + len(behind), 1, sum(counts[:2]), sum(counts[2:]), *head) + behind


def frame(data: bytes) -> bytes:
    """``data`` with its length in front, for a byte stream."""
    return _LENGTH.pack(len(data)) + data


class Frames:
    """Cuts a byte stream back into what :func:`frame` put in."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Add ``data``; returns what is complete by now."""
        self._buffer += data
        found = []
        at = 0
        while len(self._buffer) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, at)
            begin = at + _LENGTH.size
            if len(self._buffer) - begin < length:
                break
            at = begin + length
            found.append(bytes(self._buffer[begin:at]))
        del self._buffer[:at]
        return found
