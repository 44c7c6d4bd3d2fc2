"""tools/tokenize.py, and that spq-train takes what it writes."""
import gzip
import hashlib
import json
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

    def expect_text(self, ids, text):
        self.assertEqual(ids, Tokenizer.from_file(str(TOKENIZER)).encode(text, add_special_tokens=False).ids)

    def test_wikitext2_joins_the_rows_of_the_hugging_face_data_set(self):
        self.text.write_text(" \n = Title = \n \n Some words . \n", encoding="utf-8")
        ids, attributes = self.tokens("--layout", "wikitext2")
        self.expect_text(ids, "\n\n = Title = \n\n\n\n\n Some words . \n")
        self.assertEqual(attributes["layout"], "wikitext2, whole")
        ids, _ = self.tokens("--layout", "wikitext2", "--mode", "lines")
        tokenizer = Tokenizer.from_file(str(TOKENIZER))
        self.assertEqual(ids, sum((tokenizer.encode(row, add_special_tokens=False).ids
                                   for row in (" = Title = \n", " Some words . \n")), []))

    def test_ptb_joins_sentences_by_a_blank(self):
        self.text.write_text(" mr. <unk> is chairman \n the n million \n", encoding="utf-8")
        ids, _ = self.tokens("--layout", "ptb")
        self.expect_text(ids, "mr. <unk> is chairman the n million")

    def write_documents(self, texts, compress):
        self.text = self.workspace.folder / ("c4.json.gz" if compress else "c4.json")
        content = "".join(json.dumps({"url": "-", "text": text}) + "\n" for text in texts).encode()
        self.text.write_bytes(gzip.compress(content) if compress else content)

    def test_c4_joins_the_first_documents_by_a_blank(self):
        texts = [f"Document {i}.\nSecond line, ü." for i in range(1103)]
        for compress in (False, True):
            with self.subTest(compress=compress):
                self.write_documents(texts, compress)
                for arguments, count in (((), 1100), (("--documents", 0), 1103), (("--documents", 3), 3)):
                    ids, _ = self.tokens("--layout", "c4", *arguments)
                    self.expect_text(ids, " ".join(texts[:count]))

    def test_files_of_a_layout_form_one_text(self):
        other = self.workspace.folder / "other.txt"
        other.write_text("three four\n")
        self.text.write_text("one two\n")
        ids, _ = self.tokens("--layout", "ptb", "--text", self.text, other)
        self.expect_text(ids, "one two three four")

    def test_spq_train_takes_the_file(self):
        self.tokens()
        result = self.expect_success(ROOT / "configs/tiny-w16a4kv4.yaml", "--check", "--set", f"data.train={self.out}",
                                     "--set", "batch.sequence_length=64", cwd=ROOT)
        self.assertIn("fine", result.out)

    def test_errors_are_one_line_and_leave_no_file(self):
        empty = self.workspace.folder / "empty.txt"
        empty.write_text("\n")
        latin = self.workspace.folder / "latin.txt"
        latin.write_bytes(b"one\nf\xfcr\n")
        documents = self.workspace.folder / "documents.json"
        documents.write_text('{"text": "one"}\n{"url": "two"}\n')
        cut = self.workspace.folder / "cut.json.gz"
        cut.write_bytes(gzip.compress(b'{"text": "one"}\n' * 999)[:40])
        for tokenizer, text, layout, words in (
                (TOKENIZER, self.workspace.folder / "missing.txt", "plain", "missing.txt"),
                (self.workspace.folder / "no.json", self.text, "plain", "no.json"),
                (self.text, self.text, "plain", "text.txt"), (TOKENIZER, empty, "plain", "empty.txt"),
                (TOKENIZER, latin, "wikitext2", "latin.txt:2"), (TOKENIZER, documents, "c4", "documents.json:2"),
                (TOKENIZER, self.text, "c4", "text.txt:1"), (TOKENIZER, cut, "c4", "cut.json.gz")):
            with self.subTest(words=words):
                result = self.tokenize("--tokenizer", tokenizer, "--text", text, "--out", self.out, "--layout", layout)
                self.assertEqual(result.returncode, 1)
                self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)
                self.assertIn(words, result.stderr)
                self.assertFalse(self.out.exists())

    def test_documents_is_refused_where_it_has_no_effect(self):
        result = self.tokenize("--tokenizer", TOKENIZER, "--text", self.text, "--out", self.out, "--documents", 3)
        self.assertEqual(result.returncode, 1)
        self.assertIn("--documents", result.stderr)


if __name__ == "__main__":
    unittest.main()
