"""Settings are checked by name, and the nearest source wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from qcmb_mpi.config import FIELDS, ExecutorConfig, merge
from qcmb_mpi.errors import InputError


def test_the_defaults_are_those_of_the_guide():
    config = ExecutorConfig()
    assert config.n_workers is None
    assert config.timeout_per_task == 3600.0
    assert config.max_retries == 2
    assert config.checkpoint_interval == 10
    assert config.checkpoint_file is None
    assert config.cache_dir is None
    assert config.log_level == "INFO"
    assert config.executor_type == "auto"
    assert config.heartbeat == 30.0


def test_a_configuration_shows_its_values_and_does_not_change():
    config = ExecutorConfig(n_workers=4)
    assert "n_workers=4" in repr(config)
    with pytest.raises(AttributeError):
        config.n_workers = 5


WRONG = [
    ("n_workers", 0),
    ("n_workers", -2),
    ("n_workers", 1.5),
    ("n_workers", "many"),
    ("n_workers", True),
    ("timeout_per_task", 0),
    ("timeout_factor", 0.5),
    ("timeout_per_task", -1.0),
    ("timeout_per_task", "soon"),
    ("timeout_per_task", float("nan")),
    ("timeout_per_task", float("inf")),
    ("max_retries", -1),
    ("max_retries", None),
    ("checkpoint_interval", 0),
    ("checkpoint_file", 3),
    ("checkpoint_file", ""),
    ("cache_dir", ["x"]),
    ("scratch_dir", 1.0),
    ("log_level", "LOUD"),
    ("log_level", 10),
    ("executor_type", "threads"),
    ("parallel", "maybe"),
    ("parallel", 3),
    ("plugins", ["not a name"]),
    ("plugins", 3),
    ("symmetry", None),
    ("walltime", "1h"),
    ("walltime", "1:2:3:4"),
    ("walltime", "0:00:00"),
    ("walltime", -5),
    ("threads_per_worker", 0),
    ("memory_per_worker", "4 elephants"),
    ("memory_per_worker", 0),
    ("memory_per_worker", "4iB"),
    ("memory_per_worker", "1.2.3GB"),
    ("heartbeat", 0),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_refused_by_name(name, value):
    with pytest.raises(InputError, match="is not allowed; expected") as caught:
        ExecutorConfig(**{name: value})
    assert caught.value.field == name
    assert repr(value) in str(caught.value)


RIGHT = [
    ("n_workers", "4", 4),
    ("n_workers", 2.0, 2),
    ("n_workers", "null", None),
    ("timeout_per_task", 1800, 1800.0),
    ("timeout_per_task", None, None),
    ("max_retries", 0, 0),
    ("checkpoint_file", Path("a") / "b.h5", "a/b.h5"),
    ("cache_dir", "~/cache", str(Path("~/cache").expanduser())),
    ("log_level", "debug", "DEBUG"),
    ("executor_type", "MPI", "mpi"),
    ("parallel", "false", False),
    ("parallel", None, None),
    ("symmetry", "yes", True),
    ("plugins", "mine, theirs.sub", ("mine", "theirs.sub")),
    ("plugins", ["mine"], ("mine",)),
    ("plugins", None, ()),
    ("walltime", "01:30:00", 5400.0),
    ("walltime", "1-00:00:00", 86400.0),
    ("walltime", "0:30", 1800.0),
    ("walltime", 60, 60.0),
    ("walltime", None, None),
    ("memory_per_worker", "4GB", 4 * 10**9),
    ("memory_per_worker", "500 MiB", 500 * 2**20),
    ("memory_per_worker", "1.5g", 15 * 10**8),
    ("memory_per_worker", 1024, 1024),
    ("memory_per_worker", "2048", 2048),
]


@pytest.mark.parametrize(("name", "value", "expected"), RIGHT)
def test_values_may_be_written_as_users_write_them(name, value, expected):
    assert getattr(ExecutorConfig(**{name: value}), name) == expected


def test_the_nearest_source_wins():
    environ = {"QCMB_MPI_N_WORKERS": "1", "QCMB_MPI_MAX_RETRIES": "1", "QCMB_MPI_HEARTBEAT": "5"}
    section = {"n_workers": 2, "max_retries": 3}
    config = merge({"n_workers": 4, "max_retries": None}, section, environ)
    assert (config.n_workers, config.max_retries, config.heartbeat) == (4, 3, 5.0)
    assert config.checkpoint_interval == 10


def test_null_in_the_input_counts_more_than_the_environment():
    assert merge({}, {"n_workers": None}, {"QCMB_MPI_N_WORKERS": "3"}).n_workers is None


def test_an_empty_variable_is_an_unset_one():
    assert merge({}, {}, {"QCMB_MPI_PLUGINS": "", "QCMB_MPI_MAX_RETRIES": " "}) == ExecutorConfig()


def test_every_field_has_a_variable(monkeypatch):
    monkeypatch.setenv("QCMB_MPI_SYMMETRY", "1")
    assert merge({}, {}).symmetry is True
    for name in FIELDS:
        with pytest.raises(InputError, match=f"environment variable QCMB_MPI_{name.upper()}"):
            merge({}, {}, {f"QCMB_MPI_{name.upper()}": "\n;"} if name not in PATHS else bad_path(name))


PATHS = {"checkpoint_file", "cache_dir", "scratch_dir"}


def bad_path(name):
    return {f"QCMB_MPI_{name.upper()}": "\0"}


@pytest.mark.parametrize(
    ("flags", "section", "environ", "field"),
    [
        ({"n_workers": 0}, {}, {}, "--n-workers"),
        ({}, {"n_workers": 0}, {}, "execution.n_workers"),
        ({}, {}, {"QCMB_MPI_N_WORKERS": "0"}, "environment variable QCMB_MPI_N_WORKERS"),
        ({"n_workers": 4}, {"n_workers": 0}, {}, "execution.n_workers"),
    ],
)
def test_an_error_names_its_source(flags, section, environ, field):
    with pytest.raises(InputError) as caught:
        merge(flags, section, environ)
    assert caught.value.field == field


def test_an_unknown_name_is_refused_with_the_nearest_known_one():
    with pytest.raises(InputError, match=r"execution\.n_worker: .*did you mean n_workers\?"):
        merge({}, {"n_worker": 4}, {})
    with pytest.raises(InputError, match="known are n_workers, timeout_per_task"):
        ExecutorConfig.from_mapping({"xyzzy": 1})


def test_a_mapping_makes_a_configuration():
    assert ExecutorConfig.from_mapping({"n_workers": 3}) == ExecutorConfig(n_workers=3)
