"""Which launcher it was, on environments as the launchers leave them."""

from __future__ import annotations

import pytest

from qcmb_mpi.errors import ExitCode, LauncherError
from qcmb_mpi.farm.launcher import Launch, check_world, clean_environment, detect

SHELL = {"PATH": "/usr/bin", "HOME": "/home/u", "LD_LIBRARY_PATH": "/my/lib", "OMP_NUM_THREADS": "2"}
HYDRA = {
    "GFORTRAN_UNBUFFERED_PRECONNECTED": "y",
    "HYDI_CONTROL_FD": "7",
    "MPI_LOCALNRANKS": "2",
    "MPI_LOCALRANKID": "1",
    "PMI_FD": "9",
    "PMI_HOSTNAME": "n1",
    "PMI_RANK": "1",
    "PMI_SIZE": "4",
}
OPENMPI = {
    "OMPI_ARGV": "",
    "OMPI_COMMAND": "env",
    "OMPI_COMM_WORLD_LOCAL_RANK": "0",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_FILE_LOCATION": "/tmp/ompi.1/1/0",
    "OMPI_LIBDIR_LOC": "/ompi/lib",
    "OMPI_MCA_PREFIXES": "mca,opal",
    "OMPI_MCA_cpu_type": "x86_64",
    "OMPI_MCA_initial_wdir": "/tmp",
    "OMPI_MCA_num_procs": "4",
    "OMPI_UNIVERSE_SIZE": "4",
    "OPAL_PREFIX": "/ompi",
    "OPAL_USER_PARAMS_GIVEN": "1",
    "PMIX_NAMESPACE": "prterun@1",
    "PMIX_RANK": "3",
    "PMIX_SERVER_URI4": "prterun@0.0;tcp4://127.0.0.1:1",
    "PRTE_LAUNCHED": "1",
}
BATCH = {
    "SLURM_JOB_ID": "1",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_CPUS_ON_NODE": "4",
}
STEP = {
    **BATCH,
    "SLURM_STEP_ID": "0",
    "SLURM_STEPID": "0",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_SRUN_COMM_PORT": "1234",
}
OPENMPI_LIBRARY = "Open MPI v5.0.11, package: Open MPI"
MPICH_LIBRARY = "MPICH Version:      5.0.2"


@pytest.mark.parametrize(
    ("environ", "launch"),
    [
        (SHELL, Launch()),
        (HYDRA, Launch("mpich", 4, 1)),
        ({"PMI_RANK": "0", "PMI_SIZE": "1"}, Launch("mpich", 1, 0)),
        ({"PMI_ID": "1", "MPI_LOCALNRANKS": "2"}, Launch("mpich", 2, 1)),
        (OPENMPI, Launch("openmpi", 4, 3)),
        ({"PMIX_RANK": "0", "PMIX_NAMESPACE": "x"}, Launch("pmix", None, 0)),
        ({"MV2_COMM_WORLD_SIZE": "2", "MV2_COMM_WORLD_RANK": "0"}, Launch("mvapich", 2, 0)),
        ({"FLUX_JOB_SIZE": "2", "FLUX_TASK_RANK": "1"}, Launch("flux", 2, 1)),
        (BATCH, Launch()),
        (STEP, Launch("slurm", 4, 2)),
        ({**STEP, "PMI_RANK": "2", "PMI_SIZE": "4", "PMI_FD": "9"}, Launch("slurm", 4, 2)),
        ({**STEP, "PMIX_RANK": "2", "PMIX_NAMESPACE": "slurm.pmix.1.0"}, Launch("slurm", 4, 2)),
        ({**STEP, "SLURM_STEP_NUM_TASKS": "1"}, Launch()),
        ({**STEP, "SLURM_STEP_NUM_TASKS": "1", "PMIX_RANK": "0"}, Launch()),
        ({**STEP, "SLURM_STEP_NUM_TASKS": "2", **HYDRA}, Launch("mpich", 4, 1)),
        ({**STEP, "SLURM_STEP_NUM_TASKS": "2", **OPENMPI}, Launch("openmpi", 4, 3)),
        ({"PMI_RANK": "nonsense"}, Launch()),
    ],
    ids=[
        "shell",
        "mpich",
        "mpich alone",
        "mpich by port",
        "openmpi",
        "prterun",
        "mpirun_rsh",
        "flux",
        "batch shell",
        "srun without PMI",
        "srun with PMI-2",
        "srun with PMIx",
        "srun of one task",
        "srun of one task with PMIx",
        "mpich through srun",
        "openmpi through srun",
        "nonsense",
    ],
)
def test_detect(environ: dict[str, str], launch: Launch) -> None:
    assert detect(environ) == launch
    assert detect(environ).found == (launch.name is not None)


