"""Two hosts on one machine: network namespaces joined by a cable, each with a host name of its own. Needs root and iproute2."""
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from processes import is_alive, pids_with_variable, wait_until

ADDRESSES = ("10.77.0.1", "10.77.0.2")
NETWORK = "10.77.0.0/24"
DEVICE = "cable"  # its name in both namespaces
CALL_WITHIN = 10  # seconds
MARKER = "SPQ_TWO_HOSTS"  # environment variable of everything that runs on a pair of hosts


def call(*command):
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=CALL_WITHIN).stdout


class TwoHosts:
    """`names` are host names and names of the namespaces."""

    def __init__(self, folder):
        self.names = tuple(f"spq-{os.getpid()}-{letter}" for letter in "ab")
        self.folder = Path(folder)
        self.marker = str(os.getpid())

    def start(self):
        for name in self.names:
            call("ip", "netns", "add", name)
        call("ip", "link", "add", DEVICE, "netns", self.names[0], "type", "veth", "peer", "name", DEVICE,
             "netns", self.names[1])
        for name, address in zip(self.names, ADDRESSES):
            call("ip", "-n", name, "address", "add", f"{address}/24", "dev", DEVICE)
            call("ip", "-n", name, "link", "set", "lo", "up")
            self.set_link(name, "up")
        # mpirun's way to the other host: what ssh is elsewhere. Its arguments: address, command.
        cases = "".join(f"{address}) host={name} ;;\n" for name, address in zip(self.names, ADDRESSES))
        agent = self.folder / "agent.sh"
        agent.write_text(f'#!/bin/sh\ncase $1 in\n{cases}esac\nshift\n'
                         'exec ip netns exec "$host" unshare --uts sh -c "hostname $host; $*"\n', encoding="utf-8")
        agent.chmod(0o755)

    def stop(self):
        """Ends what still runs on the hosts and takes them away."""
        self.kill()
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL, timeout=CALL_WITHIN, check=False)

    def kill(self):
        pids = self.pids()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, pids)), CALL_WITHIN, "processes killed")

    def pids(self):
        return pids_with_variable(MARKER, self.marker)

    def set_link(self, name, state):
        call("ip", "-n", name, "link", "set", DEVICE, state)

    def bytes_received(self, name):
        return int(call("ip", "netns", "exec", name, "cat", f"/sys/class/net/{DEVICE}/statistics/rx_bytes"))

    def run(self, command, settings=None, ranks_per_host=1):
        """Starts a command on both hosts; rank r writes its errors to folder/err.r, mpirun to folder/err. The process is mpirun.
        `settings`: parameters of Open MPI."""
        parameters = {"plm": "rsh", "plm_rsh_agent": self.folder / "agent.sh", "btl": "tcp,vader,self",
                      "btl_tcp_if_include": NETWORK, "oob_tcp_if_include": NETWORK} | (settings or {})
        options = [str(word) for name, value in parameters.items() for word in ("--mca", name, value)]
        hosts = ",".join(f"{address}:{ranks_per_host}" for address in ADDRESSES)
        script = f'exec "$@" 2>{shlex.quote(str(self.folder))}/err.$OMPI_COMM_WORLD_RANK'
        mpirun = ["mpirun", *options, "-x", MARKER, "--host", hosts, "-np", str(2 * ranks_per_host), "--bind-to", "none",
                  "sh", "-c", script, "sh", *map(str, command)]
        first = self.names[0]
        with open(self.folder / "out", "w", encoding="utf-8") as out, open(self.folder / "err", "w", encoding="utf-8") as err:
            return subprocess.Popen(["ip", "netns", "exec", first, "unshare", "--uts", "sh", "-c",
                                     f'hostname {first}; exec "$@"', "sh", *mpirun],
                                    env=os.environ | {MARKER: self.marker}, stdin=subprocess.DEVNULL, stdout=out, stderr=err)

    def text(self, name):
        path = self.folder / name
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def describe(self):
        out = self.text("out").splitlines()[-5:]
        return "\n".join([*out, *(f"--- {name}\n{self.text(name)}" for name in ("err", "err.0", "err.1"))])


def missing():
    """Why no two hosts can be made here, or None."""
    if os.geteuid() != 0:
        return "not root"
    absent = [program for program in ("ip", "unshare", "mpirun") if shutil.which(program) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    with tempfile.TemporaryDirectory() as folder:
        hosts = TwoHosts(folder)
        try:
            hosts.start()
            return None
        except subprocess.CalledProcessError as error:
            return f"{' '.join(error.cmd)}: {error.stderr.strip()}"
        finally:
            hosts.stop()
