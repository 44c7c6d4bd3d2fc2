"""Bad input of every kind, without MPI and on two ranks: one message that names it, and no hang."""
import json
import unittest

import numpy as np

from spq_fixture import MODEL, layer_name, random_tokens, write_model, write_tokens
from spq_program import SpqTest

BOTH = (None, 2)
LAST_VALUE = layer_name(1, "self_attn.v_proj")


class ErrorCase(SpqTest):
    def expect_refusal(self, config, *names):
        for ranks in BOTH:
            with self.subTest(ranks=ranks):
                self.expect_error(config, ranks=ranks, names=names)
        self.assertFalse((self.workspace.output("run") / "rotation.h5").exists())

    def config_of_model(self, change_weights=None, **changes):
        """A configuration with a model of its own."""
        self.bad_model = write_model(self.workspace.folder / "bad", change_config=changes,
                                     change_weights=change_weights)
        return self.workspace.config("run", {"model": str(self.bad_model)})


class ConfigErrors(ErrorCase):
    def text_config(self, text):
        path = self.workspace.config("run")
        path.write_text(path.read_text() + text)
        return path, len(path.read_text().splitlines())

    def test_malformed_yaml(self):
        path, line = self.text_config("eval: {every: 2\nfoo: ]\n")
        self.expect_refusal(path, f"{path}:{line}:", "malformed YAML")

    def test_missing_configuration(self):
        path = self.workspace.folder / "absent.yaml"
        self.expect_refusal(path, path, "No such file")

    def test_unknown_key_with_a_suggestion(self):
        path, line = self.text_config("rotation:\n  sed: 3\n")
        self.expect_refusal(path, f"{path}:{line}:", "unknown key rotation.sed", "did you mean rotation.seed?")

    def test_value_out_of_range(self):
        self.expect_refusal(self.workspace.config("run", {"quant.key.bits": 9}), "quant.key.bits", "'9'",
                            "2 to 8, or 16")

    def test_sequence_length_beyond_the_models_positions(self):
        config = self.workspace.config("run", {"batch.sequence_length": 65})
        self.expect_refusal(config, "batch.sequence_length is 65", "64", self.workspace.model)

    def test_group_size_that_does_not_divide(self):
        for key, size in (("activation", 5), ("key", 3), ("value", 6)):
            with self.subTest(key=key):
                config = self.workspace.config("run", {f"quant.{key}.group_size": size})
                self.expect_refusal(config, f"quant.{key}.group_size is {size}", "8" if key != "activation" else "32")


class ModelErrors(ErrorCase):
    def test_missing_folder(self):
        model = self.workspace.folder / "absent"
        self.expect_refusal(self.workspace.config("run", {"model": str(model)}), model, "No such file")

    def test_folder_without_weights(self):
        config = self.config_of_model()
        (self.bad_model / "model.safetensors").unlink()
        self.expect_refusal(config, self.bad_model, "model.safetensors")

    def test_truncated_weights(self):
        for cut in (100, -5):  # bytes off the end, or left over
            with self.subTest(cut=cut):
                model = write_model(self.workspace.folder / f"cut{cut}")
                file = model / "model.safetensors"
                file.write_bytes(file.read_bytes()[:-cut])
                self.expect_refusal(self.workspace.config("run", {"model": str(model)}), file)

    def test_malformed_config_json(self):
        config = self.config_of_model()
        (self.bad_model / "config.json").write_text('{"model_type": "llama",\n "hidden_size": }')
        self.expect_refusal(config, self.bad_model / "config.json", "not valid JSON", "line 2")

    def test_missing_tensor(self):
        config = self.config_of_model(lambda weights: weights.pop(LAST_VALUE))
        self.expect_refusal(config, self.bad_model, LAST_VALUE)

    def test_wrong_shape(self):
        def transpose(weights):
            weights[LAST_VALUE] = weights[LAST_VALUE].T

        config = self.config_of_model(transpose)
        self.expect_refusal(config, self.bad_model / "model.safetensors", LAST_VALUE, "[32, 16]", "[16, 32]")

    def test_bias_in_the_config(self):
        config = self.config_of_model(attention_bias=True)
        self.expect_refusal(config, self.bad_model / "config.json", "'attention_bias' is true")

    def test_another_architecture(self):
        config = self.config_of_model(model_type="mistral")
        self.expect_refusal(config, self.bad_model / "config.json", "'model_type' is \"mistral\"")

    def test_nan_in_a_weight_of_the_last_rank(self):
        def spoil(weights):
            weights[LAST_VALUE][-1, 3] = np.nan

        self.expect_refusal(self.config_of_model(spoil), self.bad_model / "model.safetensors", LAST_VALUE, "NaN")

    def test_bias_in_the_weights(self):
        def add(weights):
            weights["model.layers.0.self_attn.q_proj.bias"] = np.zeros(4, np.float32)

        self.expect_refusal(self.config_of_model(add), self.bad_model / "model.safetensors", "q_proj.bias", "biases")

    def test_weights_so_large_that_the_loss_overflows(self):
        def enlarge(name):
            def change(weights):
                weights[name][:] = 3e38

            return change

        for number, name in enumerate(("lm_head.weight", layer_name(0, "mlp.down_proj"), LAST_VALUE)):
            with self.subTest(tensor=name):
                model = write_model(self.workspace.folder / f"large{number}", change_weights=enlarge(name))
                self.expect_refusal(self.workspace.config("run", {"model": str(model)}), "step 1", "loss is")

    def test_held_out_loss_that_overflows(self):
        def enlarge(weights):
            weights["lm_head.weight"][:] = 3e38

        model = write_model(self.workspace.folder / "large", change_weights=enlarge)
        config = self.workspace.config("run", {"model": str(model), "data.heldout": str(self.workspace.tokens),
                                               "optimizer.steps": 0})
        self.expect_refusal(config, self.workspace.tokens, "held-out loss is")


