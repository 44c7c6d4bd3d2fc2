"""A real Slurm on this machine: its daemons, two nodes by name, all in one folder. Needs root, slurm-wlm and munge."""
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from processes import is_alive, pids_with_variable, wait_until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "mpirun")
NODES = ("n1", "n2")
STARTED_WITHIN = 30  # seconds
ENDED_WITHIN = 20
CALL_WITHIN = 30  # any Slurm command

# cred_expire is also how long a requeued job waits before it may start again; 5 is the least that works.
# TmpFS: each node's PMIx keeps its sockets there, and both nodes are this machine.
CONFIGURATION = """\
ClusterName=spq
SlurmctldHost=localhost
SlurmUser=root
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
TmpFS={folder}/tmp.%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
KillWait=5
MailProg=/bin/true
ReturnToService=2
PartitionName=all Nodes=ALL Default=YES State=UP
"""
NODE = "NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=2 State=UNKNOWN\n"


def missing():
    """Why no cluster can be made here, or None."""
    if os.geteuid() != 0:
        return "not root"
    absent = [program for program in PROGRAMS if shutil.which(program, path=search_path()) is None]
    return f"not installed: {', '.join(absent)} (bash launch/setup.sh --tests)" if absent else None


def search_path():
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class SlurmCluster:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.environment = os.environ | {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": search_path()}
        # A test inside a Slurm job, or after one, must not inherit that job.
        for name in [name for name in self.environment if name.startswith(("SLURM_", "SBATCH_")) and name != "SLURM_CONF"]:
            del self.environment[name]

    def start(self):
        munge = self.folder / "munge"
        for name in ["munge", "state", *(f"{kind}.{node}" for kind in ("spool", "tmp") for node in NODES)]:
            (self.folder / name).mkdir()
        munge.chmod(0o700)
        (munge / "key").write_bytes(os.urandom(128))
        (munge / "key").chmod(0o400)
        port, *node_ports = free_ports(1 + len(NODES))
        text = CONFIGURATION.format(folder=self.folder, port=port)
        text += "".join(NODE.format(name=name, port=node_port) for name, node_port in zip(NODES, node_ports))
        (self.folder / "slurm.conf").write_text(text, encoding="ascii")
        self.call("munged", "-f", f"--key-file={munge}/key", f"--socket={munge}/socket", f"--pid-file={munge}/pid",
                  f"--log-file={munge}/log", f"--seed-file={munge}/seed", "--num-threads=1")
        self.call("slurmctld")
        for node in NODES:
            self.call("slurmd", "-N", node)
        wait_until(lambda: self.call("sinfo", "-h", "-N", "-t", "idle", "-o", "%N", check=False).split() == list(NODES),
                   STARTED_WITHIN, lambda: "nodes idle\n" + self.logs())

    def stop(self):
        """Ends every daemon; jobs that still run are cancelled first."""
        if (self.folder / "slurmctld.pid").exists():
            self.call("scancel", "--full", "--state=RUNNING", "--user=root", check=False)
            self.call("scancel", "--user=root", check=False)
        pids = []
        for name in ("slurmctld.pid", *(f"slurmd.{node}.pid" for node in NODES), "munge/pid"):
            try:
                pids.append(int((self.folder / name).read_text()))
            except (OSError, ValueError):
                continue
        pids += pids_with_variable("SLURM_CONF", self.environment["SLURM_CONF"], command="slurmstepd")
        for signal_number, seconds in ((signal.SIGTERM, ENDED_WITHIN), (signal.SIGKILL, 5)):
            for pid in filter(is_alive, pids):
                os.kill(pid, signal_number)
            deadline = time.monotonic() + seconds
            while any(map(is_alive, pids)) and time.monotonic() < deadline:
                time.sleep(0.05)

    def call(self, *command, check=True, cwd=None, env=None):
        """Standard output of a Slurm command."""
        result = subprocess.run(command, cwd=cwd, env=self.environment | (env or {}), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=CALL_WITHIN, check=False)
        if check and result.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, command))}: status {result.returncode}\n{result.stderr}\n{self.logs()}")
        return result.stdout

    def logs(self):
        parts = []
        for path in sorted(self.folder.glob("*.log")):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
            parts.append(f"--- {path.name}\n" + "\n".join(lines))
        return "\n".join(parts)


class Job:
    """A batch job of a cluster."""

    def __init__(self, cluster, options, script, arguments, log, cwd, env=None):
        self.cluster, self.log_path = cluster, Path(log)
        output = cluster.call("sbatch", "--parsable", f"--output={log}", *options, str(script), *map(str, arguments),
                              cwd=cwd, env=env)
        self.id = output.strip()

    def fields(self):
        """What `scontrol show job` says, by name."""
        text = self.cluster.call("scontrol", "-o", "show", "job", self.id)
        return dict(word.split("=", 1) for word in text.split() if "=" in word)

    def log(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""

    def describe(self):
        lines = self.log().splitlines()  # of thousands of steps the last few
        told = [line for i, line in enumerate(lines) if not line.startswith("step ") or i + 3 > len(lines)]
        return "\n".join([f"job {self.id}: {self.fields()['JobState']}", "--- log", *told, self.cluster.logs()])

    def wait_for_state(self, states, seconds):
        wait_until(lambda: self.fields()["JobState"] in states, seconds, lambda: f"job in {states}\n{self.describe()}")

    def wait_for_log(self, text, seconds):
        wait_until(lambda: text in self.log(), seconds, lambda: f"'{text}' in the log\n{self.describe()}")
