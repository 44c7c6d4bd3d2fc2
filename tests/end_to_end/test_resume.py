"""Runs that are stopped or killed, and go on."""
import os
import signal
import unittest

import numpy as np

from spq_fixture import orthogonality_error, read_metrics, read_rotations
from spq_program import STOPPED, SpqTest

STEPS = 120  # long enough to be interrupted in the middle


class Resume(SpqTest):
    changes = {"optimizer.steps": STEPS, "checkpoint.every": 20}

    def setUp(self):
        super().setUp()
        self.output = self.workspace.output("run")

    def config(self, name="run", changes=None):
        return self.workspace.config(name, self.changes | (changes or {}))

    def interrupt(self, config, ranks, send):
        """Starts a run, lets send(run) end it after a few steps, returns its Result."""
        run = self.start([config], ranks)
        run.wait_for_steps(self.output, 24)
        send(run)
        return run.wait()

    def stop_ranks(self, signal_number):
        return lambda run: [os.kill(pid, signal_number) for pid in run.rank_pids()]

    def check_stopped(self, result):
        self.assertEqual(result.status, STOPPED, result.describe())
        self.assertEqual(result.out.count("stopped by a signal"), 1, result.describe())
        self.assertIn(str(self.output / "checkpoints"), result.out)
        self.assertNotIn("error", result.err)
        self.assertFalse((self.output / "rotation.h5").exists())

    def go_on(self, config, ranks):
        result = self.expect_success(config, ranks=ranks)
        self.assertEqual(result.out.count("resuming from"), 1, result.describe())
        records, _ = read_metrics(self.output)
        self.assertEqual([record["step"] for record in records], list(range(STEPS)))

    def check_same_bits(self, ranks, changes=None):
        self.expect_success(self.config("whole", changes), ranks=ranks)
        whole, resumed = (read_rotations(folder / "rotation.h5")
                          for folder in (self.workspace.output("whole"), self.output))
        self.assertEqual(resumed[2], STEPS)
        np.testing.assert_array_equal(resumed[0], whole[0])
        np.testing.assert_array_equal(resumed[1], whole[1])

    def stop_and_go_on(self, ranks, send, changes=None):
        config = self.config(changes=changes)
        self.check_stopped(self.interrupt(config, ranks, send))
        self.go_on(config, ranks)
        self.check_same_bits(ranks, changes)

    def test_sigterm_then_resume_gives_the_same_bits_without_mpi(self):
        self.stop_and_go_on(None, self.stop_ranks(signal.SIGTERM))

    def test_sigint_then_resume_gives_the_same_bits_without_mpi(self):
        self.stop_and_go_on(None, self.stop_ranks(signal.SIGINT))

    def test_sigterm_to_all_ranks_then_resume_gives_the_same_bits_on_two_ranks(self):
        self.stop_and_go_on(2, self.stop_ranks(signal.SIGTERM))

    def test_sigterm_to_one_rank_stops_all_and_momentum_is_resumed(self):
        self.stop_and_go_on(2, lambda run: os.kill(run.rank_pids()[1], signal.SIGTERM),
                            {"optimizer.momentum": 0.5})

    def test_momentum_and_shuffled_data_are_resumed_without_mpi(self):
        self.stop_and_go_on(None, self.stop_ranks(signal.SIGTERM),
                            {"optimizer.momentum": 0.5, "data.shuffle": True, "data.seed": 3})

    def test_sigusr1_to_mpirun_stops_all_ranks(self):
        result = self.interrupt(self.config(), 2, lambda run: run.process.send_signal(signal.SIGUSR1))
        self.check_stopped(result)

    def test_a_run_stopped_twice_gives_the_same_bits(self):
        config = self.config()
        for steps in (24, 70):
            run = self.start([config], 2)
            run.wait_for_steps(self.output, steps)
            self.stop_ranks(signal.SIGTERM)(run)
            self.check_stopped(run.wait())
        self.go_on(config, 2)
        self.check_same_bits(2)

    def test_a_killed_process_is_resumed_from_its_last_checkpoint(self):
        config = self.config()
        result = self.interrupt(config, None, self.stop_ranks(signal.SIGKILL))
        self.assertEqual(result.status, -signal.SIGKILL)
        self.go_on(config, None)
        self.check_same_bits(None)

    def test_a_killed_rank_ends_the_job_which_is_resumed_from_its_last_checkpoint(self):
        config = self.config()
        result = self.interrupt(config, 2, lambda run: os.kill(run.rank_pids()[1], signal.SIGKILL))
        self.assertNotIn(result.status, (0, STOPPED), result.describe())
        self.go_on(config, 2)
        self.check_same_bits(2)

    def test_another_rank_count_goes_on_correctly(self):
        config = self.config(changes={"optimizer.momentum": 0.5})
        self.check_stopped(self.interrupt(config, 2, self.stop_ranks(signal.SIGTERM)))
        self.go_on(config, 3)
        r1, r2, step = read_rotations(self.output / "rotation.h5")
        self.assertEqual(step, STEPS)
        self.assertTrue(np.isfinite(r1).all() and np.isfinite(r2).all())
        self.assertLess(max(orthogonality_error(r1), orthogonality_error(r2)), 1e-4)

    def test_a_step_after_resume_is_the_same_at_another_rank_count(self):
        short = self.changes | {"optimizer.steps": 5, "optimizer.schedule": "constant"}
        for name, ranks in (("two", 2), ("three", 3)):
            config = self.workspace.config(name, short)
            self.expect_success(config, ranks=2)
            self.expect_success(config, "--set", "optimizer.steps=6", ranks=ranks)
        two, three = (read_rotations(self.workspace.output(name) / "rotation.h5") for name in ("two", "three"))
        self.assertEqual((two[2], three[2]), (6, 6))
        np.testing.assert_allclose(three[0], two[0], rtol=0, atol=1e-5)
        np.testing.assert_allclose(three[1], two[1], rtol=0, atol=1e-5)


if __name__ == "__main__":
    unittest.main()