class TokenErrors(ErrorCase):
    def config_of_tokens(self, name="bad.h5", **tokens):
        self.bad_tokens = write_tokens(self.workspace.folder / name, **tokens)
        return self.workspace.config("run", {"data.train": str(self.bad_tokens)})

    def test_missing_file(self):
        for key in ("data.train", "data.heldout"):
            with self.subTest(key=key):
                path = self.workspace.folder / "absent.h5"
                self.expect_refusal(self.workspace.config("run", {key: str(path)}), path)

    def test_not_a_token_file(self):
        path = self.workspace.folder / "text.h5"
        path.write_text("some text\n" * 100)
        self.expect_refusal(self.workspace.config("run", {"data.train": str(path)}), path)

    def test_larger_vocabulary_than_the_models(self):
        config = self.config_of_tokens(vocab=100)
        self.expect_refusal(config, self.bad_tokens, "100", str(MODEL["vocab_size"]), self.workspace.model)

    def test_token_outside_the_vocabulary_that_only_the_last_rank_reads(self):
        tokens = random_tokens()
        tokens[4 * 16 + 7] = 61  # in the last of the five sequences
        config = self.config_of_tokens(tokens=tokens)
        self.expect_refusal(config, self.bad_tokens, "token 71 has id 61", "vocabulary of 61")

    def test_too_few_tokens(self):
        config = self.config_of_tokens(tokens=random_tokens(count=15))
        self.expect_refusal(config, self.bad_tokens, "15", "batch.sequence_length is 16")

    def test_damaged_tokens(self):
        config = self.config_of_tokens()
        content = self.bad_tokens.read_bytes()
        place = content.index(random_tokens()[:64].tobytes()) + 200
        self.bad_tokens.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1:])
        self.expect_refusal(config, self.bad_tokens, "damaged")


class OutputErrors(ErrorCase):
    def test_output_dir_below_a_regular_file(self):
        file = self.workspace.folder / "file"
        file.write_text("")
        config = self.workspace.config("run", {"output_dir": str(file / "run")})
        self.expect_refusal(config, file / "run", "Not a directory")

    def test_output_dir_where_nothing_can_be_written(self):
        config = self.workspace.config("run", {"output_dir": "/proc/spq"})
        self.expect_refusal(config, "/proc/spq")

    def test_metrics_of_another_program_in_the_output_dir(self):
        output = self.workspace.output("run")
        output.mkdir()
        (output / "metrics.jsonl").write_text(json.dumps({"epoch": 3}) + "\n")
        self.expect_refusal(self.workspace.config("run"), f"{output / 'metrics.jsonl'}:1", "step")


if __name__ == "__main__":
    unittest.main()
