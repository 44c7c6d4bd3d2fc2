"""What a run may be resumed from."""
import unittest
from hashlib import sha256

import numpy as np

from spq_fixture import read_metrics, read_rotations, write_model
from spq_program import SpqTest

BOTH = (None, 2)  # without MPI, and two ranks


def damage(path):
    """Flips one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


class ResumeRules(SpqTest):
    """Every test starts from a finished run of 6 steps with checkpoints at 4 and 6."""

    def setUp(self):
        super().setUp()
        self.output = self.workspace.output("run")
        self.checkpoints = self.output / "checkpoints"
        self.settings = {"optimizer.schedule": "constant"}
        self.expect_success(self.config())

    def config(self, changes=None):
        return self.workspace.config("run", self.settings | (changes or {}))

    def written(self):
        """Every file of the output folder with a digest of its bytes."""
        return {str(path): sha256(path.read_bytes()).hexdigest() for path in self.output.rglob("*") if path.is_file()}

    def expect_refusal(self, config, *arguments, names):
        before = self.written()
        for ranks in BOTH:
            with self.subTest(ranks=ranks):
                self.expect_error(config, *arguments, ranks=ranks, names=names)
        self.assertEqual(self.written(), before)

    def test_a_changed_key_that_matters_is_refused_by_name(self):
        for key, value in (("optimizer.learning_rate", 1.25), ("quant.key.bits", 3), ("batch.sequences", 4),
                           ("data.seed", 7)):
            with self.subTest(key=key):
                self.expect_refusal(self.config({key: value}),
                                    names=[self.checkpoints / "checkpoint-6.h5", key, f"'{value}'"])

    def test_more_steps_of_a_cosine_schedule_are_refused(self):
        self.settings = {"optimizer.schedule": "cosine"}
        config = self.config()
        self.expect_success(config, "--set", "checkpoint.resume=never")
        self.expect_refusal(config, "--set", "optimizer.steps=8", names=["optimizer.steps", "'6'", "'8'"])

    def test_fewer_steps_than_done_are_refused(self):
        self.expect_refusal(self.config({"optimizer.steps": 3}),
                            names=[self.checkpoints / "checkpoint-6.h5", "6 steps", "optimizer.steps", "3"])

    def test_changed_keys_that_do_not_matter_go_on(self):
        changes = {"optimizer.steps": 8, "checkpoint.every": 3, "checkpoint.keep": 4, "batch.micro_batch": 2,
                   "data.heldout": str(self.workspace.tokens), "eval.every": 1, "eval.sequences": 2}
        result = self.expect_success(self.config(changes), ranks=2)
        self.assertIn(f"resuming from {self.checkpoints / 'checkpoint-6.h5'} (step 6)", result.out)
        steps, evaluations = read_metrics(self.output)
        self.assertEqual([record["step"] for record in steps], list(range(8)))
        self.assertEqual([record["step"] for record in evaluations], [6, 7, 8])

    def test_another_output_dir_may_go_on_from_a_named_checkpoint(self):
        moved = self.workspace.output("moved")
        result = self.expect_success(self.config(), "--set", f"output_dir={moved}", "--set",
                                     f"checkpoint.resume={self.checkpoints / 'checkpoint-4.h5'}")
        self.assertIn("(step 4)", result.out)
        for first, second in zip(read_rotations(self.output / "rotation.h5"), read_rotations(moved / "rotation.h5")):
            np.testing.assert_array_equal(first, second)

    def test_a_checkpoint_of_another_model_is_refused(self):
        other = write_model(self.workspace.folder / "other", seed=1)
        self.expect_refusal(self.config({"model": str(other)}),
                            names=[self.checkpoints / "checkpoint-6.h5", other, "another model"])

    def test_a_damaged_newest_checkpoint_is_passed_over_with_a_warning(self):
        whole = read_rotations(self.output / "rotation.h5")
        for ranks in BOTH:
            with self.subTest(ranks=ranks):
                damage(self.checkpoints / "checkpoint-6.h5")
                result = self.expect_success(self.config(), ranks=ranks)
                self.assertEqual(result.out.count("warning:"), 1, result.describe())
                self.assertIn(f"warning: passed over: {self.checkpoints / 'checkpoint-6.h5'}: damaged", result.out)
                self.assertIn("(step 4)", result.out)
                resumed = read_rotations(self.output / "rotation.h5")
                self.assertEqual(resumed[2], 6)
                if ranks is None:  # as the run that wrote the checkpoints
                    np.testing.assert_array_equal(resumed[0], whole[0])

    def test_with_all_checkpoints_damaged_the_run_is_refused_and_they_stay(self):
        for step in (4, 6):
            damage(self.checkpoints / f"checkpoint-{step}.h5")
        self.expect_refusal(self.config(), names=[self.checkpoints, "none of the 2 checkpoints can be read"])
        for step in (4, 6):
            self.assertTrue((self.checkpoints / f"checkpoint-{step}.h5").exists())

    def test_a_damaged_checkpoint_named_explicitly_is_refused(self):
        path = self.checkpoints / "checkpoint-6.h5"
        damage(path)
        self.expect_refusal(self.config({"checkpoint.resume": str(path)}), names=[path, "damaged"])

    def test_a_named_checkpoint_that_does_not_exist_is_refused(self):
        path = self.checkpoints / "checkpoint-5.h5"
        self.expect_refusal(self.config({"checkpoint.resume": str(path)}), names=[path, "No such file"])

    def test_resume_never_starts_anew(self):
        before = read_rotations(self.output / "rotation.h5")
        result = self.expect_success(self.config(), "--set", "checkpoint.resume=never", "--set",
                                     "rotation.seed=1")
        self.assertIn("step 1/6", result.out)
        self.assertNotIn("resuming", result.out)
        steps, _ = read_metrics(self.output)
        self.assertEqual([record["step"] for record in steps], list(range(6)))
        self.assertGreater(np.abs(read_rotations(self.output / "rotation.h5")[0] - before[0]).max(), 1e-2)

    def test_a_finished_run_started_again_changes_no_rotation(self):
        before = read_rotations(self.output / "rotation.h5")
        self.expect_success(self.config(), ranks=2)
        np.testing.assert_array_equal(read_rotations(self.output / "rotation.h5")[0], before[0])


if __name__ == "__main__":
    unittest.main()