@pytest.mark.parametrize(
    ("launch", "size"),
    [
        (Launch(), 1),
        (Launch("mpich", 1, 0), 1),
        (Launch("mpich", 4, 0), 4),
        (Launch("pmix", None, 0), 1),
        (Launch("slurm", 4, 0), 4),
    ],
)
def test_worlds_that_are_whole(launch: Launch, size: int) -> None:
    check_world(launch, size, OPENMPI_LIBRARY)


@pytest.mark.parametrize(
    ("launch", "library", "words"),
    [
        (
            Launch("slurm", 4, 0),
            OPENMPI_LIBRARY,
            ["srun", "4 processes", "srun --mpi=pmix", "Open MPI v5.0.11"],
        ),
        (Launch("slurm", 4, 0), MPICH_LIBRARY, ["srun --mpi=pmi2", "mpiexec"]),
        (Launch("slurm", 4, 0), "Foo", ["srun --mpi=pmix or srun --mpi=pmi2"]),
        (Launch("slurm", 4, 0), None, ["srun", "pip install"]),
        (Launch("mpich", 2, 0), OPENMPI_LIBRARY, ["mpiexec of MPICH", "Open MPI's mpirun"]),
        (Launch("openmpi", 2, 0), "Intel(R) MPI Library", ["Open MPI's mpirun", "MPICH or a descendant"]),
        (Launch("openmpi", 2, 0), OPENMPI_LIBRARY, ["the installation that this library comes from"]),
    ],
)
def test_worlds_in_pieces(launch: Launch, library: str | None, words: list[str]) -> None:
    with pytest.raises(LauncherError) as caught:
        check_world(launch, 1, library)
    assert caught.value.exit_code == ExitCode.WRONG_INPUT
    for word in words:
        assert word in str(caught.value)


def test_one_of_the_pieces_says_it_for_all() -> None:
    with pytest.raises(LauncherError) as caught:
        check_world(Launch("slurm", 4, 3), 1, OPENMPI_LIBRARY)
    assert str(caught.value) == ""


@pytest.mark.parametrize("launcher", [HYDRA, OPENMPI], ids=["mpich", "openmpi"])
def test_clean_environment_is_the_shell_s(launcher: dict[str, str]) -> None:
    assert clean_environment({**SHELL, **launcher}) == SHELL
    assert detect(clean_environment({**SHELL, **launcher})) == Launch()


def test_clean_environment_under_srun() -> None:
    clean = clean_environment({**SHELL, **STEP, "PMI_RANK": "2", "PMI_SIZE": "4"})
    assert detect(clean) == Launch()
    assert clean["SLURM_JOB_ID"] == "1"
    assert clean["SLURM_CPUS_ON_NODE"] == "4"


def test_users_settings_survive() -> None:
    settings = {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_btl": "self,vader",
        "OMPI_MCA_hwloc_base_binding_policy": "none",
        "PRTE_MCA_hwloc_default_binding_policy": "none",
        "HYDRA_IFACE": "ib0",
        "I_MPI_PIN": "off",
        "UCX_TLS": "all",
    }
    assert clean_environment({**OPENMPI, **settings}) == settings


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("/ompi/lib", None),
        ("/ompi/lib:/ompi/lib:/a:/ompi/lib", "/a:/ompi/lib"),
        ("/a:/b", "/a:/b"),
    ],
)
def test_library_path_of_a_relocated_open_mpi(before: str, after: str | None) -> None:
    clean = clean_environment({**OPENMPI, "LD_LIBRARY_PATH": before})
    assert clean.get("LD_LIBRARY_PATH") == after
    without = {key: value for key, value in OPENMPI.items() if key != "OMPI_LIBDIR_LOC"}
    assert clean_environment({**without, "LD_LIBRARY_PATH": before})["LD_LIBRARY_PATH"] == before
