"""tools/ptq_table.py: every cell once, also when it is started again."""
import csv
import os
import subprocess
import sys
import unittest
from pathlib import Path

from spq_ptq import PtqTest

ROOT = Path(os.environ["SPQ_SOURCE_DIR"])
COLUMNS = ["4-16-16", "4-4-16", "4-4-4"]
RANDOM = ["QuaRot+RTN", "QuaRot+GPTQ", "QuaRot+GPTAQ"]
FIXED = ["full precision", "RTN", "GPTQ", "SpinQuant+RTN", "SpinQuant+GPTQ", "SpinQuant+GPTAQ"]


class PtqTable(PtqTest):
    def setUp(self):
        super().setUp()
        self.expect_success(self.workspace.config("learned", {"optimizer.steps": 1}))
        self.ptq = self.ptq_config("ptq")
        self.eval = self.eval_config("eval", self.workspace.model, {f"quant.{point}.bits": 16 for point in
                                                                    ("activation", "key", "value")})
        self.programs = self.workspace.folder / "programs"
        self.programs.mkdir()
        for program in ("SPQ_PTQ", "SPQ_EVAL"):
            (self.programs / Path(os.environ[program]).name).symlink_to(os.environ[program])

    def make_table(self, *arguments, launcher=""):
        return subprocess.run(
            [sys.executable, ROOT / "tools/ptq_table.py", "--ptq", self.ptq, "--eval", self.eval, "--rotation",
             self.workspace.output("learned") / "rotation.h5", "--out", self.workspace.output("table"), "--build",
             self.programs, "--launcher", launcher, *arguments], capture_output=True, text=True, timeout=300)

    def cells(self):
        with open(self.workspace.output("table") / "table.csv", newline="") as file:
            return {(row["method"], row["bits"], int(row["seed"])): float(row["perplexity"])
                    for row in csv.DictReader(file)}

    def test_every_cell_is_measured_once(self):
        first = self.make_table()
        self.assertEqual(first.returncode, 0, first.stderr)
        cells = self.cells()
        self.assertEqual(set(cells), {(name, bits, 0) for name in FIXED + RANDOM for bits in COLUMNS})
        self.assertTrue(all(value > 1 for value in cells.values()))
        output = self.workspace.output("table")
        self.assertIn("| QuaRot+GPTAQ | ", (output / "table.md").read_text())
        self.assertEqual(sorted(path.name for path in output.iterdir()),
                         ["settings.sha256", "table.csv", "table.md", "table.png"])

        again = self.make_table(launcher="false")  # no program can run, and none has to
        self.assertEqual((again.returncode, again.stdout), (0, first.stdout), again.stderr)

        path = output / "table.csv"  # as a run leaves it that is killed before its last cell
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
        result = self.make_table()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.cells(), cells)

        more = self.make_table("--seeds", "2")
        self.assertEqual(more.returncode, 0, more.stderr)
        self.assertEqual(set(self.cells()) - set(cells), {(name, bits, 1) for name in RANDOM for bits in COLUMNS})
        self.assertIn(" to ", more.stdout)

        self.ptq.write_text(self.ptq.read_text() + "threads: 1\n")
        refused = self.make_table()
        self.assertEqual(refused.returncode, 1)
        self.assertIn("other settings", refused.stderr)

    def test_a_program_that_fails_ends_the_table_with_its_message(self):
        self.workspace.tokens.unlink()
        result = self.make_table()
        self.assertEqual(result.returncode, 1)
        self.assertIn(str(self.workspace.tokens), result.stderr)


if __name__ == "__main__":
    unittest.main()
