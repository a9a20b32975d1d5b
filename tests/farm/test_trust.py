"""Is it the task or the machine: only what succeeds elsewhere speaks against a seat or a node."""

from __future__ import annotations

from qcmb_mpi.farm.trust import DOUBLINGS, STREAK, Trust, Verdict


def trust(nodes: dict[int, int]) -> Trust:
    t = Trust()
    for seat, node in nodes.items():
        t.join(seat, node)
    return t


def fail(t: Trust, seat: int, *tasks: int, now: float = 0.0) -> None:
    for task in tasks:
        t.failed(seat, task, now)


TWO_NODES = {0: 0, 1: 0, 2: 1, 3: 1}


def test_a_few_failures_say_nothing():
    t = trust({0: 0, 1: 0})
    fail(t, 0, *range(STREAK - 1))
    assert t.serves(0, [0, 1], 0.0)
    assert t.succeeded(1, [0]) is None


def test_a_success_ends_a_streak():
    t = trust({0: 0, 1: 0})
    fail(t, 0, *range(STREAK))
    t.succeeded(0, [99])
    assert t.serves(0, [0, 1], 0.0)
    assert t.succeeded(1, [0]) is None


def test_a_streak_makes_a_seat_wait_for_proof_as_long_as_there_are_others():
    t = trust({0: 0, 1: 0})
    t.succeeded(1, [50])
    fail(t, 1, 60)
    t.succeeded(1, [51])
    fail(t, 0, *range(STREAK))
    t.succeeded(1, [52])
    assert not t.serves(0, [0, 1], 0.0)
    assert t.serves(1, [0, 1], 0.0)
    assert t.serves(0, [0], 0.0)


def test_what_succeeds_elsewhere_proves_a_seat_broken():
    t = trust({0: 0, 1: 0})
    fail(t, 0, *range(STREAK))
    assert t.succeeded(1, [99, 1]) == Verdict(frozenset({0}), frozenset(range(STREAK)))
    assert not t.serves(0, [0, 1], 1e9)
    assert t.serves(0, [0], 0.0)
    assert t.succeeded(1, [2]) is None  # it is said once


def test_what_fails_elsewhere_too_proves_nothing():
    t = trust({0: 0, 1: 1})
    fail(t, 0, *range(STREAK))
    fail(t, 1, 0)
    assert t.serves(0, [0, 1], 0.0)
    assert t.succeeded(1, [1]) is None


def test_a_node_is_broken_as_a_whole():
    t = trust(TWO_NODES)
    fail(t, 0, 10, 11)
    fail(t, 1, 12)
    assert not t.serves(0, [0, 1, 2, 3], 0.0)
    assert not t.serves(1, [0, 1, 2, 3], 0.0)
    verdict = t.succeeded(2, [12])
    assert verdict == Verdict(frozenset({0, 1}), frozenset({10, 11, 12}))


def test_one_broken_seat_does_not_condemn_its_node():
    t = trust(TWO_NODES)
    fail(t, 0, 10, 11, 12)
    t.succeeded(1, [20])
    assert t.succeeded(2, [10]) == Verdict(frozenset({0}), frozenset({10, 11, 12}))
    assert t.serves(1, [0, 1, 2, 3], 0.0)


def test_a_doubted_seat_is_tried_again_after_pauses_that_grow_to_a_minute():
    t = trust({0: 0, 1: 1})
    pauses = []
    for task in range(STREAK + DOUBLINGS + 2):
        fail(t, 0, task, now=100.0)
        pauses.append(next((s for s in range(200) if t.serves(0, [0, 1], 100.0 + s)), None))
    assert pauses[: STREAK - 1] == [0] * (STREAK - 1)
    assert pauses[STREAK - 1 :] == [1, 2, 4, 8, 16, 32, 64, 64, 64]


def test_a_seat_that_was_set_aside_and_succeeds_after_all_is_trusted_again():
    t = trust({0: 0, 1: 1})
    fail(t, 0, *range(STREAK))
    assert t.succeeded(1, [0])
    t.succeeded(0, [5])
    assert t.serves(0, [0, 1], 0.0)


def test_where_all_are_doubted_those_go_on_whose_node_alone_is_in_doubt():
    t = trust({0: 0, 1: 0})
    fail(t, 0, *range(STREAK))
    assert not t.serves(0, [0, 1], 0.0)
    assert t.serves(1, [0, 1], 0.0)
