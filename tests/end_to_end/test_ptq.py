"""spq-ptq and spq-eval from a model folder to a quantized one: ranks, rotations, two steps, what is written."""
import json
import os
import unittest
from pathlib import Path

import numpy as np

from spq_fixture import MODEL, files_below, layer_name, random_weights, read_rotations
from spq_ptq import HADAMARD, PtqTest, perplexity, rotations_of

EMBEDDED = Path(os.environ["SPQ_SOURCE_DIR"]) / "data" / "tiny-llama"
PROJECTIONS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj",
               "mlp.up_proj", "mlp.down_proj")
RANKS = (1, 2, 3)
UNQUANTIZED = {f"quant.{point}.bits": 16 for point in ("activation", "key", "value")}


def flipped(first, second):
    """The part of the projections' weights that differ."""
    names = [layer_name(layer, part) for layer in range(2) for part in PROJECTIONS]
    differ = sum(np.count_nonzero(first[name] != second[name]) for name in names)
    return differ / sum(first[name].size for name in names)


class Ranks(PtqTest):
    def test_rounding_gives_the_same_bits_and_perplexity_on_every_number_of_ranks(self):
        alone, value = self.quantize("alone", HADAMARD)
        self.assertGreater(value, 1)
        for ranks in RANKS:
            with self.subTest(ranks=ranks):
                tensors, split = self.quantize(f"ranks-{ranks}", HADAMARD, ranks)
                self.assert_same_tensors(tensors, alone)
                self.assertAlmostEqual(split, value, delta=2e-4)

    def test_gptq_and_gptaq_agree_on_every_number_of_ranks(self):
        # Sums of Hessians in another order move a weight across a rounding threshold now and then.
        for method in ("gptq", "gptaq"):
            changes = HADAMARD | {"weights.method": method}
            alone, value = self.quantize(f"{method}-alone", changes)
            for ranks in RANKS:
                with self.subTest(method=method, ranks=ranks):
                    tensors, split = self.quantize(f"{method}-{ranks}", changes, ranks)
                    self.assertLessEqual(flipped(tensors, alone), 2e-3)
                    self.assertAlmostEqual(split / value, 1, delta=1e-3)

    def test_the_same_run_twice_gives_the_same_bits(self):
        changes = HADAMARD | {"weights.method": "gptaq"}
        self.assert_same_tensors(self.quantize("first", changes, 2)[0], self.quantize("second", changes, 2)[0])

    def test_spq_eval_repeats_what_spq_ptq_found_on_every_number_of_ranks(self):
        _, value = self.quantize("rounded", HADAMARD)
        for ranks in (None, *RANKS):
            with self.subTest(ranks=ranks):
                again = self.evaluate(f"eval-{ranks}", self.workspace.output("rounded"), ranks=ranks)
                self.assertAlmostEqual(again, value, delta=2e-4)

    def test_more_ranks_than_windows_and_samples(self):
        changes = HADAMARD | {"weights.method": "gptq", "calibration.samples": 2, "eval.sequences": 1}
        alone, value = self.quantize("alone", changes)
        tensors, split = self.quantize("three", changes, 3)
        self.assertLessEqual(flipped(tensors, alone), 2e-3)
        self.assertAlmostEqual(split / value, 1, delta=1e-3)

    def test_only_rank_0_speaks(self):
        alone = self.expect_success(self.ptq_config("alone"), program="spq-ptq").out.splitlines()
        three = self.expect_success(self.ptq_config("three"), ranks=3, program="spq-ptq").out.splitlines()
        self.assertEqual(len(three), len(alone))


class LearnedRotations(PtqTest):
    def setUp(self):
        super().setUp()
        self.expect_success(self.workspace.config("learned"), ranks=2)
        self.learned = self.workspace.output("learned")

    def test_rotation_h5_and_r_bin_give_the_same_model(self):
        from_h5, value = self.quantize("h5", rotations_of(self.learned / "rotation.h5"))
        for ranks in (None, 2):
            with self.subTest(ranks=ranks):
                from_rbin, other = self.quantize(f"rbin-{ranks}", rotations_of(self.learned / "R.bin"), ranks)
                self.assert_same_tensors(from_rbin, from_h5)
                self.assertAlmostEqual(other, value, delta=2e-4)

    def test_the_learned_rotation_is_the_one_that_is_merged(self):
        merged, _ = self.quantize("merged", rotations_of(self.learned / "rotation.h5") | {"weights.method": "none"})
        r1, r2, _ = read_rotations(self.learned / "rotation.h5")
        original = random_weights(MODEL)
        for layer in range(2):
            gamma = original[layer_name(layer, "input_layernorm")]
            query = (original[layer_name(layer, "self_attn.q_proj")] * gamma) @ r1
            np.testing.assert_allclose(merged[layer_name(layer, "self_attn.q_proj")], query, rtol=0, atol=1e-5)
            value = (original[layer_name(layer, "self_attn.v_proj")] * gamma) @ r1
            heads = value.reshape(2, 8, 32).transpose(0, 2, 1) @ r2[layer]
            np.testing.assert_allclose(merged[layer_name(layer, "self_attn.v_proj")],
                                       heads.transpose(0, 2, 1).reshape(16, 32), rtol=0, atol=1e-5)

    def test_the_r_bin_beside_the_model_is_the_rotation_that_went_in(self):
        first, _ = self.quantize("first", rotations_of(self.learned / "rotation.h5"))
        again, _ = self.quantize("again", rotations_of(self.workspace.output("first") / "R.bin"))
        self.assert_same_tensors(again, first)

    def test_an_unquantized_rotated_model_is_the_same_function(self):
        original = self.evaluate("original", self.workspace.model, UNQUANTIZED)
        for name, rotation in (("learned", rotations_of(self.learned / "rotation.h5")), ("hadamard", HADAMARD)):
            with self.subTest(rotation=name):
                _, value = self.quantize(f"merged-{name}", UNQUANTIZED | rotation | {"weights.method": "none"})
                self.assertAlmostEqual(value / original, 1, delta=1e-4)


