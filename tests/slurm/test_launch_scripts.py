"""What launch/slurm refuses, and how it gives out GPUs, as far as no Slurm is needed: its variables are set by hand."""
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(os.environ["SPQ_SOURCE_DIR"])
RANK = str(SOURCE / "launch" / "slurm" / "rank.sh")
VARIANTS = sorted((SOURCE / "launch" / "slurm").glob("*.sbatch"))


def run(command, cwd=SOURCE, **variables):
    """Without variables of a Slurm job or an Open MPI launcher that this test may itself run in."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(("SLURM", "SPQ_RANKS", "PMI", "OMPI_COMM", "CUDA_VISIBLE"))}
    return subprocess.run(command, cwd=cwd, env=environment | variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60, check=False)


class BatchScripts(unittest.TestCase):
    def expect_refusal(self, text, *arguments, cwd=SOURCE, **variables):
        for variant in VARIANTS:
            with self.subTest(variant.name):
                result = run(["bash", str(variant), *arguments], cwd, **variables)
                self.assertEqual(result.returncode, 1, result.stderr)
                errors = [line for line in result.stderr.splitlines() if line.startswith("spq: error: ")]
                self.assertEqual(len(errors), 1, result.stderr)
                self.assertIn(text, errors[0])

    def test_there_are_four(self):
        self.assertEqual([path.stem for path in VARIANTS],
                         ["nodes_mpirun", "nodes_srun", "one_node_mpirun", "one_node_srun"])

    def test_refuse_to_run_outside_slurm(self):
        self.expect_refusal("not in a Slurm job", "README.md")

    def test_refuse_another_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            self.expect_refusal("is not the root of the spq repository", "README.md", cwd=folder, SLURM_JOB_ID="1",
                                SLURM_NTASKS="2", SLURM_SUBMIT_DIR=folder)

    def test_explain_a_missing_argument(self):
        self.expect_refusal("Usage: sbatch", SLURM_JOB_ID="1", SLURM_NTASKS="2")

    def test_name_a_missing_configuration(self):
        self.expect_refusal("no-such.yaml: no such configuration", "no-such.yaml", SLURM_JOB_ID="1", SLURM_NTASKS="2")

    def test_name_a_missing_program(self):
        self.expect_refusal("no-such-program: no such program", "README.md", SLURM_JOB_ID="1", SLURM_NTASKS="2",
                            SPQ_TRAIN="no-such-program")

    def test_explain_a_missing_number_of_tasks(self):
        self.expect_refusal("--ntasks-per-node", "README.md", SLURM_JOB_ID="1")


class Rank(unittest.TestCase):
    def mpirun(self, ranks, *command, **variables):
        return run([os.environ["SPQ_MPIEXEC"], "-np", str(ranks), "--oversubscribe", "--bind-to", "none", "bash", RANK,
                    *command], **variables)

    def expect_refusal(self, result, text):
        self.assertNotEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr.count("spq: error: "), 1, result.stderr)
        self.assertIn(text, result.stderr)
        self.assertNotIn("started", result.stdout)

    def test_refuses_another_world_size_than_the_jobs(self):
        self.expect_refusal(self.mpirun(1, "echo", "started", SPQ_RANKS="3"), "mpirun started 1 rank(s), the Slurm job has 3")
        self.expect_refusal(self.mpirun(2, "echo", "started", SPQ_RANKS="3"), "mpirun started 2 rank(s), the Slurm job has 3")
        self.expect_refusal(run(["bash", RANK, "echo", "started"], SPQ_RANKS="2"), "no launcher started 1 rank(s)")

    def test_becomes_the_program_where_they_agree(self):
        result = self.mpirun(2, "sh", "-c", "echo started; exit 75", SPQ_RANKS="2")
        self.assertEqual(result.returncode, 75, result.stderr)
        self.assertIn("started", result.stdout)

    def test_refuses_srun_without_mpi(self):
        task = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "0"}
        self.expect_refusal(run(["bash", RANK, "echo", "started"], SLURM_PROCID="0", **task), "srun --mpi=pmix")
        other = run(["bash", RANK, "echo", "started"], SLURM_PROCID="1", **task)
        self.assertEqual((other.returncode, other.stdout, other.stderr), (1, "", ""))  # one task speaks

    def test_gives_each_rank_the_gpu_with_its_number_on_the_node(self):
        result = self.mpirun(3, "printenv", "CUDA_VISIBLE_DEVICES", CUDA_VISIBLE_DEVICES="4,6")
        self.assertEqual(sorted(result.stdout.split()), ["4", "4", "6"], result.stderr)

    def test_leaves_a_host_without_gpus_alone(self):
        result = self.mpirun(2, "printenv", "CUDA_VISIBLE_DEVICES")
        self.assertEqual(result.stdout, "")


if __name__ == "__main__":
    unittest.main()
