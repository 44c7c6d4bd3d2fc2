"""Configurations of spq-ptq and spq-eval for a small model, and what they wrote."""
import json
import re

import numpy as np
from safetensors.numpy import load_file

from spq_program import SpqTest

FOUR_BITS = {point: {"bits": 4} for point in ("activation", "key", "value")}
HADAMARD = {"rotate.r1": "hadamard", "rotate.r2": "hadamard"}


def rotations_of(file):
    return {"rotate.r1": "file", "rotate.r2": "file", "rotate.file": str(file)}


def read_model(folder):
    """All tensors of a Hugging Face folder, each from the file that the index names."""
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return load_file(folder / "model.safetensors")
    files = json.loads(index.read_text())["weight_map"]
    loaded = {file: load_file(folder / file) for file in set(files.values())}
    return {name: loaded[file][name] for name, file in files.items()}


def perplexity(result):
    """What a program said last about perplexity."""
    return float(re.findall(r"^perplexity (\S+) of ", result.out, re.MULTILINE)[-1])


class PtqTest(SpqTest):
    """A test that quantizes the workspace's model: 61 tokens, two layers, 4 query and 2 key heads of 8."""

    def ptq_config(self, name, changes=None):
        """name.yaml of spq-ptq, whose output_dir is output(name)."""
        work = self.workspace
        tree = {
            "model": str(work.model),
            "output_dir": str(work.output(name)),
            "weights": {"method": "rtn", "bits": 4},
            "quant": FOUR_BITS,
            "calibration": {"tokens": str(work.tokens), "samples": 7, "sequence_length": 16},
            "eval": {"tokens": str(work.tokens), "sequence_length": 16, "sequences": 11, "micro_batch": 2},
            "compute": {"threads": 1},
        }
        return work.write_config(name, tree, changes)

    def eval_config(self, name, model, changes=None):
        """name.yaml of spq-eval, with the text of ptq_config."""
        tree = {"model": str(model), "tokens": str(self.workspace.tokens), "sequence_length": 16, "sequences": 11,
                "micro_batch": 2, "quant": FOUR_BITS, "compute": {"threads": 1}}
        return self.workspace.write_config(name, tree, changes)

    def quantize(self, name, changes=None, ranks=None):
        """(tensors, perplexity) of one run of spq-ptq."""
        result = self.expect_success(self.ptq_config(name, changes), ranks=ranks, program="spq-ptq")
        return read_model(self.workspace.output(name)), perplexity(result)

    def evaluate(self, name, model, changes=None, ranks=None):
        result = self.expect_success(self.eval_config(name, model, changes), ranks=ranks, program="spq-eval")
        return perplexity(result)

    def assert_same_tensors(self, first, second):
        self.assertEqual(sorted(first), sorted(second))
        for name in first:
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)
