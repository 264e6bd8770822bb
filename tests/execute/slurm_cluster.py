"""A SLURM cluster of this machine alone: a controller, nodes of one core each, no accounting, on ports of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "setpriv")
NODES = 4
CONFIG = """
ClusterName=mtlbench
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
KillWait=5
MaxArraySize=3
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=120 State=UP
"""


def missing() -> str:
    """Return why there can be no cluster here; empty when there can."""
    lacks = [program for program in PROGRAMS if shutil.which(program) is None]
    if lacks:
        return f"a SLURM cluster needs {', '.join(lacks)}: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "a SLURM cluster of one's own needs root"


class Cluster:
    """The cluster's daemons, and what an operator does to it.

    :param folder: for all its files; its path is short, as it holds a socket.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ports = _free_ports(NODES + 1)
        self._names = [f"n{number}" for number in range(NODES)]
        host = socket.gethostname().partition(".")[0]
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1"
            for name, port in zip(self._names, ports[1:], strict=True)
        )
        (folder / "state").mkdir()
        (folder / "slurm.conf").write_text(CONFIG.format(host=host, folder=folder, port=ports[0], nodes=nodes))
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o400)
        self.config = str(folder / "slurm.conf")
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        at = self.folder
        files = [f"--{name}={at}/munge.{name.partition('-')[0]}" for name in ("socket", "key-file", "pid-file")]
        files += [f"--{name}={at}/munge.{name}" for name in ("log-file", "seed-file")]
        self._start("munged", "munged", "--force", "--foreground", *files)
        wait_for((at / "munge.socket").exists)
        self._start("slurmctld", "slurmctld", "-D")
        for name in self._names:
            self._start(name, "slurmd", "-D", "-N", name)
        wait_for(lambda: self.ask("sinfo", "-hN", "-o", "%t").split() == ["idle"] * NODES)

    def stop(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self.ask("scancel", "--state=PENDING", "--user=root")
            self.ask("scancel", "--signal=KILL", "--full", "--user=root")
            with contextlib.suppress(TimeoutError):
                wait_for(lambda: not self.queue(), 20.0)
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
        for daemon in self._daemons.values():
            try:
                daemon.wait(10.0)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for process in self._left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _left(self) -> Iterator[int]:
        """Give the processes of jobs: their keepers have the daemons' folder, they themselves the environment."""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                ours = f"SLURM_CONF={self.config}".encode() in (process / "environ").read_bytes().split(b"\0")
                if (ours or (process / "cwd").readlink() == self.folder) and int(process.name) != os.getpid():
                    yield int(process.name)

    def restart_controller(self) -> None:
        self._daemons["slurmctld"].send_signal(signal.SIGTERM)
        self._daemons["slurmctld"].wait(20.0)
        self._start("slurmctld", "slurmctld", "-D")

    def lose(self, node: str) -> None:
        """Set a node down, which ends what runs there, and up again."""
        self.ask("scontrol", "update", f"node={node}", "state=down", "reason=test")

        def up() -> bool:
            with contextlib.suppress(subprocess.CalledProcessError):  # it came back by itself
                self.ask("scontrol", "update", f"node={node}", "state=resume")
            return "down" not in self.ask("sinfo", "-hN", "-n", node, "-o", "%t")

        wait_for(up)

    def queue(self) -> list[list[str]]:
        """Return number, state, node and reason of each job that has not ended."""
        return [row.split("|") for row in self.ask("squeue", "-ahr", "-o", "%i|%T|%N|%r").splitlines()]

    def ask(self, *command: str) -> str:
        return subprocess.run(
            command, env={**os.environ, "SLURM_CONF": self.config}, capture_output=True, text=True, check=True
        ).stdout

    def _start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as out:
            # its end is the end of this process, however that comes
            self._daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command],
                cwd=self.folder,
                env={**os.environ, "SLURM_CONF": self.config},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something is so.

    :raises TimeoutError: when it does not come.
    """
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(subprocess.CalledProcessError):
            if condition():
                return
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(0.2)


def _free_ports(count: int) -> Sequence[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
