"""Small models, token files and configurations for the end-to-end tests, written from scratch into a folder."""
import copy
import json
import struct
from pathlib import Path

try:
    import h5py
    import numpy as np
except ModuleNotFoundError as error:
    raise SystemExit(f"end-to-end tests: this Python has no {error.name}; tests/run.sh installs one that has") from None

MODEL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 61,  # a prime: rows never split evenly over ranks
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": False,
}


def layer_name(layer, part):
    return f"model.layers.{layer}.{part}.weight"


def random_weights(config, seed=0):
    """Tensors of a LLaMA with these sizes, fp32, by their Hugging Face names."""
    rng = np.random.default_rng(seed)
    hidden, mlp, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    key_value = hidden * config["num_key_value_heads"] // config["num_attention_heads"]

    def matrix(rows, columns):
        return (rng.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)

    def gamma():
        return (1 + 0.1 * rng.standard_normal(hidden)).astype(np.float32)

    weights = {"model.embed_tokens.weight": matrix(vocab, hidden)}
    for layer in range(config["num_hidden_layers"]):
        shapes = {"self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (key_value, hidden),
                  "self_attn.v_proj": (key_value, hidden), "self_attn.o_proj": (hidden, hidden),
                  "mlp.gate_proj": (mlp, hidden), "mlp.up_proj": (mlp, hidden), "mlp.down_proj": (hidden, mlp)}
        weights |= {layer_name(layer, part): matrix(*shape) for part, shape in shapes.items()}
        weights |= {layer_name(layer, part): gamma() for part in ("input_layernorm", "post_attention_layernorm")}
    weights["model.norm.weight"] = gamma()
    weights["lm_head.weight"] = matrix(vocab, hidden)
    return weights


def write_safetensors(path, weights, dtype="F32"):
    header, parts, end = {}, [], 0
    for name, value in weights.items():
        data = np.ascontiguousarray(value, dtype=np.float32)
        if dtype == "BF16":
            data = (data.view(np.uint32) >> 16).astype(np.uint16)
        begin, end = end, end + data.nbytes
        header[name] = {"dtype": dtype, "shape": list(value.shape), "data_offsets": [begin, end]}
        parts.append(data.tobytes())
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


def write_model(folder, seed=0, dtype="F32", change_config=None, change_weights=None):
    """A model folder. change_weights gets the table of tensors and may change, add or remove some."""
    config = MODEL | (change_config or {})
    weights = random_weights(config, seed)
    if change_weights:
        change_weights(weights)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    write_safetensors(folder / "model.safetensors", weights, dtype)
    return folder


def random_tokens(count=1024, vocab=MODEL["vocab_size"], seed=0):
    return np.random.default_rng(seed).integers(0, vocab, count, dtype=np.uint32)


def write_tokens(path, tokens=None, vocab=MODEL["vocab_size"]):
    tokens = random_tokens() if tokens is None else tokens
    with h5py.File(path, "w") as file:
        file.attrs.update({"format": "spq-tokens", "version": np.int64(1), "tokenizer_sha256": "0" * 64,
                           "vocab_size": np.int64(vocab), "source": "random numbers", "layout": "whole",
                           "bos": np.int64(-1)})
        file.create_dataset("tokens", data=tokens, chunks=(256,), maxshape=(None,), fletcher32=True)
    return path


def yaml_text(tree, indent=0):
    lines = ""
    for key, value in tree.items():
        if isinstance(value, dict):
            lines += f"{' ' * indent}{key}:\n{yaml_text(value, indent + 2)}"
        else:
            lines += f"{' ' * indent}{key}: {json.dumps(value)}\n"
    return lines


class Workspace:
    """A folder with a model, tokens and the configuration of a short run."""

    def __init__(self, folder, dtype="F32"):
        self.folder = Path(folder)
        self.model = write_model(self.folder / "model", dtype=dtype)
        self.tokens = write_tokens(self.folder / "tokens.h5")
        self.settings = {
            "model": str(self.model),
            "quant": {"activation": {"bits": 4}, "key": {"bits": 4}, "value": {"bits": 4}},
            "optimizer": {"steps": 6, "learning_rate": 1.5},
            "batch": {"sequences": 5, "sequence_length": 16},
            "data": {"train": str(self.tokens)},
            "compute": {"dtype": "fp32", "threads": 1},
            "checkpoint": {"every": 2},
        }

    def output(self, name):
        return self.folder / name

    def config(self, name, changes=None):
        """Writes name.yaml whose output_dir is output(name); changes maps dotted keys to values."""
        return self.write_config(name, self.settings | {"output_dir": str(self.output(name))}, changes)

    def write_config(self, name, settings, changes=None):
        tree = copy.deepcopy(settings)
        for key, value in (changes or {}).items():
            *sections, leaf = key.split(".")
            branch = tree
            for section in sections:
                branch = branch.setdefault(section, {})
            branch[leaf] = value
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml_text(tree))
        return path


def read_rotations(path):
    """(R1, R2 of all layers, step) of a checkpoint."""
    with h5py.File(path, "r") as file:
        return file["R1"][()], file["R2"][()], int(file.attrs["step"])


def files_below(folder):
    """Relative paths of all files and folders."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def orthogonality_error(matrix):
    product = matrix.astype(np.float64).swapaxes(-1, -2) @ matrix.astype(np.float64)
    return float(np.abs(product - np.eye(matrix.shape[-1])).max())


def read_metrics(output):
    """(records of steps, records of held-out evaluations) of metrics.jsonl."""
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [r for r in records if "event" not in r], [r for r in records if r.get("event") == "heldout"]
