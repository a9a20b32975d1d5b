"""A real Slurm in a folder: munge, controller and two nodes on this machine, started from nothing.

Keys, configuration, spools and logs are all in that folder, ports are free ones, and nothing of the
machine's own configuration is read or changed.  Needs Debian's ``slurm-wlm`` and ``munge``, or the like.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from qcmb_mpi.farm.launcher import clean_environment

__all__ = ["NODES", "VirtualSlurm", "missing"]

NODES = ("n1", "n2")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
PATIENCE = 60.0  # s in which daemons must be up

#: ``cred_expire`` is also the time for which a requeued job waits before it starts again (2 min by default).
CONFIGURATION = """\
ClusterName=virtual
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdSpoolDir={folder}/spool-%n
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=2
SlurmdParameters=config_overrides
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
KillWait=5
MessageTimeout=30
{nodes}
PartitionName=main Nodes=ALL Default=YES State=UP
"""
NODE = "NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs={cpus} State=UNKNOWN"


def missing() -> list[str]:
    """Programs that are needed and not there."""
    return [name for name in PROGRAMS if _program(name) is None]


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


class VirtualSlurm:
    """Two nodes in a folder, up while this is entered.

    Parameters
    ----------
    folder
        Empty, and with a short path: a socket's must not exceed 107 characters.
    cpus
        Of each node.
    """

    def __init__(self, folder: Path, cpus: int = 1):
        self.folder = folder
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._cpus = cpus
        clean = clean_environment(os.environ)
        self.environ = {name: value for name, value in clean.items() if not name.startswith("SLURM_")}
        self.environ["SLURM_CONF"] = str(folder / "slurm.conf")

    def __enter__(self) -> VirtualSlurm:
        try:
            self._configure()
            key, sock = self.folder / "munge.key", self.folder / "munge.socket"
            self._start(
                "munged",
                *("--foreground", "--force", f"--key-file={key}", f"--socket={sock}"),
                *(f"--{what}-file={self.folder / 'munge'}.{what}" for what in ("pid", "log", "seed")),
            )
            self._until(sock.is_socket, "munged answers")
            self._start("slurmctld", "-D", "-i")
            for name in NODES:
                self._start("slurmd", "-D", "-N", name)
            self._until(lambda: self._states() == ["idle"] * len(NODES), "both nodes are idle")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def ask(self, *command: str, cwd: Path | None = None, **variables: str) -> str:
        """What a command of Slurm's prints; it must succeed."""
        done = subprocess.run(
            command,
            cwd=cwd or self.folder,
            env={**self.environ, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def job(self, number: str) -> dict[str, str]:
        """What Slurm knows of a job; it forgets finished ones after five minutes."""
        text = self.ask("scontrol", "show", "job", "--oneliner", number)
        return dict(word.split("=", 1) for word in text.split() if "=" in word)

    def logs(self) -> str:
        """The ends of what the daemons have said."""
        texts = [(path.name, path.read_text(errors="replace")) for path in sorted(self.folder.glob("*.log"))]
        return "\n".join(f"--- {name} ---\n{text[-3000:]}" for name, text in texts)

    def _configure(self) -> None:
        ports = _free_ports(1 + len(NODES))
        nodes = [
            NODE.format(name=name, port=port, cpus=self._cpus)
            for name, port in zip(NODES, ports[1:], strict=True)
        ]
        text = CONFIGURATION.format(
            host=socket.gethostname().split(".")[0],
            ports=ports,
            user=getpass.getuser(),
            folder=self.folder,
            nodes="\n".join(nodes),
        )
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "state").mkdir()
        for name in NODES:
            (self.folder / f"spool-{name}").mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)

    def _start(self, name: str, *arguments: str) -> None:
        program = _program(name)
        assert program is not None
        with open(self.folder / f"{name}-{len(self._daemons)}.log", "wb") as log:
            self._daemons.append(
                subprocess.Popen(
                    [program, *arguments],
                    cwd=self.folder,
                    env=self.environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def _states(self) -> list[str]:
        answer = subprocess.run(
            ["sinfo", "-h", "-N", "-o", "%t"],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return answer.stdout.split()

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            dead = [daemon.args for daemon in self._daemons if daemon.poll() is not None]
            assert not dead, f"ended at once: {dead}\n{self.logs()}"
            assert time.monotonic() < end, f"not within {PATIENCE:.0f} s: {what}\n{self.logs()}"
            time.sleep(0.1)

    def _stop(self) -> None:
        """End jobs, then daemons, then whatever is still there."""
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self.ask("scancel", "--user", getpass.getuser())
            end = time.monotonic() + PATIENCE
            while self.ask("squeue", "-h") and time.monotonic() < end:
                time.sleep(0.2)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(10)
        for pid in _processes_with(f"SLURM_CONF={self.folder / 'slurm.conf'}"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for daemon in self._daemons:
            daemon.wait()


def _processes_with(variable: str) -> list[int]:
    """Numbers of the processes that have this in their environment."""
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit() and variable.encode() in Path("/proc", entry, "environ").read_bytes().split(
                b"\0"
            ):
                found.append(int(entry))
    return found


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
