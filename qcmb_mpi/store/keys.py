"""Content keys: 128-bit sums of hashes, as numpy expressions over millions of tasks.

A key is the sum modulo 2**128 of one hash per fragment and role (real, ghost, point charge) and one
for the level, so that it does not depend on the order of the fragments and another job finds it again.
Pure numpy and hashlib; which fragments form a task is the caller's business.

A 128-bit number is a pair of uint64 words ``(low, high)`` on the last axis; in little-endian order
these are the 16 bytes of a key in the checkpoint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "add128",
    "fragment_digests",
    "level_digest",
    "subtract128",
    "sum128",
    "task_keys",
    "version_digest",
]

Words = NDArray[np.uint64]

# Tasks handled at once by task_keys: the temporaries then stay in the processor's cache.
_BLOCK = 1 << 15


def _digest(*parts: bytes) -> Words:
    """128-bit hash of a sequence of byte strings; lengths are hashed, so that no two sequences collide."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return np.frombuffer(state.digest(), "<u8").astype(np.uint64)


def _bytes(values: Any) -> bytes:
    # Adding 0.0 turns -0.0 into 0.0: the same place must not have two keys.
    return (np.asarray(values, np.float64) + 0.0).astype("<f8").tobytes()


def fragment_digests(
    symbols: Sequence[str],
    geometry: NDArray[np.float64],
    offsets: NDArray[np.int64],
    charges: NDArray[np.float64],
    multiplicities: NDArray[np.int64],
    embedding: NDArray[np.float64] | None = None,
) -> tuple[Words, Words, Words]:
    """Hashes of every fragment in each role it can play in a task.

    Parameters
    ----------
    symbols
        Element symbols of all atoms, fragment by fragment.
    geometry : (n_atoms, 3)
        Positions in bohr.
    offsets : (N + 1,)
        Fragment ``i`` owns the atoms ``offsets[i]:offsets[i + 1]``.
    charges, multiplicities : (N,)
        Of the fragments.
    embedding : (n_atoms,), optional
        Point charges that stand in for fragments neither real nor ghost.

    Returns
    -------
    real, ghost, point_charge : (N, 2) uint64
        ``real`` covers symbols, positions, charge and multiplicity; ``ghost`` symbols and positions;
        ``point_charge`` positions and point charges, and is zero without embedding.
    """
    n = len(offsets) - 1
    real, ghost, field = (np.zeros((n, 2), np.uint64) for _ in range(3))
    for i in range(n):
        atoms = slice(int(offsets[i]), int(offsets[i + 1]))
        names = "\0".join(s.capitalize() for s in symbols[atoms]).encode()
        place = _bytes(geometry[atoms])
        spin = int(multiplicities[i]).to_bytes(8, "little", signed=True)
        real[i] = _digest(b"real", names, place, _bytes(charges[i]), spin)
        ghost[i] = _digest(b"ghost", names, place)
        if embedding is not None:
            field[i] = _digest(b"point charge", place, _bytes(embedding[atoms]))
    return real, ghost, field


def level_digest(
    program: str, method: str, basis: str | None, keywords: Mapping[str, Any], driver: str
) -> Words:
    """Hash of a model chemistry and the derivative wanted, ``(2,) uint64``.

    Programs, methods and basis sets are compared without regard to case, keywords as JSON with sorted
    names (and ``repr`` for what JSON does not know).
    """
    text = json.dumps(dict(keywords), sort_keys=True, separators=(",", ":"), default=repr)
    parts = (program.casefold(), method.casefold(), (basis or "").casefold(), text, driver.casefold())
    return _digest(b"level", *(part.encode() for part in parts))


def version_digest(version: str) -> Words:
    """Hash of a program's version, ``(2,) uint64``."""
    return _digest(b"version", version.encode())


def add128(a: Words, b: Words) -> Words:
    """``a + b`` modulo 2**128; ``(..., 2)`` arrays broadcast against each other."""
    a, b = np.asarray(a, np.uint64), np.asarray(b, np.uint64)
    out = np.empty(np.broadcast_shapes(a.shape, b.shape), np.uint64)
    low = a[..., 0] + b[..., 0]
    out[..., 0] = low
    out[..., 1] = a[..., 1] + b[..., 1] + (low < a[..., 0])
    return out


def subtract128(a: Words, b: Words) -> Words:
    """``a - b`` modulo 2**128; ``(..., 2)`` arrays broadcast against each other."""
    a, b = np.asarray(a, np.uint64), np.asarray(b, np.uint64)
    out = np.empty(np.broadcast_shapes(a.shape, b.shape), np.uint64)
    out[..., 0] = a[..., 0] - b[..., 0]
    out[..., 1] = a[..., 1] - b[..., 1] - (a[..., 0] < b[..., 0])
    return out


def sum128(array: Words, axis: int = 0) -> Words:
    """Sum modulo 2**128 along one axis of a ``(..., 2)`` array (never the last).

    Words are summed in halves of 32 bits, which cannot overflow below 2**32 terms; the carries are
    added at the end.
    """
    array = np.asarray(array, np.uint64)
    if axis < 0:
        axis += array.ndim
    if not 0 <= axis < array.ndim - 1:
        raise ValueError("sum128 sums over any axis but the last, which holds the two words of a number")
    half = np.uint64(32)
    mask = np.uint64(0xFFFFFFFF)
    low, high = array[..., 0], array[..., 1]
    low_low = np.sum(low & mask, axis=axis, dtype=np.uint64)
    low_high = np.sum(low >> half, axis=axis, dtype=np.uint64) + (low_low >> half)
    out = np.empty((*low_low.shape, 2), np.uint64)
    out[..., 0] = (low_low & mask) | (low_high << half)
    out[..., 1] = np.sum(high, axis=axis, dtype=np.uint64) + (low_high >> half)
    return out


def task_keys(base: Words, digests: Words, members: NDArray[np.integer[Any]]) -> Words:
    """``base`` plus the digests of each task's members.

    Parameters
    ----------
    base : (2,) or (n, 2) uint64
        What all tasks share (level and embedding field), or the sum so far of each.
    digests : (N, 2) uint64
        One hash per fragment, in the role the members play.
    members : (n, k) integer
        Fragments of every task.

    Returns
    -------
    keys : (n, 2) uint64
    """
    members = np.asarray(members)
    n, k = members.shape
    out = np.empty((n, 2), np.uint64)
    out[:] = base
    lows, highs = np.ascontiguousarray(digests[:, 0]), np.ascontiguousarray(digests[:, 1])
    for begin in range(0, n, _BLOCK):
        block = members[begin : begin + _BLOCK]
        low, high = out[begin : begin + _BLOCK, 0].copy(), out[begin : begin + _BLOCK, 1].copy()
        for column in range(k):
            chosen = block[:, column]
            term = lows[chosen]
            low += term
            high += highs[chosen]
            high += low < term
        out[begin : begin + _BLOCK, 0] = low
        out[begin : begin + _BLOCK, 1] = high
    return out
