"""Rigid motions: the one that brings atoms onto others, and what it does to gradients and Hessians.

A motion here is a rotation, proper or improper, and a translation.  Pure numpy on arrays of many motions;
sums run over atoms and axes in a fixed order, so that the bits of a motion do not depend on how many are
handled at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["fit", "moved_gradients", "moved_hessians"]

Floats = NDArray[np.float64]


def fit(before: Floats, after: Floats) -> tuple[Floats, Floats]:
    """The motions that bring atoms closest to others: Kabsch, Acta Cryst. A32, 922 (1976), with reflections.

    Where the atoms lie in a plane, on a line or in a point, more than one motion is best; any of them is
    given, and all of them move a gradient or Hessian that has the symmetry of the atoms alike.

    Parameters
    ----------
    before, after : (m, n, 3) float64
        Places of the same atoms, m times; ``before`` may have m = 1.

    Returns
    -------
    rotations : (m, 3, 3) float64
        Orthogonal matrices, of determinant 1 or -1.
    farthest : (m,) float64
        Largest distance that is left between an atom and its place.
    """
    before, after = before - _centre(before), after - _centre(after)
    covariance: Floats = np.zeros((len(after), 3, 3))
    for atom in range(after.shape[1]):
        covariance += before[:, atom, :, None] * after[:, atom, None, :]
    left, _, right = np.linalg.svd(covariance)
    rotations = np.ascontiguousarray(sum(right[:, k, :, None] * left[:, None, :, k] for k in range(3)))
    away = ((_rotated(rotations, before) - after) ** 2).sum(axis=2)
    return rotations, np.sqrt(away.max(axis=1))


def moved_gradients(rotations: Floats, gradient: Floats) -> Floats:
    """A gradient (n, 3) after each of m motions, (m, n, 3), atoms in the same order."""
    return _rotated(rotations, gradient[None])


def moved_hessians(rotations: Floats, hessian: Floats) -> Floats:
    """A Hessian (n, 3, n, 3) after each of m motions, (m, n, 3, n, 3), atoms in the same order."""
    n = len(hessian)
    half = _rotated(rotations, hessian.reshape(1, -1, 3)).reshape(-1, n, 3, n, 3)
    half = half.transpose(0, 1, 3, 4, 2).reshape(len(half), -1, 3)  # the other axis comes last
    whole: Floats = _rotated(rotations, half).reshape(-1, n, n, 3, 3).transpose(0, 1, 4, 2, 3)
    return whole


def _centre(places: Floats) -> Floats:
    total: Floats = np.zeros((len(places), 3))
    for atom in range(places.shape[1]):
        total += places[:, atom]
    total /= places.shape[1]
    return total[:, None]


def _rotated(rotations: Floats, vectors: Floats) -> Floats:
    """Vectors (m or 1, n, 3), each set by its rotation."""
    x, y, z = (rotations[:, None, :, k] * vectors[:, :, None, k] for k in range(3))
    moved: Floats = x + y + z
    return moved
