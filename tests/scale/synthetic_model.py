#!/usr/bin/env python3
"""Writes a model of the true shapes of a published LLaMA in Hugging Face form, without its weights.

By default the weights are holes: the files have their full size and take no room on disk. Reading them gives zeros.
Needs no package, but numpy for --noise.
"""
import argparse
import json
import struct
from pathlib import Path

SHARD_BYTES = 5_000_000_000  # as large as published shards
NOISE_ELEMENTS = 1 << 24  # repeated over every matrix
MODELS = {
    "llama3-8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
                  "num_attention_heads": 32, "num_key_value_heads": 8},
    "llama3-70b": {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,
                   "num_attention_heads": 64, "num_key_value_heads": 8},
}
COMMON = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 128256,
          "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "hidden_act": "silu",
          "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": False, "torch_dtype": "bfloat16"}


def shapes(config):
    """(name, shape) of every tensor, in the order of the network."""
    hidden, mlp, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    head_dim = config.get("head_dim", hidden // config["num_attention_heads"])
    heads = head_dim * config["num_attention_heads"]
    key_value = head_dim * config["num_key_value_heads"]
    yield "model.embed_tokens.weight", [vocab, hidden]
    for layer in range(config["num_hidden_layers"]):
        for part, shape in {"self_attn.q_proj": [heads, hidden], "self_attn.k_proj": [key_value, hidden],
                            "self_attn.v_proj": [key_value, hidden], "self_attn.o_proj": [hidden, heads],
                            "mlp.gate_proj": [mlp, hidden], "mlp.up_proj": [mlp, hidden],
                            "mlp.down_proj": [hidden, mlp], "input_layernorm": [hidden],
                            "post_attention_layernorm": [hidden]}.items():
            yield f"model.layers.{layer}.{part}.weight", shape
    yield "model.norm.weight", [hidden]
    yield "lm_head.weight", [vocab, hidden]


def num_bytes(shape):
    count = 2  # bf16
    for size in shape:
        count *= size
    return count


def shards(config):
    """Tensors in groups of at most SHARD_BYTES."""
    groups, room = [], 0
    for name, shape in shapes(config):
        if num_bytes(shape) > room:
            groups.append([])
            room = SHARD_BYTES
        groups[-1].append((name, shape))
        room -= num_bytes(shape)
    return groups


def bf16(values):
    return (values.astype("float32").view("uint32") >> 16).astype("uint16").tobytes()


def fill(file, tensors):
    """Norms of ones, matrices of noise that keeps activations about their size."""
    import numpy as np

    noise = np.random.default_rng(0).standard_normal(NOISE_ELEMENTS)
    for _, shape in tensors:
        if len(shape) == 1:
            file.write(bf16(np.ones(shape[0])))
            continue
        block, left = bf16(noise / shape[1] ** 0.5), num_bytes(shape)
        while left > 0:
            left -= file.write(block[:left])


def write_file(path, tensors, noise):
    header, end = {}, 0
    for name, shape in tensors:
        begin, end = end, end + num_bytes(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        if noise:
            fill(file, tensors)
        file.truncate(8 + len(text) + end)


def write_model(folder, model="llama3-70b", changes=None, weights=True, noise=False):
    config = COMMON | MODELS[model] | (changes or {})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    if not weights:
        return folder
    groups, places = shards(config), {}
    for number, tensors in enumerate(groups, 1):
        file = f"model-{number:05}-of-{len(groups):05}.safetensors"
        write_file(folder / file, tensors, noise)
        places |= {name: file for name, _ in tensors}
    total = sum(num_bytes(shape) for _, shape in shapes(config))
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", choices=MODELS, default="llama3-70b")
    parser.add_argument("--layers", type=int, help="another number of layers")
    parser.add_argument("--hidden", type=int, help="another hidden_size, heads and everything else as they are")
    parser.add_argument("--config-only", action="store_true", help="only config.json, for spq-plan")
    parser.add_argument("--noise", action="store_true", help="random weights instead of holes")
    arguments = parser.parse_args()
    changes = {"num_hidden_layers": arguments.layers} if arguments.layers else {}
    if arguments.hidden:
        model = MODELS[arguments.model]
        changes |= {"hidden_size": arguments.hidden,
                    "head_dim": model["hidden_size"] // model["num_attention_heads"]}
    write_model(arguments.folder, arguments.model, changes, not arguments.config_only, arguments.noise)


if __name__ == "__main__":
    main()
