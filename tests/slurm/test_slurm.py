"""The batch scripts of launch/slurm under a real Slurm: stopped, requeued, resumed; and what they refuse."""
import os
import re
import signal
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "end_to_end"))

from processes import count_lines, rank_pids, wait_until  # noqa: E402
from slurm_cluster import Job, SlurmCluster, missing  # noqa: E402
from spq_fixture import read_metrics, read_rotations  # noqa: E402
from spq_program import SpqTest  # noqa: E402

SOURCE = os.environ["SPQ_SOURCE_DIR"]
SKIPPED = 77
ENDLESS = 1_000_000  # steps
SOON = 30  # seconds: a job starts, makes some steps, is requeued or ends
SIGNAL_TICK = 75  # Slurm looks at time limits every 30 s


class SlurmTest(SpqTest):
    """Each job learns without end; once it is stopped, the end is written into its configuration. The learning rate is
    constant: only then may the number of steps change."""

    changes = {"optimizer.steps": ENDLESS, "optimizer.schedule": "constant", "checkpoint.every": 0}

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="spq-slurm-")
        cls.addClassCleanup(folder.cleanup)
        cls.cluster = SlurmCluster(folder.name)
        cls.addClassCleanup(cls.cluster.stop)
        cls.cluster.start()

    def setUp(self):
        super().setUp()
        self.config = self.workspace.config("run", self.changes)
        self.output = self.workspace.output("run")

    def submit(self, variant, options=(), arguments=None, env=None):
        ranks = 1 if variant.startswith("nodes") else 2  # of each node
        job = Job(self.cluster, [f"--ntasks-per-node={ranks}", "--cpus-per-task=1", *options],
                  f"launch/slurm/{variant}.sbatch", [self.config] if arguments is None else arguments,
                  self.workspace.folder / "log", SOURCE, env)
        self.addCleanup(self.end, job)
        return job

    def end(self, job):
        if job.fields()["JobState"] not in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"):
            self.cluster.call("scancel", "--full", "--signal=KILL", job.id, check=False)
            self.cluster.call("scancel", job.id, check=False)
            wait_until(lambda: self.cluster.call("squeue", "-h", "-j", job.id, check=False) == "", SOON, job.describe)

    def wait_for_steps(self, job, steps):
        wait_until(lambda: count_lines(self.output / "metrics.jsonl") >= steps, SOON, job.describe)

    def expect_failure(self, job, *texts):
        """The job ends with an error of ours that says all this, and stays ended."""
        job.wait_for_state(["FAILED"], SOON)
        lines = [line for line in job.log().splitlines() if line.startswith("spq: error: ")]
        self.assertTrue(lines, job.describe())
        for text in texts:
            self.assertIn(text, lines[0], job.describe())
        self.assertNotIn("start 2", job.log())

    def finish_after_requeue(self, job, further_steps):
        """The job that is being stopped goes back into the queue and ends so many steps after it was stopped: the number of all
        steps."""
        job.wait_for_log("back into the queue", SOON)
        stopped = int(re.search(r"stopped by a signal after step (\d+)", job.log())[1])
        total = stopped + further_steps
        self.workspace.config("run", self.changes | {"optimizer.steps": total})
        job.wait_for_log("start 2: 2 ranks", SOON)
        job.wait_for_state(["COMPLETED"], SOON)
        self.assertRegex(job.log(), rf"resuming from .*\(step {stopped}\)", job.describe())
        self.assertEqual([record["step"] for record in read_metrics(self.output)[0]], list(range(total)))
        return total

    def check_same_bits(self, steps):
        self.expect_success(self.workspace.config("whole", self.changes | {"optimizer.steps": steps}), ranks=2)
        whole, resumed = (read_rotations(folder / "rotation.h5")
                          for folder in (self.workspace.output("whole"), self.output))
        self.assertEqual(resumed[2], steps)
        np.testing.assert_array_equal(resumed[0], whole[0])
        np.testing.assert_array_equal(resumed[1], whole[1])


