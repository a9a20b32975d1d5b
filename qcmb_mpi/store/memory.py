"""A store that keeps nothing beyond the process, with the manners of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.store.format import ROW, Rows, address, join_keys, payload_lengths

__all__ = ["Memory"]

Floats = NDArray[np.float64]

_NOTHING = np.empty(0)


class Memory:
    """A store that keeps nothing beyond the process."""

    pending = 0

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self._rows: list[Rows] = []
        self._gradients = [np.empty(0)]
        self._hessians = [np.empty(0)]
        self._ends = [0, 0]
        self._records: list[tuple[bytes, bytes]] = []

    def append(self, rows: Rows, gradients: Floats = _NOTHING, hessians: Floats = _NOTHING) -> None:
        """Take in finished tasks, as :meth:`qcmb_mpi.store.checkpoint.Checkpoint.append` does."""
        address(rows, *self._ends)
        self._ends = [self._ends[0] + len(gradients), self._ends[1] + len(hessians)]
        self._gradients.append(gradients)
        self._hessians.append(hessians)
        self._rows.append(rows.copy())

    def append_failures(self, failures: Rows) -> None:
        """Failures are not kept."""

    def append_records(self, keys: NDArray[np.uint64], records: Sequence[bytes]) -> None:
        """Take in full records of tasks with ``(n, 2) uint64`` keys."""
        self._records += zip(join_keys(keys).tolist(), records, strict=True)

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and bytes of every full record."""
        return iter(self._records)

    def rows(self) -> Rows:
        return np.concatenate([np.empty(0, ROW), *self._rows])

    def stream(self, rows: Rows) -> Iterator[tuple[slice, Floats, Floats]]:
        """Derivatives of ``rows`` laid end to end, in one piece."""
        self._gradients = [np.concatenate(self._gradients)]
        self._hessians = [np.concatenate(self._hessians)]
        n_gradient, n_hessian = payload_lengths(rows)
        where = rows["gradient_offset"]
        first = np.where(where >= 0, where, rows["offset"])
        yield (
            slice(0, len(rows)),
            self._gradients[0][_ragged(first, n_gradient)],
            self._hessians[0][_ragged(rows["offset"], n_hessian)],
        )

    def save(self, sync: bool = False) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


def _ragged(firsts: NDArray[np.integer], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers ``first, first + 1, ...`` of several ranges, one range after the other."""
    begins = np.cumsum(lengths) - lengths
    index: NDArray[np.int64] = np.arange(int(lengths.sum())) + np.repeat(firsts - begins, lengths)
    return index
