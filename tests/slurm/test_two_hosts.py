"""Learning on two hosts over TCP: the bits of one host, and what happens when the cable between them is cut."""
import os
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "end_to_end"))

from processes import count_lines, rank_pids, wait_until  # noqa: E402
from spq_fixture import read_metrics, read_rotations, write_model  # noqa: E402
from spq_program import SpqTest  # noqa: E402
from two_hosts import TwoHosts, missing  # noqa: E402

SKIPPED = 77
RUN_WITHIN = 60  # seconds
TIMEOUT = 3  # seconds: compute.collective_timeout
NOTICED_WITHIN = TIMEOUT + 15  # the ranks also wait for answers and for each other
ENDLESS = 1_000_000  # steps


class TwoHostsTest(SpqTest):
    changes = {"optimizer.schedule": "constant", "compute.collective_timeout": TIMEOUT, "checkpoint.every": 10}

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="spq-hosts-")
        self.addCleanup(folder.cleanup)
        self.hosts = TwoHosts(folder.name)
        self.addCleanup(self.hosts.stop)
        self.hosts.start()
        self.output = self.workspace.output("run")

    def config(self, name, steps):
        return self.workspace.config(name, self.changes | {"optimizer.steps": steps})

    def start_learning(self, config, settings=None, ranks_per_host=1):
        run = self.hosts.run([os.environ["SPQ_TRAIN"], config], settings, ranks_per_host)
        self.addCleanup(run.wait, RUN_WITHIN)
        self.addCleanup(self.hosts.kill)
        return run

    def learn(self, steps, ranks_per_host=1):
        run = self.start_learning(self.config("run", steps), ranks_per_host=ranks_per_host)
        self.assertEqual(run.wait(RUN_WITHIN), 0, self.hosts.describe())

    def learn_and_cut(self, settings=None):
        """Cuts the cable in the middle of a run; returns it."""
        config = self.config("run", ENDLESS)
        run = self.start_learning(config, settings)
        wait_until(lambda: count_lines(self.output / "metrics.jsonl") >= 25, RUN_WITHIN, self.hosts.describe)
        self.assertEqual(len(rank_pids(config)), 2)
        self.hosts.set_link(self.hosts.names[1], "down")
        return run, config

    def check_same_bits(self, steps, ranks=2):
        self.expect_success(self.config("one_host", steps), ranks=ranks)
        one, two = (read_rotations(self.workspace.output(name) / "rotation.h5") for name in ("one_host", "run"))
        self.assertEqual(two[2], steps)
        np.testing.assert_array_equal(two[0], one[0])
        np.testing.assert_array_equal(two[1], one[1])

    def test_two_hosts_learn_the_same_bits_as_one(self):
        self.learn(steps=12)
        self.check_same_bits(steps=12)
        for name in self.hosts.names:  # weights and gradients did go over the cable: R1 alone is 4 KiB a step
            self.assertGreater(self.hosts.bytes_received(name), 12 * 4096, name)

    def test_two_ranks_on_each_of_two_hosts_learn_the_same_bits_as_four_on_one(self):
        self.learn(steps=12, ranks_per_host=2)
        self.check_same_bits(steps=12, ranks=4)

    def test_a_host_with_another_model_is_named(self):
        config = self.config("run", steps=3)
        other = write_model(self.workspace.folder / "other", seed=1)
        second = self.hosts.names[1]
        # A host's processes have their own view of the file system (ip netns exec).
        script = f'[ "$(hostname)" != {second} ] || mount --bind "$1" "$2"; shift 2; exec "$@"'
        run = self.hosts.run(["sh", "-c", script, "sh", other, self.workspace.model, os.environ["SPQ_TRAIN"], config],
                             ranks_per_host=2)
        self.addCleanup(self.hosts.kill)
        self.assertNotEqual(run.wait(RUN_WITHIN), 0, self.hosts.describe())
        self.assertRegex(self.hosts.text("err.0"),
                         rf"not the same on all ranks: model weights: \w+ on host {self.hosts.names[0]} \(ranks 0-1\); \w+ on "
                         rf"host {second} \(ranks 2-3\)", self.hosts.describe())
        self.assertFalse(self.output.exists())

    def test_a_cut_cable_ends_both_sides_with_a_message_and_a_restart_goes_on(self):
        _, config = self.learn_and_cut()
        wait_until(lambda: not rank_pids(config), NOTICED_WITHIN, lambda: f"ranks ended\n{self.hosts.describe()}")
        for rank, other in ((0, 1), (1, 0)):
            self.assertRegex(self.hosts.text(f"err.{rank}"),
                             rf"spq-train: error on rank {rank}: .*rank {other} \(host {self.hosts.names[other]}\) did not take "
                             rf"part in .* within {TIMEOUT} seconds; no answer from rank {other}", self.hosts.describe())
        self.hosts.kill()  # mpirun itself waits on for the other host's daemon
        self.hosts.set_link(self.hosts.names[1], "up")
        steps = len(read_metrics(self.output)[0]) + 20
        self.learn(steps)
        self.assertIn("resuming from", self.hosts.text("out"), self.hosts.describe())
        self.check_same_bits(steps)

    def test_with_a_short_keepalive_mpirun_ends_too(self):
        """The parameters that launch/slurm/job.sh sets, with shorter times."""
        run, config = self.learn_and_cut({"oob_tcp_keepalive_time": 1, "oob_tcp_keepalive_intvl": 1,
                                          "oob_tcp_keepalive_probes": 2})
        self.assertGreater(run.wait(NOTICED_WITHIN), 0, self.hosts.describe())
        wait_until(lambda: not self.hosts.pids() and not rank_pids(config), NOTICED_WITHIN,
                   lambda: f"both hosts empty\n{self.hosts.describe()}")
        self.assertIn("lost communication with a remote daemon", self.hosts.text("err"), self.hosts.describe())


if __name__ == "__main__":
    reason = missing()
    if reason:
        print(f"skipped: no network namespaces can be made here: {reason}")
        sys.exit(SKIPPED)
    unittest.main()
