"""The true shapes of LLaMA-3-70B through the real programs: refused where they cannot fit, and one step in the memory
that was planned."""
import os
import re
import threading
import time
import unittest
from pathlib import Path

import numpy as np
import spq_program
from spq_fixture import read_metrics, read_rotations, random_tokens, write_tokens
from spq_program import SpqTest
from synthetic_model import MODELS, write_model

spq_program.TIMEOUT = 1800  # two true-size layers take minutes on two cores
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
RANKS = 4


def planned_bytes(output):
    """What one rank needs, from the first line of a run."""
    value, unit = re.search(r"one rank needs ([\d.]+) (\w+)", output).groups()
    return float(value) * UNITS[unit]


class MemoryWatch(threading.Thread):
    """The most memory that the ranks of a run had together, with what they share counted once."""

    def __init__(self, run):
        super().__init__(daemon=True)
        self.run_, self.peak = run, 0

    def run(self):
        while self.run_.process.poll() is None:
            total = 0
            for pid in self.run_.rank_pids():
                try:
                    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
                except OSError:  # ended meanwhile
                    continue
                total += sum(int(kib) for kib in re.findall(r"^Pss:\s+(\d+)", text, re.M))
            self.peak = max(self.peak, total * 1024)
            time.sleep(0.02)


class Scale(SpqTest):
    def config(self, name, model, vocab, changes):
        tokens = write_tokens(self.workspace.folder / f"{name}.h5", random_tokens(16384, vocab), vocab)
        settings = {"model": str(model), "output_dir": str(self.workspace.output(name)),
                    "quant": {"activation": {"bits": 4}, "key": {"bits": 4}, "value": {"bits": 4}},
                    "data": {"train": str(tokens)}, "compute": {"threads": 1}}
        return self.workspace.write_config(name, settings, changes)

    def step_within_plan(self, layers, changes, model_changes):
        """One step of four ranks on so many layers: the most they hold together is at most what was planned."""
        model_changes = model_changes | {"num_hidden_layers": layers}
        model = write_model(self.workspace.folder / "llama3-70b", "llama3-70b", model_changes, noise=True)
        config = self.config("step", model, model_changes["vocab_size"], {
            "optimizer.steps": 1, "batch.sequences": RANKS, "checkpoint.write_rbin": False} | changes)
        run = self.start([config], ranks=RANKS)
        watch = MemoryWatch(run)
        watch.start()
        result = run.wait()
        watch.join()
        self.assertEqual(result.status, 0, result.describe())
        planned = RANKS * planned_bytes(result.out)
        steps, _ = read_metrics(self.workspace.output("step"))
        self.assertEqual(len(steps), 1)
        print(f"{steps[0]['seconds']:.1f} s for the step; {RANKS} ranks planned {planned / 2**30:.2f} GiB, "
              f"found {watch.peak / 2**30:.2f} GiB", flush=True)
        if not os.environ.get("SPQ_SANITIZED"):
            self.assertLessEqual(watch.peak, planned, result.out)
            self.assertGreater(watch.peak, planned / 2, "the plan is far from what happens")
        r1, _, _ = read_rotations(self.workspace.output("step") / "rotation.h5")
        products = r1[:64].astype(np.float64) @ r1.astype(np.float64).T
        np.testing.assert_allclose(products, np.eye(64, len(r1)), atol=1e-5)

    def test_an_eighth_of_the_width_and_the_whole_vocabulary_stay_in_the_plan(self):
        sizes = {key: MODELS["llama3-70b"][key] // 8 for key in ("hidden_size", "intermediate_size")}
        heads = {"num_attention_heads": 8, "num_key_value_heads": 1, "vocab_size": 128256}
        self.step_within_plan(8, {"batch.sequence_length": 256}, sizes | heads)

    @unittest.skipUnless(os.environ.get("SPQ_SCALE_FULL"), "takes minutes and 14 GiB: SPQ_SCALE_FULL=1")
    def test_two_layers_of_the_true_size_stay_in_the_plan(self):
        self.step_within_plan(2, {"batch.sequence_length": 64}, {"vocab_size": 8192})

    def test_a_run_that_cannot_fit_is_refused_before_a_weight_is_read(self):
        model = write_model(self.workspace.folder / "llama3-70b")
        config = self.config("refused", model, 128256, {
            "batch.sequences": 4096, "batch.micro_batch": 4096, "batch.sequence_length": 8192})
        for ranks in (None, RANKS):
            self.expect_error(config, ranks=ranks, names=["need", "available", "batch.micro_batch 1"])
        self.assertFalse(self.workspace.output("refused").exists())


if __name__ == "__main__":
    unittest.main()
