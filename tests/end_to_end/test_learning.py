"""Whole runs: what they learn, write and say, and rotations handed from one to the next."""
import os
import unittest
from pathlib import Path

import numpy as np

from spq_fixture import Workspace, files_below, orthogonality_error, read_metrics, read_rotations, write_model
from spq_program import SpqTest

EMBEDDED = Path(os.environ["SPQ_SOURCE_DIR"]) / "data" / "tiny-llama"


class Learning(SpqTest):
    def check_written(self, output, steps):
        self.assertEqual(files_below(output), ["R.bin", "checkpoints", "checkpoints/checkpoint-4.h5",
                                               "checkpoints/checkpoint-6.h5", "config.yaml", "metrics.jsonl",
                                               "rotation.h5"])
        r1, r2, step = read_rotations(output / "rotation.h5")
        self.assertEqual((r1.shape, r2.shape, step), ((32, 32), (2, 8, 8), steps))
        self.assertLess(max(orthogonality_error(r1), orthogonality_error(r2)), 1e-5)
        records, _ = read_metrics(output)
        self.assertEqual([record["step"] for record in records], list(range(steps)))
        self.assertTrue(all(np.isfinite(record["loss"]) for record in records))

    def test_writes_rotations_metrics_and_config_without_mpi(self):
        self.expect_success(self.workspace.config("run"))
        self.check_written(self.workspace.output("run"), steps=6)

    def test_writes_the_same_files_on_three_ranks_and_only_rank_0_speaks(self):
        alone = self.expect_success(self.workspace.config("alone"))
        three = self.expect_success(self.workspace.config("three"), ranks=3)
        self.check_written(self.workspace.output("three"), steps=6)
        lines = three.out.splitlines()
        self.assertEqual(len(set(lines)), len(lines), three.describe())
        self.assertEqual(len(lines), len(alone.out.splitlines()), three.describe())

    def test_the_written_config_repeats_the_run(self):
        self.expect_success(self.workspace.config("first"))
        written = self.workspace.output("first") / "config.yaml"
        self.expect_success(written, "--set", f"output_dir={self.workspace.output('second')}")
        for first, second in zip(read_rotations(self.workspace.output("first") / "rotation.h5"),
                                 read_rotations(self.workspace.output("second") / "rotation.h5")):
            np.testing.assert_array_equal(first, second)

    def test_both_rotations_move_away_from_their_start(self):
        self.expect_success(self.workspace.config("short", {"optimizer.steps": 1}))
        self.expect_success(self.workspace.config("long", {"optimizer.steps": 4}))
        for one, four in zip(read_rotations(self.workspace.output("short") / "rotation.h5")[:2],
                             read_rotations(self.workspace.output("long") / "rotation.h5")[:2]):
            self.assertGreater(np.abs(one - four).max(), 1e-3)

    def test_learning_on_the_embedded_model_lowers_held_out_perplexity(self):
        three_bits = {f"quant.{point}.bits": 3 for point in ("activation", "key", "value")}
        config = self.workspace.config("run", three_bits | {
            "model": str(EMBEDDED), "data.train": str(EMBEDDED / "tokens-train.h5"),
            "data.heldout": str(EMBEDDED / "tokens-heldout.h5"), "eval.sequences": 12,
            "batch.sequences": 4, "batch.sequence_length": 128, "rotation.seed": 1,
            "optimizer.steps": 20, "optimizer.learning_rate": 0.3})
        self.expect_success(config, ranks=2)
        _, (before, after) = read_metrics(self.workspace.output("run"))
        self.assertLess(after["perplexity"], 0.95 * before["perplexity"])  # found: 0.84

    def test_a_bf16_model_is_learned_on(self):
        folder = self.workspace.folder / "bf16"
        folder.mkdir()
        workspace = Workspace(folder, dtype="BF16")
        self.expect_success(workspace.config("run"), ranks=2)
        self.check_written(workspace.output("run"), steps=6)

    def test_held_out_perplexity_is_recorded_before_during_and_after(self):
        config = self.workspace.config("run", {"data.heldout": str(self.workspace.tokens), "eval.every": 4,
                                               "eval.sequences": 3})
        self.expect_success(config, ranks=2)
        _, evaluations = read_metrics(self.workspace.output("run"))
        self.assertEqual([record["step"] for record in evaluations], [0, 4, 6])
        self.assertTrue(all(record["perplexity"] > 1 for record in evaluations))


class RotationFromFile(SpqTest):
    def setUp(self):
        super().setUp()
        self.expect_success(self.workspace.config("source"), ranks=2)

    def config_starting_from(self, file, **extra):
        return self.workspace.config("next", {"rotation.start": "file", "rotation.file": str(file)} | extra)

    def test_r_bin_and_rotation_h5_start_the_same_run(self):
        results = []
        for file in ("R.bin", "rotation.h5"):
            config = self.config_starting_from(self.workspace.output("source") / file)
            self.expect_success(config, "--set", f"output_dir={self.workspace.output(file + '-run')}", ranks=2)
            results.append(read_rotations(self.workspace.output(file + "-run") / "rotation.h5"))
        np.testing.assert_array_equal(results[0][0], results[1][0])
        np.testing.assert_array_equal(results[0][1], results[1][1])

    def test_a_fixed_rotation_from_r_bin_is_written_unchanged(self):
        source = self.workspace.output("source")
        self.expect_success(self.workspace.config("fixed", {"rotation.r1": "file",
                                                            "rotation.file": str(source / "R.bin")}))
        given, result = read_rotations(source / "rotation.h5"), read_rotations(
            self.workspace.output("fixed") / "rotation.h5")
        np.testing.assert_array_equal(result[0], given[0])
        self.assertGreater(np.abs(result[1] - given[1]).max(), 1e-3)

    def test_r_bin_of_another_shape_is_refused(self):
        other = write_model(self.workspace.folder / "other", change_config={"hidden_size": 64})
        config = self.config_starting_from(self.workspace.output("source") / "R.bin", model=str(other))
        for ranks in (None, 2):
            with self.subTest(ranks=ranks):
                self.expect_error(config, ranks=ranks, names=[self.workspace.output("source") / "R.bin", "R1",
                                                              "32", "64"])


if __name__ == "__main__":
    unittest.main()
