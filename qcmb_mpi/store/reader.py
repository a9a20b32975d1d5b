"""Reading rows and derivatives out of an open checkpoint, and telling whole ones from damaged ones.

Used by the writer on resuming and by those who look at a live or finished file.  Never writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.store.format import FORMAT, RECORD, Rows, crc, is_row, payload_lengths

__all__ = ["Floats", "Reader", "payload_sums"]

_SLAB = 1 << 16
"""Rows read at once."""
_BLOCK = 1 << 22
"""Derivative values held at once (32 MiB)."""
_GAP = 1 << 13
"""Derivative values worth reading in vain rather than reading twice."""

Floats = NDArray[np.float64]


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class Reader:
    """An open checkpoint.

    Parameters
    ----------
    file
        An open ``h5py.File``.
    """

    def __init__(self, file: Any):
        self.file = file

    def attributes(self) -> dict[str, Any]:
        """All attributes of the root, texts as str; ``fingerprint`` and ``versions`` as dicts."""
        attributes: dict[str, Any] = {}
        for name, value in self.file.attrs.items():
            attributes[name] = _text(value) if isinstance(value, (str, bytes)) else value
        for name in ("fingerprint", "versions"):
            attributes[name] = json.loads(attributes.get(name, "{}"))
        return attributes

    def is_checkpoint(self) -> bool:
        """Whether the file says that it is one of ours."""
        # Nobody else has the second one, which also tells a damaged text from another program's.
        return _text(self.file.attrs.get("format", "")) == FORMAT or "texts_crc32" in self.file.attrs

    def input_text(self) -> str | None:
        """The normalised input; None where it is damaged."""
        content = bytes(self.file["input"][()]).rstrip(b"\0")
        if crc(content) != int(self.file.attrs["input_crc32"]):
            return None
        return content.decode("utf-8", "replace")

    def table(self, name: str, dtype: np.dtype[Any]) -> tuple[Rows, int]:
        """The whole rows of a table and the number of those that are not.

        Rows that are all zero (a writer died between making room and writing) count as not whole.
        """
        dataset = self.file[name]
        n = int(dataset.shape[0])
        whole: list[Rows] = [np.zeros(0, dtype)]
        kept = 0
        for begin in range(0, n, _SLAB):
            for rows in self._slabs(dataset, begin, min(begin + _SLAB, n)):
                good = rows[is_row(rows)]
                kept += len(good)
                whole.append(good)
        return np.concatenate(whole), n - kept

    @staticmethod
    def _slabs(dataset: Any, begin: int, end: int) -> Iterator[Rows]:
        try:
            yield dataset[begin:end]
        except OSError:
            # Only a chunk of it is unreadable: read the others one by one.
            step = int(dataset.chunks[0])
            for at in range(begin, end, step):
                try:
                    yield dataset[at : min(at + step, end)]
                except OSError:
                    continue

    # -- derivatives -----------------------------------------------------------------------------

    def flat(self, name: str, offset: int, length: int) -> Floats:
        """``length`` float64 values of ``/gradients`` or ``/hessians``."""
        values: Floats = self.file[name][offset : offset + length]
        return values

    def gather(
        self, name: str, offsets: NDArray[np.int64], lengths: NDArray[np.int64], gap: int = _GAP
    ) -> NDArray[Any]:
        """Pieces of a flat dataset, one after the other.

        Parameters
        ----------
        offsets, lengths : (n,) int64
        gap
            Values between two pieces that are worth reading in vain.

        Returns
        -------
        values : (sum(lengths),)
        """
        dataset = self.file[name]
        used = lengths > 0
        offsets, lengths = offsets[used], lengths[used]
        if not len(offsets):
            return np.zeros(0, dataset.dtype)
        order = np.argsort(offsets, kind="stable")
        begins = offsets[order]
        ends = np.maximum.accumulate(begins + lengths[order])
        breaks = np.flatnonzero(begins[1:] > ends[:-1] + gap) + 1
        firsts = np.concatenate([[0], breaks])
        lasts = np.concatenate([breaks, [len(begins)]]) - 1
        slabs = [dataset[begins[i] : ends[j]] for i, j in zip(firsts, lasts, strict=True)]
        if len(slabs) == 1 and np.array_equal(offsets[1:], (offsets + lengths)[:-1]):
            whole: NDArray[Any] = slabs[0]
            return whole
        # Where each row begins in the slabs laid end to end.
        sizes = np.array([len(slab) for slab in slabs])
        shift = np.repeat(np.cumsum(sizes) - sizes - begins[firsts], lasts - firsts + 1)
        place = np.empty_like(offsets)
        place[order] = begins + shift
        out_begin = np.cumsum(lengths) - lengths
        index = np.arange(int(lengths.sum())) + np.repeat(place - out_begin, lengths)
        values: NDArray[Any] = np.concatenate(slabs)[index]
        return values

    def derivatives(self, rows: Rows) -> tuple[Floats, Floats]:
        """Gradients and Hessians of whole rows, each laid end to end in the order of the rows."""
        n_gradient, n_hessian = payload_lengths(rows)
        where = rows["gradient_offset"]
        first = np.where(where >= 0, where, rows["offset"]).astype(np.int64)
        return (
            self.gather("gradients", first, n_gradient),
            self.gather("hessians", rows["offset"].astype(np.int64), n_hessian),
        )

    def stream(self, rows: Rows, values: int = _BLOCK) -> Iterator[tuple[slice, Floats, Floats]]:
        """Derivatives of many rows in pieces of about ``values`` float64 values.

        Yields
        ------
        which, gradients, hessians
            ``which`` is the slice of ``rows`` these belong to.
        """
        n_gradient, n_hessian = payload_lengths(rows)
        ends = np.cumsum(n_gradient + n_hessian)
        begin = 0
        while begin < len(rows):
            done = int(ends[begin - 1]) if begin else 0
            end = max(begin + 1, int(np.searchsorted(ends, done + values, "right")))
            which = slice(begin, end)
            yield (which, *self.derivatives(rows[which]))
            begin = end

    def records(self) -> Iterator[tuple[Rows, NDArray[np.uint8]]]:
        """Whole full records, some at a time.

        Yields
        ------
        index, content
            Rows of ``/records_index`` and the bytes they address, laid end to end.
        """
        index, _ = self.table("records_index", RECORD)
        size = self.file["records"].shape[0]
        index = index[(index["offset"] >= 0) & (index["offset"] + index["length"] <= size)]
        for begin in range(0, len(index), 1024):
            some = index[begin : begin + 1024]
            lengths = some["length"].astype(np.int64)
            content = self.gather("records", some["offset"].astype(np.int64), lengths)
            edges = np.cumsum(lengths)
            sums = [crc(content[b - n : b]) for b, n in zip(edges.tolist(), lengths.tolist(), strict=True)]
            whole = np.array(sums, np.uint32) == some["payload"]
            yield some[whole], content[np.repeat(whole, lengths)]

    def each_record(self) -> Iterator[tuple[Rows, bytes]]:
        """Whole full records one by one: row of ``/records_index`` and bytes."""
        for index, content in self.records():
            at = 0
            for row in index:
                end = at + int(row["length"])
                yield row, content[at:end].tobytes()
                at = end

    def has_payload(self, rows: Rows) -> NDArray[np.bool_]:
        """Which of some whole rows have the derivatives they were written with."""
        n_gradient, n_hessian = payload_lengths(rows)
        where = rows["gradient_offset"]
        first = np.where(where >= 0, where, rows["offset"])
        good: NDArray[np.bool_] = (first + n_gradient <= self.file["gradients"].shape[0]) | (n_gradient == 0)
        good &= (rows["offset"] + n_hessian <= self.file["hessians"].shape[0]) | (n_hessian == 0)
        wanted = np.flatnonzero(good & (rows["length"] > 0))
        # Whole rows only, so a piece that cannot be read is a damaged chunk: find it row by row.
        pieces = [wanted] if len(wanted) else []
        while pieces:
            piece = pieces.pop()
            try:
                good[piece] = self._sums(rows[piece]) == rows["payload"][piece]
            except OSError:
                if len(piece) == 1:
                    good[piece] = False
                else:
                    pieces += np.array_split(piece, min(len(piece), 16))
        return good

    def _sums(self, rows: Rows) -> NDArray[np.uint32]:
        sums = np.zeros(len(rows), np.uint32)
        for which, gradients, hessians in self.stream(rows):
            sums[which] = payload_sums(rows[which], gradients, hessians)
        return sums


def payload_sums(rows: Rows, gradients: Floats, hessians: Floats) -> NDArray[np.uint32]:
    """CRC32 of the derivatives of each row.

    Parameters
    ----------
    rows : (n,) ROW
    gradients, hessians
        Those of all rows, laid end to end.
    """
    n_gradient, n_hessian = payload_lengths(rows)
    g, h = (np.ascontiguousarray(x).data for x in (gradients, hessians))
    g_end, h_end = np.cumsum(n_gradient), np.cumsum(n_hessian)
    if len(h) == 0:
        ends = g_end.tolist()
        starts = [0, *ends[:-1]]
        sums = (crc(g[a:b]) for a, b in zip(starts, ends, strict=True))
    else:
        edges = (g_end - n_gradient, g_end, h_end - n_hessian, h_end)
        sums = (crc(h[c:d], crc(g[a:b])) for a, b, c, d in zip(*(e.tolist() for e in edges), strict=True))
    return np.fromiter(sums, np.uint32, len(rows))