class Requeue(SlurmTest):
    def stop_and_go_on(self, variant, *scancel):
        job = self.submit(variant)
        self.wait_for_steps(job, 20)
        self.cluster.call("scancel", "--signal=USR1", *scancel, job.id)
        self.check_same_bits(self.finish_after_requeue(job, further_steps=50))

    def test_one_node_srun_signal_to_the_ranks(self):
        self.stop_and_go_on("one_node_srun")

    def test_one_node_mpirun_signal_to_the_script(self):
        self.stop_and_go_on("one_node_mpirun", "--batch")

    def test_nodes_srun_signal_to_the_script(self):
        self.stop_and_go_on("nodes_srun", "--batch")

    def test_nodes_mpirun_signal_to_the_script(self):
        self.stop_and_go_on("nodes_mpirun", "--batch")

    def test_the_signal_before_the_time_limit_saves_and_requeues(self):
        # A limit of one minute, announced a minute before: at Slurm's next look.
        job = self.submit("one_node_srun", ["--time=1", "--signal=B:USR1@60"])
        self.wait_for_steps(job, 1)
        wait_until(lambda: "SIGUSR1" in job.log(), SIGNAL_TICK, job.describe)
        self.finish_after_requeue(job, further_steps=10)


class NoRequeue(SlurmTest):
    def test_a_cancelled_job_saves_and_stays_cancelled(self):
        job = self.submit("one_node_srun")
        self.wait_for_steps(job, 20)
        self.cluster.call("scancel", job.id)
        job.wait_for_log("not requeued, because Slurm says the job is C", SOON)  # CANCELLED or COMPLETING
        wait_until(lambda: self.cluster.call("squeue", "-h", "-j", job.id, check=False) == "", SOON, job.describe)
        self.assertEqual(job.fields()["JobState"], "CANCELLED", job.describe())
        self.assertEqual(len(list((self.output / "checkpoints").iterdir())), 1)

    def test_where_requeueing_is_forbidden_the_message_says_what_to_do(self):
        job = self.submit("one_node_srun", ["--no-requeue"])
        self.wait_for_steps(job, 20)
        self.cluster.call("scancel", "--signal=USR1", job.id)
        job.wait_for_log("Submit it again", SOON)
        job.wait_for_state(["FAILED"], SOON)

    def test_a_killed_rank_ends_the_job(self):
        self.workspace.config("run", self.changes | {"compute.collective_timeout": 2})
        job = self.submit("one_node_srun")
        self.wait_for_steps(job, 20)
        os.kill(rank_pids(self.config)[1], signal.SIGKILL)
        self.expect_failure(job, "Not requeued; the same sbatch goes on")

    def test_an_error_of_the_program_is_not_repeated(self):
        self.workspace.config("run", self.changes | {"optimizer.steps": -1})
        self.expect_failure(self.submit("one_node_mpirun"), "ended with status")


class Refusals(SlurmTest):
    def test_srun_without_pmix_is_explained(self):
        self.expect_failure(self.submit("one_node_srun", env={"SPQ_MPI": "none"}), "without telling MPI", "--mpi=pmix")

    def test_srun_with_pmi2_is_explained(self):
        self.expect_failure(self.submit("one_node_srun", env={"SPQ_MPI": "pmi2"}), "PMI2", "--mpi=pmix")

    def test_an_mpi_that_slurm_does_not_have_is_named(self):
        self.expect_failure(self.submit("one_node_srun", env={"SPQ_MPI": "pmix_v9"}), "--mpi=pmix_v9", "mpirun variant")

    def test_the_program_itself_refuses_tasks_that_do_not_know_of_each_other(self):
        log = self.workspace.folder / "direct"
        self.cluster.call("srun", "--mpi=none", "-N1", "-n2", f"--output={log}", os.environ["SPQ_TRAIN"], str(self.config),
                          check=False)
        lines = log.read_text(encoding="utf-8").splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertRegex(lines[0], r"^spq-train: error: .*2 tasks.*srun --mpi=pmix")
        self.assertFalse(self.output.exists())


if __name__ == "__main__":
    reason = missing()
    if reason:
        print(f"skipped: no Slurm can be started here: {reason}")
        sys.exit(SKIPPED)
    unittest.main()
