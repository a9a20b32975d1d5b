"""Sums are those of exact rational arithmetic, rounded once."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcmb_mpi.expansion import exact
from qcmb_mpi.expansion.exact import Accumulator, rounded

NUMBERS = st.floats(-1e300, 1e300, allow_nan=False) | st.floats(-1e3, 1e3) | st.floats(-1e-300, 1e-300)
WEIGHTS = st.integers(-(2**62), 2**62) | st.integers(-10, 10)
TERMS = st.lists(st.tuples(NUMBERS, WEIGHTS, st.integers(0, 3)), min_size=1, max_size=40)

#: 2**1023, the largest power of two that float64 knows: sums beyond it cannot be rounded to it.
LARGEST = Fraction(2) ** 1023


@settings(max_examples=200, deadline=None)
@given(terms=TERMS, chunk=st.sampled_from([1, 2, 7, 1 << 17]), spill=st.sampled_from([7, 20, 1 << 27]))
def test_sums_are_rational_sums_rounded_once(
    terms: list[tuple[float, int, int]], chunk: int, spill: int
) -> None:
    accumulator = Accumulator(4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "CHUNK", chunk)
        patch.setattr(exact, "SPILL", spill)
        values, weights, addresses = zip(*terms, strict=True)
        accumulator.add(np.array(values), np.array(weights, dtype=np.int64), np.array(addresses))
        sums = accumulator.exact()
    wanted = [Fraction(0)] * 4
    for value, weight, address in terms:
        wanted[address] += weight * Fraction(value)
    assert [Fraction(number, 2**exact.SCALE) for number in sums] == wanted
    if all(abs(number) < LARGEST for number in wanted):
        assert rounded(sums).tolist() == [float(number) for number in wanted]


@settings(max_examples=100, deadline=None)
@given(values=st.lists(NUMBERS, max_size=40), weight=WEIGHTS, cut=st.integers(0, 40))
def test_one_weight_for_all_is_the_same_weight_for_each(values: list[float], weight: int, cut: int) -> None:
    array = np.array(values)
    together, apart = Accumulator(), Accumulator()
    together.add(array, weight)
    apart.add(array[cut:], np.full(len(array[cut:]), weight))
    apart.add(array[:cut], np.full(len(array[:cut]), weight))
    assert together.exact() == apart.exact()
    assert Fraction(together.exact()[0], 2**exact.SCALE) == weight * sum(map(Fraction, values))


@pytest.mark.parametrize("exponent", range(0, 60, 3))
def test_chunks_of_full_size_do_not_overflow(exponent: int) -> None:
    n = (1 << 17) + 3
    value = float(np.nextafter(2.0**exponent, 0))
    weight = 1 - 2**62
    accumulator = Accumulator(2)
    accumulator.add(np.full(n, value), np.full(n, weight), np.ones(n, dtype=np.int64))
    accumulator.add(np.full(n, value), weight)
    assert [Fraction(number, 2**exact.SCALE) for number in accumulator.exact()] == [
        n * weight * Fraction(value)
    ] * 2


def test_counters_have_room_for_the_terms_between_two_spills() -> None:
    product = exact.LIMB + exact.DIGIT  # bits
    assert product + (exact.CHUNK - 1).bit_length() <= 53
    assert product + (exact.SPILL - 1).bit_length() < 63
    assert exact.SCALE % exact.LIMB == 0
    assert exact.SCALE >= 1074


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.79e308])
def test_what_cannot_be_summed_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Accumulator().add(np.array([1.0, value]))


def test_ties_are_rounded_to_even() -> None:
    accumulator = Accumulator(2)
    accumulator.add(np.array([1.0, 2.0**-53, 1.0, 3 * 2.0**-53]), 1, np.array([0, 0, 1, 1]))
    assert rounded(accumulator.exact()).tolist() == [1.0, 1.0 + 2.0**-51]


def test_the_smallest_float_survives() -> None:
    accumulator = Accumulator()
    accumulator.add(np.array([1e300, 5e-324, -1e300]))
    assert rounded(accumulator.exact()).tolist() == [5e-324]
