"""Options of the command line, and progress on a terminal and elsewhere."""
import os
import pty
import subprocess
import unittest

from spq_fixture import files_below, read_rotations
from spq_program import TIMEOUT, SpqTest, command


class CommandLine(SpqTest):
    def test_check_writes_nothing(self):
        config = self.workspace.config("run")
        before = files_below(self.workspace.folder)
        for ranks in (None, 2):
            with self.subTest(ranks=ranks):
                result = self.expect_success(config, "--check", ranks=ranks, cwd=self.workspace.folder)
                self.assertIn("fine", result.out)
                self.assertEqual(files_below(self.workspace.folder), before)

    def test_set_changes_a_key(self):
        self.expect_success(self.workspace.config("run"), "--set", "optimizer.steps=2")
        self.assertEqual(read_rotations(self.workspace.output("run") / "rotation.h5")[2], 2)

    def output_on_a_terminal(self, config, ranks):
        """What a run writes when its standard output is a terminal."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(command([config], ranks), stdin=subprocess.DEVNULL, stdout=theirs)
        os.close(theirs)
        text = b""
        try:
            while piece := os.read(ours, 4096):
                text += piece
        except OSError:  # Linux says so when the other end is closed
            pass
        os.close(ours)
        self.assertEqual(process.wait(TIMEOUT), 0)
        return text.decode()

    def test_progress_is_one_line_on_a_terminal_and_plain_lines_elsewhere(self):
        for ranks in (None, 2):
            with self.subTest(ranks=ranks):
                plain = self.expect_success(self.workspace.config(f"plain-{ranks}"), ranks=ranks).out
                self.assertNotIn("\r", plain)
                self.assertEqual(sum(line.startswith("step ") for line in plain.splitlines()), 6)
                drawn = self.output_on_a_terminal(self.workspace.config(f"drawn-{ranks}"), ranks)
                self.assertIn("\rstep 5/6", drawn)

    def test_help_and_version_need_no_mpi(self):
        for flag, text in (("--help", "--check"), ("--version", "spq-train ")):
            with self.subTest(flag=flag):
                result = self.expect_success(flag)
                self.assertIn(text, result.out)

    def test_a_missing_argument_is_an_error(self):
        result = subprocess.run(command([], None), capture_output=True, text=True, timeout=60)
        self.assertGreater(result.returncode, 0)
        self.assertIn("config", result.stderr)


if __name__ == "__main__":
    unittest.main()
