"""Results do not depend on the number of ranks, and not on the day."""
import unittest

import numpy as np

from spq_fixture import read_metrics, read_rotations
from spq_program import SpqTest


class RankCounts(SpqTest):
    """The global batch is 5 sequences: 1, 2, 3 and 4 ranks get uneven parts."""

    def test_first_step_agrees_at_1_2_3_and_4_ranks(self):
        losses, rotations = [], []
        for ranks in (None, 1, 2, 3, 4):
            name = f"ranks-{ranks}"
            self.expect_success(self.workspace.config(name, {"optimizer.steps": 1}), ranks=ranks)
            losses.append(read_metrics(self.workspace.output(name))[0][0]["loss"])
            rotations.append(read_rotations(self.workspace.output(name) / "rotation.h5"))
        np.testing.assert_allclose(losses, losses[0], rtol=1e-6)
        for r1, r2, _ in rotations[1:]:
            np.testing.assert_allclose(r1, rotations[0][0], rtol=0, atol=1e-5)
            np.testing.assert_allclose(r2, rotations[0][1], rtol=0, atol=1e-5)

    def test_more_ranks_than_sequences_agree_too(self):
        results = []
        for name, ranks in (("alone", None), ("many", 4)):
            config = self.workspace.config(name, {"optimizer.steps": 1, "batch.sequences": 2})
            self.expect_success(config, ranks=ranks)
            results.append(read_rotations(self.workspace.output(name) / "rotation.h5"))
        np.testing.assert_allclose(results[1][0], results[0][0], rtol=0, atol=1e-5)

    def check_repeatable(self, ranks):
        files = []
        for name in ("first", "second"):
            self.expect_success(self.workspace.config(name), ranks=ranks)
            r1, r2, _ = read_rotations(self.workspace.output(name) / "rotation.h5")
            losses = [record["loss"] for record in read_metrics(self.workspace.output(name))[0]]
            files.append((r1.tobytes(), r2.tobytes(), losses,
                          (self.workspace.output(name) / "R.bin").read_bytes()))
        self.assertEqual(files[0], files[1])

    def test_two_runs_on_two_ranks_are_bit_identical(self):
        self.check_repeatable(ranks=2)

    def test_two_runs_on_three_ranks_are_bit_identical(self):
        self.check_repeatable(ranks=3)


if __name__ == "__main__":
    unittest.main()
