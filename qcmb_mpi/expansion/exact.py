"""Exact sums of integer-weighted floats.

The weights of a many-body expansion reach 10**9 and cancel: plain floats lose nine digits where
chemistry needs them.  Here every product and every sum is an integer: a float is cut into limbs
of 20 bits on a fixed grid of powers of two, the weight into digits of 15 bits, and the products
are counted per grid line.  So a sum has no rounding, does not depend on the order of its terms,
and differences of sums are exact too; rounding happens once, in :func:`rounded`.

(The idea is Kulisch's long accumulator, spread over numpy arrays: U. Kulisch, "Computer Arithmetic
and Validity", de Gruyter, 2nd ed. 2013, chapter 8.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Accumulator", "Exact", "rounded", "zeros"]

#: Exact numbers: Python integers in units of 2**-SCALE, in a numpy array of objects.
Exact = NDArray[np.object_]

SCALE = 1080  # the smallest float is 2**-1074; a multiple of LIMB below it
LIMB = 20  # bits of a float taken at once
DIGIT = 15  # bits of a weight taken at once
CHUNK = 1 << 17  # terms at once: LIMB + DIGIT + 17 bits < 53, so float64 holds their sum exactly
SPILL = 1 << 27  # terms after which the int64 counters are emptied: 35 + 27 bits < 63


def zeros(size: int) -> Exact:
    """``size`` exact zeros."""
    out = np.empty(size, dtype=object)
    out[:] = 0
    return out


def rounded(exact: Exact) -> NDArray[np.float64]:
    """The float64 nearest to each exact number (ties to even)."""
    unit = 1 << SCALE
    return np.array([number / unit for number in exact], dtype=np.float64)


class Accumulator:
    """Exact sums at ``size`` addresses.

    Parameters
    ----------
    size
        Number of independent sums.
    """

    def __init__(self, size: int = 1):
        self.size = size
        self._counters: dict[int, NDArray[np.int64]] = {}
        self._spilled = zeros(size)
        self._terms = 0

    def add(
        self,
        values: NDArray[np.float64],
        weights: int | NDArray[np.int64] = 1,
        addresses: NDArray[np.int64] | None = None,
    ) -> None:
        """Add ``weights * values``.

        Parameters
        ----------
        values : (n,) float64
            Finite numbers below 2**1020.
        weights : int or (n,) int64
            One weight for all or one each.
        addresses : (n,) int64, optional
            Which sum each term belongs to; all to the first by default.
        """
        for begin in range(0, len(values), CHUNK):
            part = slice(begin, begin + CHUNK)
            self._add_chunk(
                values[part],
                weights[part] if isinstance(weights, np.ndarray) else weights,
                None if addresses is None else addresses[part],
            )

    def _add_chunk(
        self,
        values: NDArray[np.float64],
        weights: int | NDArray[np.int64],
        addresses: NDArray[np.int64] | None,
    ) -> None:
        if self._terms + len(values) > SPILL:
            self._spilled, self._counters, self._terms = self.exact(), {}, 0
        self._terms += len(values)
        top = float(np.max(np.abs(values), initial=0.0))
        if not top < 2.0**1020:  # also where it is not a number; the highest limb would overflow
            raise ValueError("only finite numbers below 2**1020 can be summed")
        digits = _digits(weights)
        grid = int(np.frexp(top)[1]) // LIMB * LIMB
        rest = values
        while rest.any():
            limb = np.rint(np.ldexp(rest, -grid))
            rest = rest - np.ldexp(limb, grid)
            for position, digit in enumerate(digits):
                self._count(grid + DIGIT * position, limb * digit, addresses)
            grid -= LIMB

    def _count(self, grid: int, terms: NDArray[np.float64], addresses: NDArray[np.int64] | None) -> None:
        counter = self._counters.setdefault(grid, np.zeros(self.size, dtype=np.int64))
        if addresses is None:
            counter[0] += int(terms.sum())
        else:
            # few terms meet many addresses (one task, a Hessian): the cost must not be that of the size
            np.add.at(counter, addresses, terms.astype(np.int64))

    def exact(self) -> Exact:
        """The sums so far, exactly."""
        total: Exact = self._spilled.copy()
        for grid, counter in self._counters.items():
            total += counter.astype(object) << (grid + SCALE)  # no float has a limb below the unit
        return total


def _digits(weights: int | NDArray[np.int64]) -> list[Any]:
    """Weights in base 2**15, lowest digit first, each digit with the weight's sign."""
    rest: Any = np.asarray(weights, dtype=np.int64)
    sign, rest = np.sign(rest), np.abs(rest)
    digits = []
    while True:
        digits.append((sign * (rest & ((1 << DIGIT) - 1))).astype(np.float64))
        rest = rest >> DIGIT
        if not rest.any():
            return digits
