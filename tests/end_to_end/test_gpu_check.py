"""launch/gpu_check.sh where there is no GPU: the refusal, and the whole script with the CPU in the GPU's place."""
import os
import subprocess
import sys
import unittest
from pathlib import Path

from spq_program import SpqTest

ROOT = Path(os.environ["SPQ_SOURCE_DIR"])
WITHIN = 240  # seconds


class GpuCheck(SpqTest):
    def setUp(self):
        super().setUp()
        self.report = self.workspace.folder / "report.md"
        # No tests are in this build folder: ctest would run inside ctest.
        self.build = self.workspace.folder / "build"
        self.build.mkdir()
        (self.build / "spq-train").symlink_to(os.environ["SPQ_TRAIN"])

    def check(self, *options, path=None):
        environment = os.environ | {"SPQ_PYTHON": sys.executable}
        if path is not None:
            environment["PATH"] = path
        return subprocess.run(["/bin/bash", ROOT / "launch" / "gpu_check.sh", "--build", self.build, "--out", self.report,
                               *options], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=WITHIN, check=False)

    def without_gpu(self):
        """A PATH that has an nvidia-smi which finds no driver."""
        folder = self.workspace.folder / "bin"
        folder.mkdir()
        (folder / "nvidia-smi").write_text("#!/bin/sh\necho 'No devices were found'\nexit 6\n")
        (folder / "nvidia-smi").chmod(0o755)
        return f"{folder}:{os.environ['PATH']}"

    def test_without_a_gpu_it_says_so_in_one_line_and_writes_nothing(self):
        done = self.check(path=self.without_gpu())
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"^gpu_check: no GPU here .*\n$")
        self.assertFalse(self.report.exists())

    def test_an_unknown_option_is_named(self):
        done = self.check("--gpu")
        self.assertEqual((done.returncode, done.stderr), (2, "gpu_check: unknown option '--gpu'\n"))

    def test_a_dry_run_passes_and_reports_what_it_was(self):
        done = self.check("--dry-run-on-cpu")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        report = self.report.read_text()
        self.assertIn("**Dry run: the CPU took the GPU's part.**", report)
        self.assertIn("| training against the CPU | pass | 10 steps |", report)
        self.assertIn("| gpu tests | not run |", report)
        self.assertRegex(report, r"\| R1 after 10 steps \| \S+ \| \S+ \| pass \|")
        self.assertEqual([path.name for path in self.workspace.folder.glob("report*")], ["report.md"])

    def test_a_run_that_goes_wrong_fails_the_check_with_its_message(self):
        (self.build / "spq-train").unlink()
        (self.build / "spq-train").write_text("#!/bin/sh\necho 'spq-train: error: out of paper' >&2\nexit 1\n")
        (self.build / "spq-train").chmod(0o755)
        done = self.check("--dry-run-on-cpu")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertRegex(self.report.read_text(), r"\| training against the CPU \| FAIL \| a run failed: ")
        self.assertIn("out of paper", self.report.read_text())


class CompareDevices(SpqTest):
    """tools/compare_devices.py on runs that are what they say, and on one that is not."""

    changes = {"checkpoint.every": 1, "checkpoint.keep": 20, "quant.activation.bits": 4}

    def setUp(self):
        super().setUp()
        self.heldout = {"data.heldout": str(self.workspace.tokens), "eval.every": 0}

    def learn(self, name, ranks, changes=None):
        config = self.workspace.config(name, self.changes | self.heldout | {"batch.sequences": 6} | (changes or {}))
        self.expect_success(config, ranks=ranks)
        return self.workspace.output(name)

    def compare(self, checked, cpu):
        return subprocess.run([sys.executable, ROOT / "tools" / "compare_devices.py", "--expect", "cpu", "--device", checked,
                               *cpu], capture_output=True, text=True, timeout=WITHIN, check=False)

    def test_refuses_a_run_that_learned_something_else(self):
        cpu = [self.learn("one", 1), self.learn("two", 2)]
        good = self.compare(self.learn("three", 3), cpu)
        self.assertEqual((good.returncode, good.stdout.count("FAIL")), (0, 0), good.stdout + good.stderr)
        for name, changes in (("steeper", {"optimizer.learning_rate": 2.0}), ("coarser", {"quant.activation.bits": 3})):
            bad = self.compare(self.learn(name, 1, changes), cpu)
            self.assertEqual(bad.returncode, 1, bad.stdout + bad.stderr)
            self.assertRegex(bad.stdout, r"R1 after the first step \| \S+ \| \S+ \| FAIL")

    def test_refuses_a_run_on_another_device_than_expected(self):
        cpu = [self.learn("one", 1), self.learn("two", 2)]
        done = subprocess.run([sys.executable, ROOT / "tools" / "compare_devices.py", "--device", cpu[1], *cpu],
                              capture_output=True, text=True, timeout=WITHIN, check=False)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("| cpu | cuda | FAIL |", done.stdout)


if __name__ == "__main__":
    unittest.main()
