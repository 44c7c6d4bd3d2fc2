"""Signals that arrive while a checkpoint is being written."""
import os
import signal
import time
import unittest

import numpy as np

from spq_fixture import read_metrics, read_rotations
from spq_program import STOPPED, TIMEOUT, SpqTest

STEPS = 8
SLOW = 1.0  # seconds that a flush to disk takes
SAVED = 4   # the checkpoint that is interrupted


class DuringASave(SpqTest):
    changes = {"optimizer.steps": STEPS, "checkpoint.every": 2, "checkpoint.keep": 10}

    def setUp(self):
        super().setUp()
        self.output = self.workspace.output("run")
        self.config = self.workspace.config("run", self.changes)
        self.checkpoints = self.output / "checkpoints"

    def saving(self):
        """The unfinished file of the checkpoint after SAVED steps, while it is there."""
        return list(self.checkpoints.glob(f".checkpoint-{SAVED}.h5.*.tmp"))

    def start_and_wait_for_the_save(self, ranks):
        slow = ["env", f"LD_PRELOAD={os.environ['SPQ_OTHER_HOST']}", f"SPQ_SLOW_DISK={SLOW}",
                f"ASAN_OPTIONS={os.environ.get('ASAN_OPTIONS', '')}:verify_asan_link_order=0"]
        run = self.start([self.config], ranks, prefix=slow)
        deadline = time.monotonic() + TIMEOUT
        while not self.saving() and time.monotonic() < deadline and run.process.poll() is None:
            time.sleep(0.002)
        self.assertTrue(self.saving(), "no save was seen")
        return run

    def check_previous_checkpoint(self):
        self.assertEqual(read_rotations(self.checkpoints / f"checkpoint-{SAVED - 2}.h5")[2], SAVED - 2)

    def go_on_to_the_same_bits(self, ranks):
        result = self.expect_success(self.config, ranks=ranks)
        self.assertEqual(result.out.count("resuming from"), 1, result.describe())
        self.assertEqual([record["step"] for record in read_metrics(self.output)[0]], list(range(STEPS)))
        self.expect_success(self.workspace.config("whole", self.changes), ranks=ranks)
        resumed, whole = (read_rotations(folder / "rotation.h5") for folder in (self.output, self.workspace.output("whole")))
        np.testing.assert_array_equal(resumed[0], whole[0])
        np.testing.assert_array_equal(resumed[1], whole[1])

    def stop_while_saving(self, ranks, number, to_all):
        run = self.start_and_wait_for_the_save(ranks)
        pids = run.rank_pids()
        for pid in pids if to_all else pids[-1:]:
            os.kill(pid, number)
        self.assertTrue(self.saving(), "the signal came after the save")
        self.check_previous_checkpoint()
        result = run.wait()
        self.assertEqual(result.status, STOPPED, result.describe())
        self.assertIn(f"stopped by a signal after step {SAVED},", result.out)  # no step was begun any more
        self.check_previous_checkpoint()
        self.assertEqual(read_rotations(self.checkpoints / f"checkpoint-{SAVED}.h5")[2], SAVED)
        self.assertEqual(self.saving(), [])
        self.go_on_to_the_same_bits(ranks)

    def test_sigusr1_to_all_ranks_stops_after_the_save(self):
        self.stop_while_saving(2, signal.SIGUSR1, to_all=True)

    def test_sigterm_to_a_rank_that_does_not_write_stops_all_after_the_save(self):
        self.stop_while_saving(2, signal.SIGTERM, to_all=False)

    def test_sigterm_stops_after_the_save_without_mpi(self):
        self.stop_while_saving(None, signal.SIGTERM, to_all=True)

    def test_sigkill_leaves_the_previous_checkpoint_from_which_a_restart_goes_on(self):
        run = self.start_and_wait_for_the_save(2)
        os.kill(run.rank_pids()[0], signal.SIGKILL)
        result = run.wait()
        self.assertNotIn(result.status, (0, STOPPED), result.describe())
        self.check_previous_checkpoint()
        self.assertFalse((self.checkpoints / f"checkpoint-{SAVED}.h5").exists())
        self.go_on_to_the_same_bits(2)


if __name__ == "__main__":
    unittest.main()
