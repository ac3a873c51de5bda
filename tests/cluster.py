"""A Slurm cluster of this one machine, with daemons, ports and a configuration of its own.

`with running() as environment:` installs Slurm where it is missing, starts munged, slurmctld and
slurmd, and ends them. What Slurm there is already is left alone.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
}
# Time limits are minutes, and are looked at twice a minute: what is beyond them is killed at once.
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
KillWait=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=128 RealMemory=1000000 Gres=gpu:8 State=UNKNOWN
PartitionName=up Nodes={host} Default=YES State=UP
PartitionName=down Nodes={host} State=DOWN
"""


class UnavailableError(Exception):
    """Slurm cannot be had here, and why."""


@contextlib.contextmanager
def running() -> Iterator[dict[str, str]]:
    """Runs a cluster; yields the environment of its users.

    Raises:
        UnavailableError: Slurm is not here, and cannot be installed, or no user is root.
    """
    if os.geteuid():
        raise UnavailableError("Slurm's daemons are started by root")
    _install()
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    daemons: list[subprocess.Popen] = []
    environment = os.environ | {
        "SLURM_CONF": str(folder / "slurm.conf"),
        "PATH": f"{folder}/bin{os.pathsep}{os.environ['PATH']}",
    }
    try:
        _configure(folder)
        key = folder / "munge.key"
        munged = ["munged", "--foreground", "--force", "--key-file", str(key)]
        munged += [
            "--socket",
            str(folder / "munge.socket"),
            "--pid-file",
            str(folder / "munge.pid"),
        ]
        munged += ["--seed-file", str(folder / "munge.seed")]
        munged += ["--log-file", str(folder / "munged.log")]
        for command in (munged, ["slurmctld", "-D"], ["slurmd", "-D"]):
            with open(folder / f"{command[0]}.out", "w") as out:
                daemons.append(subprocess.Popen(command, env=environment, stdout=out, stderr=out))
            _wait(daemons[-1], folder, command[0], environment)
        yield environment
    finally:
        if len(daemons) == 3:
            _cancel(environment)
        for daemon in reversed(daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _cancel(environment: dict[str, str]) -> None:
    """Ends what is still there of jobs."""
    ask = {"env": environment, "capture_output": True, "text": True, "check": False}
    subprocess.run(["scancel", "--user", "root"], **ask)
    for _ in range(100):
        if not subprocess.run(["squeue", "--noheader"], **ask).stdout.strip():
            return
        time.sleep(0.1)


def _install() -> None:
    missing = sorted({package for name, package in PROGRAMS.items() if not shutil.which(name)})
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise UnavailableError(f"{', '.join(missing)}: not installed, and there is no apt-get")
    # Packages start no daemons of their own.
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        quiet = {"capture_output": True, "text": True, "check": False}
        subprocess.run(["apt-get", "update", "-qq"], **quiet)
        line = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        done = subprocess.run(line, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, **quiet)
    finally:
        if ours:
            policy.unlink()
    if done.returncode:
        raise UnavailableError(f"{' '.join(line)}: {done.stderr.strip().splitlines()[-1:]}")


def _configure(folder: Path) -> None:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    # Snakemake's jobs start srun without the variable that names the configuration.
    srun = folder / "bin" / "srun"
    srun.parent.mkdir()
    real = shutil.which("srun")
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {real} "$@"\n')
    srun.chmod(0o755)
    # Munge refuses a socket where others may write, and users reach it through this folder.
    folder.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    host = socket.gethostname().split(".")[0]
    with contextlib.ExitStack() as sockets:
        free = [sockets.enter_context(socket.socket()) for _ in range(2)]
        for one in free:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in free]
    text = CONFIGURATION.format(host=host, folder=folder, ports=ports)
    (folder / "slurm.conf").write_text(text)
    # Eight GPUs that are files: Slurm 22.05 takes no GPUs by number alone.
    for number in range(8):
        (folder / f"gpu{number}").touch()
    (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-7]\n")


def _wait(daemon: subprocess.Popen, folder: Path, name: str, environment: dict[str, str]) -> None:
    """Waits until a daemon answers."""
    asks = {"munged": "munge.socket", "slurmctld": ["scontrol", "ping"], "slurmd": ["sinfo", "-h"]}
    for _ in range(200):
        if daemon.poll() is not None:
            break
        ask = asks[name]
        if isinstance(ask, str):
            if (folder / ask).exists():
                return
        else:
            said = subprocess.run(
                ask, env=environment, capture_output=True, text=True, check=False
            ).stdout
            if "is UP" in said or " idle " in said:
                return
        time.sleep(0.1)
    logs = "\n".join(
        path.read_text() for path in sorted(folder.glob(f"{name}.*")) if path.is_file()
    )
    raise AssertionError(f"{name} does not answer:\n{logs}")
