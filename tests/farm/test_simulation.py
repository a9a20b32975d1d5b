"""The schedule on a virtual machine with seeded faults: nothing lost or twice, always an end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from invariants import Case, cases, play
from planted import BUGS, Bug, hunt
from test_schedule import schedule

from qcmb_mpi.farm.policy import Policy
from qcmb_mpi.farm.simulate import Faults, Simulation


@settings(max_examples=60, deadline=None)
@given(cases)
def test_whatever_goes_wrong_nothing_is_lost_or_counted_twice_and_every_run_ends(case: Case) -> None:
    play(case)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug) -> None:
    assert hunt(bug, most_examples=300) is not None


def test_the_same_seed_gives_the_same_history() -> None:
    def history() -> tuple[float, int]:
        seconds = np.linspace(0.1, 2.0, 200)
        simulation = Simulation(schedule(200), 4, seconds, faults=Faults(crash=0.1, lost=0.01), seed=7)
        simulation.run()
        return simulation.now, simulation.events

    assert history() == history()


def test_faults_that_only_silence_tells_of_need_a_silence() -> None:
    with pytest.raises(ValueError, match="silence"):
        Simulation(schedule(1), 1, np.ones(1), faults=Faults(cut=0.1))


def test_what_a_cut_line_swallows_is_computed_again() -> None:
    s = schedule(20, Policy(silence=5.0))
    simulation = Simulation(s, 2, np.ones(20), faults=Faults(cut=0.2), seed=1)
    simulation.run()
    assert s.n_done == 20
    assert simulation.busy > simulation.useful + 0.5


def test_a_seat_that_computes_for_long_is_believed_as_long_as_its_heart_beats() -> None:
    simulation = Simulation(schedule(2, Policy(silence=5.0)), 2, np.full(2, 1000.0))
    simulation.run()
    assert simulation.busy == simulation.useful == 2000.0
