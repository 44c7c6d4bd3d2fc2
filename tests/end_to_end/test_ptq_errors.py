"""Bad input of every kind to spq-ptq and spq-eval, without MPI and on two ranks: one line that names it, no hang,
nothing that looks like a model."""
import hashlib
import json
import shutil
import unittest
import zipfile

import h5py
import numpy as np

from spq_fixture import layer_name, random_tokens, write_model, write_tokens
from spq_ptq import HADAMARD, PtqTest, rotations_of

BOTH = (None, 2)


class PtqErrorCase(PtqTest):
    def expect_refusal(self, config, *names):
        """Refused before anything is written."""
        before = self.contents()
        for ranks in BOTH:
            with self.subTest(ranks=ranks):
                self.expect_error(config, ranks=ranks, names=names, program="spq-ptq")
                self.assertEqual(self.contents(), before)

    def expect_refused_evaluation(self, config, *names):
        for ranks in BOTH:
            with self.subTest(ranks=ranks):
                self.expect_error(config, ranks=ranks, names=names, program="spq-eval")

    def contents(self):
        """Every file and folder of the workspace, with a digest of the files."""
        return {str(path): path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest()
                for path in self.workspace.folder.rglob("*")}


class ConfigErrors(PtqErrorCase):
    def test_unknown_key_names_the_nearest(self):
        self.expect_refusal(self.ptq_config("run", {"weights.bit": 4}), "unknown key weights.bit",
                            "did you mean weights.bits?")
        self.expect_refused_evaluation(self.eval_config("eval", self.workspace.model, {"sequnces": 2}),
                                       "unknown key sequnces", "did you mean sequences?")

    def test_unknown_method_names_the_known_ones(self):
        self.expect_refusal(self.ptq_config("run", {"weights.method": "awq"}), "weights.method", "'awq'", "gptaq", "rtn")

    def test_missing_calibration_tokens(self):
        self.expect_refusal(self.ptq_config("run", {"weights.method": "gptq", "calibration.tokens": ""}),
                            "calibration.tokens")
        absent = self.workspace.folder / "absent.h5"
        self.expect_refusal(self.ptq_config("run", {"weights.method": "gptq", "calibration.tokens": str(absent)}), absent)

    def test_group_size_that_does_not_divide(self):
        self.expect_refusal(self.ptq_config("run", {"weights.group_size": 5}), "weights.group_size", "5", "32")
        self.expect_refusal(self.ptq_config("run", {"weights.group_size": 32}), "weights.group_size", "32", "48")

    def test_group_size_of_activations_that_does_not_divide(self):
        for key, size in (("activation", 5), ("key", 3), ("value", 6)):
            with self.subTest(key=key):
                name = f"quant.{key}.group_size"
                size_of_row = "8" if key != "activation" else "32"
                self.expect_refusal(self.ptq_config("run", {name: size}), name, size, size_of_row)
                self.expect_refused_evaluation(self.eval_config("eval", self.workspace.model, {name: size}), name, size,
                                               size_of_row)


