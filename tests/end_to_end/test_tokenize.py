"""tools/tokenize.py, and that spq-train takes what it writes."""
import hashlib
import os
import subprocess
import sys
import unittest
from pathlib import Path

import h5py
from tokenizers import Tokenizer

from spq_program import SpqTest

ROOT = Path(os.environ["SPQ_SOURCE_DIR"])
TOKENIZER = ROOT / "data/tiny-llama/tokenizer.json"
TEXT = "The first line, with numbers 1 2 3.\n\n = A heading = \nÜmläuts and <unk> words; 世界.\n"


class Tokenize(SpqTest):
    def setUp(self):
        super().setUp()
        self.text = self.workspace.folder / "text.txt"
        self.text.write_text(TEXT * 40, encoding="utf-8")
        self.out = self.workspace.folder / "tokens.h5"
        self.out.unlink(missing_ok=True)

    def tokenize(self, *arguments):
        return subprocess.run([sys.executable, str(ROOT / "tools/tokenize.py"), *map(str, arguments)],
                              capture_output=True, text=True, timeout=60)

    def tokens(self, *arguments):
        result = self.tokenize("--tokenizer", TOKENIZER, "--text", self.text, "--out", self.out, *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        with h5py.File(self.out) as file:
            return file["tokens"][:].tolist(), dict(file.attrs)

    def test_whole_text_decodes_back_and_names_its_tokenizer(self):
        ids, attributes = self.tokens()
        self.assertEqual(Tokenizer.from_file(str(TOKENIZER)).decode(ids), TEXT * 40)
        self.assertEqual(attributes["tokenizer_sha256"], hashlib.sha256(TOKENIZER.read_bytes()).hexdigest())
        self.assertEqual(attributes["vocab_size"], 512)
        self.assertEqual((attributes["layout"], attributes["bos"]), ("whole", -1))

    def test_lines_are_tokenized_one_by_one(self):
        ids, attributes = self.tokens("--mode", "lines")
        tokenizer = Tokenizer.from_file(str(TOKENIZER))
        expected = [i for line in (TEXT * 40).splitlines(keepends=True)
                    for i in tokenizer.encode(line, add_special_tokens=False).ids]
        self.assertEqual(ids, expected)
        self.assertEqual(attributes["layout"], "lines")

    def test_bos_comes_first(self):
        with_bos, attributes = self.tokens("--bos", "0")
        without, _ = self.tokens()
        self.assertEqual(with_bos, [0] + without)
        self.assertEqual(attributes["bos"], 0)

    def test_spq_train_takes_the_file(self):
        self.tokens()
        result = self.expect_success(ROOT / "configs/tiny-w16a4kv4.yaml", "--check", "--set", f"data.train={self.out}",
                                     "--set", "batch.sequence_length=64", cwd=ROOT)
        self.assertIn("fine", result.out)

    def test_errors_are_one_line_and_leave_no_file(self):
        empty = self.workspace.folder / "empty.txt"
        empty.write_text("\n")
        for tokenizer, text, words in ((TOKENIZER, self.workspace.folder / "missing.txt", "missing.txt"),
                                       (self.workspace.folder / "no.json", self.text, "no.json"),
                                       (self.text, self.text, "text.txt"), (TOKENIZER, empty, "empty.txt")):
            with self.subTest(words=words):
                result = self.tokenize("--tokenizer", tokenizer, "--text", text, "--out", self.out)
                self.assertEqual(result.returncode, 1)
                self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)
                self.assertIn(words, result.stderr)
                self.assertFalse(self.out.exists())


if __name__ == "__main__":
    unittest.main()