class TwoSteps(PtqTest):
    def test_transforming_and_then_quantizing_is_what_one_run_does(self):
        self.quantize("transformed", HADAMARD | {"weights.method": "none"})
        for method in ("rtn", "gptq"):
            with self.subTest(method=method):
                one, value = self.quantize(f"{method}-one", HADAMARD | {"weights.method": method})
                second = {"model": str(self.workspace.output("transformed")), "weights.method": method}
                two, other = self.quantize(f"{method}-two", second)
                self.assert_same_tensors(two, one)
                self.assertAlmostEqual(other, value, delta=2e-4)


class Written(PtqTest):
    def test_a_hugging_face_model_with_the_original_names_and_shapes(self):
        for ranks in (None, 3):
            with self.subTest(ranks=ranks):
                name = f"run-{ranks}"
                tensors, _ = self.quantize(name, HADAMARD, ranks)
                output = self.workspace.output(name)
                self.assertEqual({key: value.shape for key, value in tensors.items()},
                                 {key: value.shape for key, value in random_weights(MODEL).items()})
                self.assertTrue(all(np.isfinite(value).all() for value in tensors.values()))
                config = json.loads((output / "config.json").read_text())
                self.assertEqual(config, MODEL)
                self.assertEqual([file for file in files_below(output) if "tmp" in file or "unfinished" in file], [])

    def test_every_row_of_a_projection_has_at_most_16_values(self):
        tensors, _ = self.quantize("run", HADAMARD)
        for layer in range(2):
            for part in PROJECTIONS:
                rows = tensors[layer_name(layer, part)]
                self.assertLessEqual(max(len(np.unique(row)) for row in rows), 16, part)
                self.assertGreater(max(len(np.unique(row)) for row in rows), 4, part)

    def test_the_embedded_model_at_4_bits_follows_the_order_of_the_papers(self):
        text = {"model": str(EMBEDDED), "calibration.tokens": str(EMBEDDED / "tokens-train.h5"),
                "calibration.samples": 16, "calibration.sequence_length": 128, "eval.micro_batch": 8,
                "eval.tokens": str(EMBEDDED / "tokens-heldout.h5"), "eval.sequence_length": 128, "eval.sequences": 40}
        found = {}
        for name, changes in (("plain", {}), ("rtn", HADAMARD), ("gptq", HADAMARD | {"weights.method": "gptq"})):
            result = self.expect_success(self.ptq_config(name, text | changes), ranks=2, program="spq-ptq")
            found[name] = perplexity(result)
        self.assertLess(found["rtn"], 0.6 * found["plain"])
        self.assertLess(found["gptq"], found["rtn"])

    def test_the_tokenizer_goes_along(self):
        self.expect_success(self.ptq_config("run", HADAMARD | {"model": str(EMBEDDED), "eval.tokens": ""}),
                            program="spq-ptq")
        for file in ("tokenizer.json", "tokenizer_config.json"):
            self.assertEqual((self.workspace.output("run") / file).read_bytes(), (EMBEDDED / file).read_bytes())

    def test_check_writes_nothing(self):
        config = self.ptq_config("run", HADAMARD)
        evaluation = self.eval_config("eval", self.workspace.model)
        before = files_below(self.workspace.folder)
        for ranks in (None, 2):
            for program, file in (("spq-ptq", config), ("spq-eval", evaluation)):
                with self.subTest(ranks=ranks, program=program):
                    result = self.expect_success(file, "--check", ranks=ranks, program=program)
                    self.assertIn("fine", result.out)
                    self.assertEqual(files_below(self.workspace.folder), before)


if __name__ == "__main__":
    unittest.main()
