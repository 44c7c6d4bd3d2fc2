"""compute.device on a machine where no GPU can be had: every device is hidden from the programs."""
import os
import unittest

import numpy as np

from spq_fixture import read_metrics, read_rotations
from spq_ptq import PtqTest

BOTH = (None, 2)  # without MPI, and two ranks


class Device(PtqTest):
    def setUp(self):
        super().setUp()
        before = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self.addCleanup(lambda: os.environ.pop("CUDA_VISIBLE_DEVICES") if before is None
                        else os.environ.update(CUDA_VISIBLE_DEVICES=before))

    def said_device(self, result):
        lines = [line for line in result.out.splitlines() if line.startswith("device: ")]
        self.assertEqual(len(lines), 1, result.describe())
        return lines[0]

    def expect_refusal(self, config, *arguments, program="spq-train"):
        for ranks in BOTH:
            with self.subTest(program=program, ranks=ranks, arguments=arguments):
                result = self.expect_error(config, *arguments, "--set", "compute.device=cuda", ranks=ranks,
                                           names=["device", "cuda: "], program=program)
                self.assertEqual(result.status, 1)

    def test_cuda_is_refused_in_one_line_before_anything_is_written(self):
        self.expect_refusal(self.workspace.config("run"))
        self.expect_refusal(self.workspace.config("run"), "--check")
        self.assertFalse(self.workspace.output("run").exists())

    def test_cuda_is_refused_by_the_ptq_programs(self):
        self.expect_refusal(self.ptq_config("q"), program="spq-ptq")
        self.assertFalse(self.workspace.output("q").exists())
        self.expect_refusal(self.eval_config("e", self.workspace.model), program="spq-eval")

    def test_unknown_device_is_refused_with_the_known_ones(self):
        self.expect_error(self.workspace.config("run", {"compute.device": "gpu"}), ranks=None,
                          names=["compute.device", "gpu", "auto, cpu, cuda"])

    def test_auto_trains_on_the_cpu_with_the_same_bits_and_says_so(self):
        for ranks in BOTH:
            with self.subTest(ranks=ranks):
                found = {}
                for device in ("auto", "cpu"):
                    name = f"{device}-{ranks}"
                    result = self.expect_success(self.workspace.config(name, {"compute.device": device}), ranks=ranks)
                    found[device] = read_rotations(self.workspace.output(name) / "rotation.h5")
                    expected = r"^device: CPU$" if device == "cpu" else r"^device: CPU \(.+\)$"
                    self.assertRegex(self.said_device(result), expected)
                    steps, _ = read_metrics(self.workspace.output(name))
                    self.assertEqual({step["device"] for step in steps}, {"cpu"})
                for auto, cpu in zip(found["auto"], found["cpu"]):
                    np.testing.assert_array_equal(auto, cpu)

    def test_auto_quantizes_and_evaluates_on_the_cpu_with_the_same_numbers(self):
        found = {device: self.quantize(device, {"compute.device": device, "weights.method": "gptq"})
                 for device in ("auto", "cpu")}
        self.assert_same_tensors(found["auto"][0], found["cpu"][0])
        self.assertEqual(found["auto"][1], found["cpu"][1])
        values = {device: self.evaluate(device, self.workspace.output("cpu"), {"compute.device": device})
                  for device in ("auto", "cpu")}
        self.assertEqual(values["auto"], values["cpu"])

    def test_a_run_may_be_resumed_with_another_device_key(self):
        config = self.workspace.config("run", {"optimizer.schedule": "constant", "compute.device": "cpu"})
        self.expect_success(config)
        result = self.expect_success(config, "--set", "compute.device=auto", "--set", "optimizer.steps=8")
        self.assertIn("resuming from", result.out)
        self.assertNotIn("bit for bit", result.out)  # the same device as before


if __name__ == "__main__":
    unittest.main()
