"""Content keys against plain integers."""

import numpy as np
import pytest

from qcmb_mpi.store.keys import (
    add128,
    fragment_digests,
    level_digest,
    subtract128,
    sum128,
    task_keys,
)


def integers(words):
    return [int(low) + (int(high) << 64) for low, high in np.reshape(words, (-1, 2))]


@pytest.fixture
def words():
    random = np.random.default_rng(5)
    some = random.integers(0, 2**64, (400, 2), np.uint64)
    # The edges where carries are born.
    some[:50] = np.uint64(2**64 - 1)
    some[50:60] = 0
    some[60:70] = [2**64 - 1, 0]
    return some


def test_sums_and_differences_are_those_of_integers(words):
    a, b = words, np.roll(words, 37, axis=0)
    assert integers(add128(a, b)) == [
        (x + y) % 2**128 for x, y in zip(integers(a), integers(b), strict=False)
    ]
    assert integers(subtract128(a, b)) == [
        (x - y) % 2**128 for x, y in zip(integers(a), integers(b), strict=False)
    ]
    assert integers(sum128(a)) == [sum(integers(a)) % 2**128]
    assert np.array_equal(sum128(a.reshape(20, 20, 2), axis=-2), sum128(a.reshape(20, 20, 2), axis=1))


def test_the_words_of_a_number_are_not_summed(words):
    with pytest.raises(ValueError, match="last"):
        sum128(words, axis=1)


def test_task_keys_are_sums_in_any_order(words):
    random = np.random.default_rng(1)
    members = random.integers(0, len(words), (70000, 3)).astype(np.int16)
    keys = task_keys(words[3], words, members)
    assert np.array_equal(keys, task_keys(words[3], words, members[:, ::-1]))
    chosen = words[members[:50]]
    wanted = add128(sum128(chosen, axis=1), words[3])
    assert np.array_equal(keys[:50], wanted)


GEOMETRY = np.array([[0.0, 0, 0], [0, 0, 2.0], [5, 0, 0], [5, 0, 2.0]])
CLUSTER = {
    "symbols": ["He", "H", "He", "H"],
    "geometry": GEOMETRY,
    "offsets": np.array([0, 2, 4]),
    "charges": np.array([1.0, 1.0]),
    "multiplicities": np.array([1, 1]),
}


def test_digests_cover_what_defines_the_answer_and_nothing_else():
    real, ghost, field = fragment_digests(**CLUSTER)
    assert not field.any()
    assert len({*integers(real), *integers(ghost)}) == 4
    signed = np.where(GEOMETRY == 0, -0.0, GEOMETRY)
    minus = fragment_digests(**{**CLUSTER, "geometry": signed})
    assert np.array_equal(minus[0], real), "-0.0 is 0.0"
    charged = fragment_digests(
        **{**CLUSTER, "charges": np.array([1.0, 0.0]), "multiplicities": np.array([1, 2])}
    )
    assert np.array_equal(charged[0][0], real[0])
    assert not np.array_equal(charged[0][1], real[1])
    assert np.array_equal(charged[1], ghost)
    embedded = fragment_digests(**CLUSTER, embedding=np.array([0.1, 0.2, 0.1, 0.2]))
    assert np.array_equal(embedded[0], real)
    assert embedded[2].any(axis=1).all()
    backwards = fragment_digests(**{**CLUSTER, "geometry": GEOMETRY[[2, 3, 0, 1]]})
    assert np.array_equal(backwards[0], real[::-1])


def test_levels_are_compared_by_meaning():
    level = level_digest("PySCF", "HF", "STO-3G", {"a": 1, "b": {"d": 2, "c": 3}}, "energy")
    assert np.array_equal(
        level, level_digest("pyscf", "hf", "sto-3g", {"b": {"c": 3, "d": 2}, "a": 1}, "energy")
    )
    assert not np.array_equal(level, level_digest("pyscf", "hf", "sto-3g", {"a": 1}, "energy"))
    assert not np.array_equal(
        level_digest("pyscf", "hf", None, {}, "energy"), level_digest("pyscf", "hf", None, {}, "gradient")
    )