class RotationErrors(PtqErrorCase):
    def rotations_of_model(self, **changes):
        other = write_model(self.workspace.folder / "other", change_config=changes)
        self.expect_success(self.workspace.config("trained", {"optimizer.steps": 1, "model": str(other)}))
        return self.workspace.output("trained")

    def test_rotation_of_a_model_of_another_hidden_size(self):
        trained = self.rotations_of_model(hidden_size=64)
        for file in ("rotation.h5", "R.bin"):
            with self.subTest(file=file):
                self.expect_refusal(self.ptq_config("run", rotations_of(trained / file)), trained / file, "64", "32")

    def test_rotation_of_a_model_with_another_number_of_layers(self):
        trained = self.rotations_of_model(num_hidden_layers=3)
        for file, names in (("rotation.h5", ("3", "2")), ("R.bin", ("model.layers.2.self_attn.R2", "2 layers"))):
            with self.subTest(file=file):
                self.expect_refusal(self.ptq_config("run", rotations_of(trained / file)), trained / file, *names)

    def test_rotation_of_a_model_with_another_head_size(self):
        trained = self.rotations_of_model(num_attention_heads=8)
        for file in ("rotation.h5", "R.bin"):
            with self.subTest(file=file):
                self.expect_refusal(self.ptq_config("run", rotations_of(trained / file)), trained / file, "R2", "4", "8")

    def test_missing_and_damaged_files(self):
        absent = self.workspace.folder / "absent.h5"
        self.expect_refusal(self.ptq_config("run", rotations_of(absent)), absent)
        trained = self.rotations_of_model()
        for file in ("rotation.h5", "R.bin"):
            with self.subTest(file=file):
                content = (trained / file).read_bytes()
                (trained / file).write_bytes(content[:len(content) // 2])
                self.expect_refusal(self.ptq_config("run", rotations_of(trained / file)), trained / file)

    def r_bin_with(self, change):
        """An R.bin of this model whose R1 `change` altered in place."""
        trained = self.rotations_of_model()
        with h5py.File(trained / "rotation.h5") as file:
            r1 = file["R1"][()]
        changed = r1.copy()
        change(changed)
        path = trained / "changed.bin"
        with zipfile.ZipFile(trained / "R.bin") as source, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
            for entry in source.namelist():
                target.writestr(entry, source.read(entry).replace(r1.tobytes(), changed.tobytes()))
        return path

    def test_r1_that_is_not_orthogonal(self):
        def stretch(r1):
            r1 *= 1.01

        path = self.r_bin_with(stretch)
        self.expect_refusal(self.ptq_config("run", rotations_of(path)), path, "R1")

    def test_r1_with_nan(self):
        def spoil(r1):
            r1[3, 4] = np.nan

        path = self.r_bin_with(spoil)
        self.expect_refusal(self.ptq_config("run", rotations_of(path)), path, "R1")


class TokenErrors(PtqErrorCase):
    def refuse_tokens(self, path, *names):
        self.expect_refusal(self.ptq_config("run", {"weights.method": "gptq", "calibration.tokens": str(path)}), path,
                            *names)
        self.expect_refusal(self.ptq_config("run", {"eval.tokens": str(path)}), path, *names)
        self.expect_refused_evaluation(self.eval_config("eval", self.workspace.model, {"tokens": str(path)}), path, *names)

    def test_tokens_of_another_vocabulary(self):
        self.refuse_tokens(write_tokens(self.workspace.folder / "other.h5", vocab=100), "100", "61")

    def test_text_shorter_than_a_window(self):
        path = write_tokens(self.workspace.folder / "short.h5", random_tokens(count=15))
        self.refuse_tokens(path, "15 tokens", "16")

    def test_windows_longer_than_the_model_has_positions(self):
        for key in ("calibration.sequence_length", "eval.sequence_length"):
            with self.subTest(key=key):
                self.expect_refusal(self.ptq_config("run", {"weights.method": "gptq", key: 65}), "65", "64",
                                    self.workspace.model)

    def test_not_a_token_file(self):
        path = self.workspace.folder / "text.h5"
        path.write_text("some text\n" * 100)
        self.refuse_tokens(path)

    def test_a_second_bos(self):
        path = write_tokens(self.workspace.folder / "bos.h5", np.array([1] + [5] * 63, np.uint32))
        changes = {"tokens": str(path), "bos": "each_window", "bos_id": 1}
        self.expect_refused_evaluation(self.eval_config("eval", self.workspace.model, changes), path, "begins with token 1")

    def test_a_model_without_bos(self):
        config = self.eval_config("eval", self.workspace.model, {"bos": "each_window"})
        self.expect_refused_evaluation(config, self.workspace.model / "config.json", "bos_token_id", "missing")
        config = self.eval_config("eval", self.workspace.model, {"bos": "each_window", "bos_id": 61})
        self.expect_refused_evaluation(config, "bos_id is 61", "61")


class ModelErrors(PtqErrorCase):
    def spoiled(self, name, value, **changes):
        def spoil(weights):
            weights[name][-1, 3] = value

        return write_model(self.workspace.folder / "bad", change_config=changes, change_weights=spoil)

    def expect_unfinished(self, model, *names):
        """Refused while it runs: what it leaves is not taken for a model."""
        for ranks in BOTH:
            with self.subTest(ranks=ranks):
                name = f"run-{ranks}"
                config = self.ptq_config(name, {"model": str(model)} | HADAMARD)
                self.expect_error(config, ranks=ranks, names=names, program="spq-ptq")
                output = self.workspace.output(name)
                self.assertFalse((output / "config.json").exists())
                config = self.eval_config("eval", output)
                self.expect_error(config, ranks=ranks, names=[output], program="spq-eval")

    def test_nan_in_a_weight_of_a_middle_layer(self):
        for part in ("self_attn.v_proj", "mlp.down_proj"):
            with self.subTest(part=part):
                model = self.spoiled(layer_name(1, part), np.nan, num_hidden_layers=3)
                self.expect_unfinished(model, model / "model.safetensors", layer_name(1, part), "NaN")
                self.clear("bad", "run-None", "run-2")

    def clear(self, *names):
        for name in names:
            shutil.rmtree(self.workspace.folder / name)

    def test_nan_in_the_embedding_and_the_head(self):
        for tensor in ("model.embed_tokens.weight", "lm_head.weight"):
            with self.subTest(tensor=tensor):
                model = self.spoiled(tensor, np.nan)
                self.expect_unfinished(model, model / "model.safetensors", tensor, "NaN")
                self.clear("bad", "run-None", "run-2")

    def test_truncated_weights(self):
        for cut in (100, -5):  # bytes off the end, or left over
            with self.subTest(cut=cut):
                model = write_model(self.workspace.folder / f"cut{cut}")
                file = model / "model.safetensors"
                file.write_bytes(file.read_bytes()[:-cut])
                self.expect_refusal(self.ptq_config("run", {"model": str(model)}), file)
                self.expect_refused_evaluation(self.eval_config("eval", model), file)

    def test_missing_model(self):
        absent = self.workspace.folder / "absent"
        self.expect_refusal(self.ptq_config("run", {"model": str(absent)}), absent, "No such file")
        self.expect_refused_evaluation(self.eval_config("eval", absent), absent, "No such file")


class OutputErrors(PtqErrorCase):
    def test_a_folder_that_holds_something_is_left_alone(self):
        for file in ("notes.txt", "model.safetensors", "config.json"):
            with self.subTest(file=file):
                output = self.workspace.output(f"with-{file}")
                output.mkdir()
                (output / file).write_text("mine")
                self.expect_refusal(self.ptq_config(f"with-{file}"), output)

    def test_a_finished_model_is_not_written_again(self):
        config = self.ptq_config("run", HADAMARD)
        self.expect_success(config, program="spq-ptq")
        self.expect_refusal(config, self.workspace.output("run"))

    def test_output_below_a_regular_file(self):
        file = self.workspace.folder / "file"
        file.write_text("")
        self.expect_refusal(self.ptq_config("run", {"output_dir": str(file / "run")}), file / "run")

    def test_a_quantized_model_is_not_quantized_again(self):
        self.quantize("first", HADAMARD)
        first = self.workspace.output("first")
        self.expect_refusal(self.ptq_config("second", {"model": str(first)}), first, "already quantized", "rtn")

    def test_a_rotated_model_is_not_rotated_again_and_keeps_its_r4(self):
        self.quantize("first", HADAMARD | {"weights.method": "none"})
        first = self.workspace.output("first")
        self.expect_refusal(self.ptq_config("second", {"model": str(first)} | HADAMARD), first, "rotated twice", "rotate.r1")
        self.expect_refusal(self.ptq_config("second", {"model": str(first), "rotate.r4": "identity"}), first, "rotate.r4")
        self.expect_refused_evaluation(self.eval_config("eval", first, {"rotate.r4": "identity"}), first, "R4")

    def test_a_damaged_manifest_is_refused(self):
        self.quantize("first", HADAMARD | {"weights.method": "none"})
        manifest = self.workspace.output("first") / "spq_manifest.json"
        text = json.loads(manifest.read_text())
        manifest.write_text(json.dumps(text | {"surprise": 1}))
        self.expect_refusal(self.ptq_config("second", {"model": str(manifest.parent)}), manifest, "surprise")
        self.expect_refused_evaluation(self.eval_config("eval", manifest.parent), manifest, "surprise")


if __name__ == "__main__":
    unittest.main()
