"""A Slurm cluster of this one machine, with daemons, ports and a configuration of its own.

`with running() as cluster:` installs Slurm where it is missing, starts munged, slurmctld and
slurmd, and ends them. What Slurm there is already is left alone.
"""

import contextlib
import os
import shutil
import signal
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
# Of accounts a database would tell, which is not here, or as here a plug-in, as many sites have.
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
JobSubmitPlugins=lua
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=128 RealMemory=1000000 Gres=gpu:8 State=UNKNOWN
PartitionName=up Nodes={host} Default=YES State=UP
PartitionName=down Nodes={host} State=DOWN
"""
ACCOUNTS = """\
function slurm_job_submit(job, partitions, user)
  if job.account ~= nil and job.account ~= "physics" then
    return slurm.ESLURM_INVALID_ACCOUNT
  end
  return slurm.SUCCESS
end

function slurm_job_modify(job, record, partitions, user)
  return slurm.SUCCESS
end
"""


class UnavailableError(Exception):
    """Slurm cannot be had here, and why."""


class Cluster:
    """A cluster, and its one node, which may vanish.

    Attributes:
        environment: Of its users.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder}/bin{os.pathsep}{os.environ['PATH']}",
        }
        self._daemons: dict[str, subprocess.Popen] = {}

    def start(self, name: str, *arguments: str) -> None:
        with open(self.folder / f"{name}.out", "a") as out:
            self._daemons[name] = subprocess.Popen(
                [name, *arguments], env=self.environment, stdout=out, stderr=out
            )
        _wait(self._daemons[name], self.folder, name, self.environment)

    def vanish(self) -> None:
        """Kills the node: its daemon, and all that its jobs run.

        That Slurm would notice after SlurmdTimeout, five minutes.
        """
        self._daemons["slurmd"].kill()
        self._daemons["slurmd"].wait()
        # Those that would tell how a job ended go first.
        for process in sorted(self._of_jobs(), key=_is_slurms, reverse=True):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        line = ["scontrol", "update", f"NodeName={_host()}", "State=DOWN", "Reason=vanished"]
        subprocess.run(line, env=self.environment, check=True)

    def come_back(self) -> None:
        self.start("slurmd", "-D")

    def stop(self) -> None:
        if len(self._daemons) == 3:
            _cancel(self.environment)
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()

    def _of_jobs(self) -> list[int]:
        """Returns the processes of jobs, and those of Slurm that look after them."""
        found, ours = [], str(self.folder).encode()
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environment, process = (place / "environ").read_bytes(), int(place.name)
                of_job = _is_slurms(process) or b"\0SLURM_JOB_ID=" in environment
                if ours in environment and of_job:
                    found.append(process)
        return found


def _is_slurms(process: int) -> bool:
    """Whether a process is one of Slurm's that look after jobs."""
    try:
        return Path(f"/proc/{process}/comm").read_text().startswith("slurmstepd")
    except OSError:
        return False


@contextlib.contextmanager
def running() -> Iterator[Cluster]:
    """Runs a cluster.

    Raises:
        UnavailableError: Slurm is not here, and cannot be installed, or no user is root.
    """
    if os.geteuid():
        raise UnavailableError("Slurm's daemons are started by root")
    _install()
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    cluster = Cluster(folder)
    try:
        _configure(folder)
        key = folder / "munge.key"
        munge = ["--foreground", "--force", "--key-file", str(key)]
        munge += ["--socket", str(folder / "munge.socket")]
        munge += ["--pid-file", str(folder / "munge.pid")]
        munge += ["--seed-file", str(folder / "munge.seed")]
        munge += ["--log-file", str(folder / "munged.log")]
        cluster.start("munged", *munge)
        cluster.start("slurmctld", "-D")
        cluster.start("slurmd", "-D")
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _host() -> str:
    return socket.gethostname().split(".")[0]


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
    with contextlib.ExitStack() as sockets:
        free = [sockets.enter_context(socket.socket()) for _ in range(2)]
        for one in free:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in free]
    text = CONFIGURATION.format(host=_host(), folder=folder, ports=ports)
    (folder / "slurm.conf").write_text(text)
    (folder / "job_submit.lua").write_text(ACCOUNTS)
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
            if "is UP" in said or " idle " in said or " mix " in said:
                return
        time.sleep(0.1)
    logs = "\n".join(
        path.read_text() for path in sorted(folder.glob(f"{name}.*")) if path.is_file()
    )
    raise AssertionError(f"{name} does not answer:\n{logs}")
