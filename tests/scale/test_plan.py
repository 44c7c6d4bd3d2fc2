"""spq-plan as a user meets it: exit status, one line for each error, nothing read but config.json."""
import json
import os
import unittest
from pathlib import Path

from spq_program import SpqTest
from synthetic_model import write_model

CONFIGS = Path(os.environ["SPQ_SOURCE_DIR"]) / "configs"


class Plan(SpqTest):
    def setUp(self):
        super().setUp()
        self.model = write_model(self.workspace.folder / "70b", "llama3-70b", weights=False)
        self.arguments = [CONFIGS / "llama3-70b-w16a4.yaml", "--set", f"model={self.model}", "--devices",
                          CONFIGS / "devices.yaml"]

    def plan(self, *arguments):
        return self.run_program(*self.arguments, *arguments, program="spq-plan")

    def test_70b_fits_on_eight_h100_and_needs_nothing_but_config_json(self):
        self.assertEqual([path.name for path in self.model.iterdir()], ["config.json"])
        result = self.plan("--device", "h100-80gb", "--world-size", "8")
        self.assertEqual((result.status, result.err), (0, ""), result.describe())
        for part in ("70.55 billion", "shard", "gathered layers", "activations", "rotations", "optimizer",
                     "logits chunk", "workspace", ": fits", "  step ", "  run "):
            self.assertIn(part, result.out)

    def test_what_does_not_fit_ends_with_status_1_and_what_to_change(self):
        result = self.plan("--device", "h100-80gb", "--world-size", "1")
        self.assertEqual((result.status, result.err), (1, ""), result.describe())
        self.assertIn("does NOT fit", result.out)
        self.assertIn("it fits with", result.out)

    def test_cpu_rates_come_from_options(self):
        rates = ["--bf16-gflops", "1000", "--fp32-gflops", "500", "--memory-gb-s", "100", "--memory-gb", "2000"]
        result = self.plan("--device", "cpu", "--world-size", "2", *rates)
        self.assertEqual(result.status, 0, result.describe())
        twice = self.plan("--device", "cpu", "--world-size", "2", *rates, "--set", "batch.sequences=16")
        self.assertNotEqual(twice.out, result.out)

    def test_calibration_measures_this_processor(self):
        (self.model / "config.json").write_text(json.dumps(json.loads((self.model / "config.json").read_text()) | {
            "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": 512}))
        result = self.plan("--device", "cpu", "--calibrate", "--set", "batch.sequence_length=64")
        self.assertEqual(result.status, 0, result.describe())
        self.assertIn("measured here", result.out)

    def expect_plan_error(self, *arguments, names):
        self.expect_error(*self.arguments, *arguments, ranks=None, names=names, program="spq-plan")

    def test_errors_name_what_is_wrong(self):
        self.expect_plan_error("--device", "h10-80gb", names=["no device 'h10-80gb'", "did you mean h100-80gb?"])
        self.expect_plan_error("--device", "cpu", names=["--calibrate", "--bf16-gflops"])
        self.expect_plan_error("--device", "h100-80gb", "--world-size", "8", "--nodes", "3",
                               names=["equally many ranks"])
        self.expect_plan_error("--device", "h100-80gb", "--set", "batch.sequence_length=9000", names=["8192"])
        (self.model / "config.json").write_text("{}")
        self.expect_plan_error("--device", "h100-80gb", names=[self.model / "config.json"])

    def test_a_config_without_the_type_of_its_weights_is_refused(self):
        config = json.loads((self.model / "config.json").read_text())
        del config["torch_dtype"]
        (self.model / "config.json").write_text(json.dumps(config))
        self.expect_plan_error("--device", "h100-80gb", names=[self.model / "config.json", "torch_dtype"])
        (self.model / "config.json").write_text(json.dumps(config | {"dtype": "int8"}))
        self.expect_plan_error("--device", "h100-80gb", names=["dtype", "int8", "bfloat16"])


if __name__ == "__main__":
    unittest.main()
