"""Runs the real programs, alone or under mpirun. The environment (set by ctest) says where they are."""
import os
import signal
import subprocess
import tempfile
import time
import unittest
from dataclasses import dataclass
from pathlib import Path

from spq_fixture import Workspace

TIMEOUT = 60  # seconds for one run; a run takes one or two
STOPPED = 75  # exit status of a run that a signal stopped after saving


def command(arguments, ranks, program="spq-train", prefix=()):
    """ranks None: without MPI. SPQ_TRAIN holds the place of spq-train, and so on. `prefix` starts the program."""
    alone = [*prefix, os.environ[program.upper().replace("-", "_")], *map(str, arguments)]
    if ranks is None:
        return alone
    return [os.environ["SPQ_MPIEXEC"], "-np", str(ranks), "--oversubscribe", "--bind-to", "none", *alone]


@dataclass
class Result:
    status: int
    out: str
    err: str

    def describe(self):
        return f"exit status {self.status}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Run:
    """A run in progress. Output goes to files, so that a full pipe never blocks it."""

    def __init__(self, arguments, ranks=None, cwd=None, program="spq-train", prefix=(), umask=-1):
        self.ranks = ranks
        self.out, self.err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self.process = subprocess.Popen(command(arguments, ranks, program, prefix), stdin=subprocess.DEVNULL,
                                        stdout=self.out, stderr=self.err, cwd=cwd, umask=umask)

    def wait(self):
        timed_out = False
        try:
            self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            timed_out = True
            self.kill()
        texts = []
        for file in (self.out, self.err):
            file.seek(0)
            texts.append(file.read().decode())
            file.close()
        result = Result(self.process.returncode, *texts)
        if timed_out:
            raise AssertionError(f"still running after {TIMEOUT} s\n{result.describe()}")
        return result

    def kill(self):
        """Kills the ranks and mpirun, without giving them time."""
        for pid in self.rank_pids() if self.process.poll() is None else []:
            os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def rank_pids(self):
        """Processes of the ranks, in the order they were started: mpirun's children, or the process itself."""
        if self.ranks is None:
            return [self.process.pid]
        pids = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:  # ended meanwhile
                continue
            if int(fields[1]) == self.process.pid:
                pids.append(int(entry.name))
        return sorted(pids)

    def wait_for_steps(self, output, steps):
        """Returns as soon as the run has reported so many steps."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            try:
                if (output / "metrics.jsonl").read_bytes().count(b"\n") >= steps:
                    break
            except OSError:
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.002)
        if self.process.poll() is not None:
            raise AssertionError(f"ended before it could be interrupted\n{self.wait().describe()}")


class SpqTest(unittest.TestCase):
    """A test with a workspace of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="spq-e2e-")
        self.addCleanup(folder.cleanup)
        self.workspace = Workspace(folder.name)

    def start(self, arguments, ranks=None, cwd=None, program="spq-train", prefix=(), umask=-1):
        run = Run(arguments, ranks, cwd, program, prefix, umask)
        self.addCleanup(lambda: run.process.poll() is None and run.kill())
        return run

    def run_program(self, *arguments, ranks=None, cwd=None, program="spq-train", prefix=(), umask=-1):
        return self.start(arguments, ranks, cwd, program, prefix, umask).wait()

    def expect_success(self, *arguments, ranks=None, cwd=None, program="spq-train", prefix=(), umask=-1):
        result = self.run_program(*arguments, ranks=ranks, cwd=cwd, program=program, prefix=prefix, umask=umask)
        self.assertEqual(result.status, 0, result.describe())
        self.assertNotIn(program, result.err, result.describe())
        if ranks is None:  # MPI may have something of its own to say
            self.assertEqual(result.err, "", result.describe())
        return result

    def expect_error(self, *arguments, ranks, names, program="spq-train", prefix=()):
        """Ends in good time with one error line over all ranks, which holds all of `names`."""
        result = self.run_program(*arguments, ranks=ranks, program=program, prefix=prefix)
        self.assertGreater(result.status, 0, result.describe())  # below 0: ended by a signal
        self.assertLess(result.status, 128, result.describe())
        lines = [line for line in result.err.splitlines() if line.startswith(f"{program}: error")]
        self.assertEqual(len(lines), 1, result.describe())
        for name in names:
            self.assertIn(str(name), lines[0], result.describe())
        if ranks is None:
            self.assertEqual(result.err.splitlines(), lines, "more than one line on stderr")
        for trace in ("terminate called", "Traceback", "Exception raised from", "frame #", "Signal:", "what():"):
            self.assertNotIn(trace, result.out + result.err)
        return result
