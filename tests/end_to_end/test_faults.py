"""spq-train under fire: killed and stalled ranks, failing disks, two runs in one folder, numbers that overflow, long runs.

SPQ_KILLS=200 kills that often (in continuous integration 12 times), SPQ_SOAK_STEPS sets the length of the long run.
"""
import os
import random
import resource
import signal
import time
import unittest

import numpy as np

from spq_fixture import layer_name, orthogonality_error, read_metrics, read_rotations, write_model
from spq_program import SpqTest

KILLS = int(os.environ.get("SPQ_KILLS", "12"))
SOAK_STEPS = int(os.environ.get("SPQ_SOAK_STEPS", "2000"))
GONE_WITHIN = 60  # seconds


def alive(pid):
    """A process that nobody has waited for yet (state Z) is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def resident_kib(pid):
    for line in open(f"/proc/{pid}/status", encoding="ascii"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError(f"process {pid} has no VmRSS")


class Killed(SpqTest):
    def test_kill_9_of_any_rank_at_any_time_loses_nothing(self):
        """Whatever the moment (load, forward, backward, reduction, save), the run that goes on ends with the same bits."""
        steps, ranks = 60, 2
        changes = {"optimizer.steps": steps, "checkpoint.every": 1}
        self.expect_success(self.workspace.config("whole", changes), ranks=ranks)
        config, output = self.workspace.config("run", changes), self.workspace.output("run")
        rng = random.Random(7)
        kills = rounds = 0
        while kills < KILLS:
            rounds += 1
            run = self.start([config], ranks)
            time.sleep(rng.uniform(0.0, 2.5))
            pids = run.rank_pids() if run.process.poll() is None else []
            if len(pids) == ranks:
                os.kill(rng.choice(pids), signal.SIGKILL)
                kills += 1
                run.process.wait(GONE_WITHIN)
                self.expect_gone(pids)
            run.process.wait(GONE_WITHIN)
            for path in (output / "checkpoints").glob("checkpoint-*.h5"):
                read_rotations(path)
            if (output / "rotation.h5").exists():  # finished before it could be killed: the next kills need a new run
                self.check_same(output)
                for path in (output / "checkpoints").iterdir():
                    path.unlink()
                (output / "rotation.h5").unlink()
            self.assertLess(rounds, 5 * KILLS + 20)
        self.expect_success(config, ranks=ranks)
        self.check_same(output)

    def expect_gone(self, pids):
        deadline = time.monotonic() + GONE_WITHIN
        while any(map(alive, pids)) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertFalse(any(map(alive, pids)), "a rank outlived the job")

    def check_same(self, output):
        whole = read_rotations(self.workspace.output("whole") / "rotation.h5")
        found = read_rotations(output / "rotation.h5")
        self.assertEqual(found[2], whole[2])
        np.testing.assert_array_equal(found[0], whole[0])
        np.testing.assert_array_equal(found[1], whole[1])

    def test_a_stalled_rank_is_named_and_the_job_ends(self):
        config = self.workspace.config("run", {"optimizer.steps": 100000, "compute.collective_timeout": 2})
        run = self.start([config], 2)
        run.wait_for_steps(self.workspace.output("run"), 5)
        pids = run.rank_pids()
        os.kill(pids[1], signal.SIGSTOP)
        result = run.wait()
        self.assertGreater(result.status, 0, result.describe())
        self.assertRegex(result.err, r"spq-train: error on rank 0: rank 1 .* within 2 seconds; no answer from rank 1", result.describe())
        self.expect_gone(pids)


class OutputFolder(SpqTest):
    def test_a_second_run_in_the_same_folder_is_refused_and_the_first_goes_on(self):
        config = self.workspace.config("run", {"optimizer.steps": 400, "checkpoint.every": 0})
        run = self.start([config])
        run.wait_for_steps(self.workspace.output("run"), 1)
        self.expect_error(config, ranks=None, names=[self.workspace.output("run"), "in use by another run", run.process.pid])
        result = run.wait()
        self.assertEqual(result.status, 0, result.describe())
        self.expect_success(config)


class FailingDisk(SpqTest):
    """Files may not grow beyond what metrics need: a checkpoint cannot be written."""

    def limited(self, changes):
        # R1 of 128 x 128 is 64 KiB.
        model = write_model(self.workspace.folder / "wide", change_config={"hidden_size": 128, "num_attention_heads": 16,
                                                                          "num_key_value_heads": 16})
        config = self.workspace.config("run", {"model": str(model), "optimizer.steps": 6, "checkpoint.every": 3} | changes)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40 << 10, before[1]))
        try:
            return self.start([config]).wait()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def test_stops_with_a_message(self):
        result = self.limited({})
        self.assertEqual(result.status, 1, result.describe())
        self.assertRegex(result.err, r"spq-train: error: .*checkpoint-3\.h5: cannot write")
        self.assertEqual(list((self.workspace.output("run") / "checkpoints").iterdir()), [])

    def test_goes_on_without_the_checkpoint_where_asked_to(self):
        result = self.limited({"checkpoint.on_error": "continue"})
        records, _ = read_metrics(self.workspace.output("run"))
        self.assertEqual(len(records), 6, result.describe())
        self.assertRegex(result.out, r"warning: no checkpoint after step 3: .*cannot write")
        # The result itself could not be written either, and that is an error.
        self.assertEqual(result.status, 1, result.describe())
        self.assertRegex(result.err, r"spq-train: error: .*rotation\.h5: cannot write")

    def test_a_vanished_folder_is_named(self):
        config, output = self.workspace.config("run", {"optimizer.steps": 4000}), self.workspace.output("run")
        run = self.start([config])
        run.wait_for_steps(output, 3)
        (output / "checkpoints").rename(output / "moved")
        result = run.wait()
        self.assertEqual(result.status, 1, result.describe())
        self.assertIn(str(output / "checkpoints"), result.err)


class Numbers(SpqTest):
    def test_an_overflow_names_rank_layer_and_point_and_keeps_the_checkpoint(self):
        def enlarge(weights):
            weights[layer_name(1, "mlp.up_proj")] *= 1e38

        model = write_model(self.workspace.folder / "large", change_weights=enlarge)
        config = self.workspace.config("run", {"model": str(model)})
        for ranks in (None, 2):
            result = self.expect_error(config, ranks=ranks, names=["step 1: the loss is", "layer 1: output of up_proj"])
            self.assertFalse((self.workspace.output("run") / "rotation.h5").exists(), result.describe())


class Soak(SpqTest):
    def test_memory_files_and_orthogonality_stay_as_they_are_over_a_long_run(self):
        config = self.workspace.config("run", {"optimizer.steps": SOAK_STEPS, "optimizer.schedule": "constant",
                                               "checkpoint.every": 50})
        output = self.workspace.output("run")
        run = self.start([config])
        pid = run.process.pid
        run.wait_for_steps(output, SOAK_STEPS // 4)
        memory, files = resident_kib(pid), len(os.listdir(f"/proc/{pid}/fd"))
        run.wait_for_steps(output, SOAK_STEPS - SOAK_STEPS // 10)
        memory_later, files_later = resident_kib(pid), len(os.listdir(f"/proc/{pid}/fd"))
        result = run.wait()
        self.assertEqual(result.status, 0, result.describe())
        if not os.environ.get("SPQ_SANITIZED"):
            self.assertLess(memory_later, 1.02 * memory + 2048, "resident memory in KiB")
        self.assertLessEqual(files_later, files + 1)
        r1, r2, _ = read_rotations(output / "rotation.h5")
        self.assertLess(max(orthogonality_error(r1), orthogonality_error(r2)), 1e-4)


if __name__ == "__main__":
    unittest.main()
