#!/usr/bin/env python3
"""Write small random LLaMA checkpoints with the logits that `transformers` computes for them.

    python3 tools/make_logit_fixtures.py --out tests/fixtures

One directory per shape: config.json, the weights as safetensors, and expected.safetensors with
`input_ids` (int64 [2, 24]) and `logits` (float32 [2, 24, vocab]; eager attention, all arithmetic in
fp32 whatever type the weights are stored in). Seeds are fixed: a rerun with the same versions of torch
and transformers writes the same bytes. Needs torch, transformers and safetensors.
"""
import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

BASE = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 80,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "torch_dtype": "float32",
}

# Head size 16 and theta 500 give wavelengths from 6 to about 1400 positions: with an original length of 64 and
# factors 1 and 4, the short ones are kept, the long ones divided by 8 and those between 16 and 64 blended.
LLAMA3_SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

# name -> (changes to BASE, type the weights are stored in, number of files)
SHAPES = {
    "gqa4": ({"hidden_size": 64, "num_attention_heads": 8, "num_key_value_heads": 2}, torch.float32, 1),
    "mha": ({"num_key_value_heads": 4}, torch.float32, 1),
    "headdim": ({"hidden_size": 40, "head_dim": 16}, torch.float32, 1),
    "llama3rope": ({"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 512,
                    "rope_theta": 500.0, "rope_scaling": LLAMA3_SCALING}, torch.float32, 1),
    "newrope": ({"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 512,
                 "rope_parameters": {**LLAMA3_SCALING, "rope_theta": 500.0}, "dtype": "float32"}, torch.float32, 1),
    "tied": ({"tie_word_embeddings": True}, torch.float32, 1),
    "sharded": ({}, torch.float32, 2),
    "bf16": ({"torch_dtype": "bfloat16"}, torch.bfloat16, 1),
    "f16": ({"torch_dtype": "float16"}, torch.float16, 1),
}


def config_of(name):
    """The config.json of a shape: the old spelling of RoPE and dtype, except for `newrope`."""
    config = {**BASE, **SHAPES[name][0]}
    if name == "newrope":
        for key in ("rope_theta", "rope_scaling", "torch_dtype"):
            del config[key]
    return config


def random_weights(model, dtype, seed):
    """Fill `model` with weights that are exact in `dtype`; returns the tensors to store."""
    generator = torch.Generator().manual_seed(seed)
    tied = model.config.tie_word_embeddings
    stored = {}
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("norm.weight"):
                value = 1.0 + 0.4 * noise
            elif "embed_tokens" in name:
                value = noise
            else:
                value = noise * 1.5 / parameter.shape[1] ** 0.5
            value = value.to(dtype)
            parameter.copy_(value)
            if not (tied and name == "lm_head.weight"):
                stored[name] = value.contiguous()
    return stored


def save_weights(folder, stored, files):
    """Write one model.safetensors, or `files` shards with their index, tensors dealt out by size."""
    if files == 1:
        save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
        return
    shards = [{} for _ in range(files)]
    sizes = [0] * files
    for name, tensor in stored.items():
        smallest = sizes.index(min(sizes))
        shards[smallest][name] = tensor
        sizes[smallest] += tensor.nbytes
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{files:05d}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(shard, file))
    index = {"metadata": {"total_size": sum(sizes)}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def make(name, out, seed):
    """Write the directory of one shape and check that transformers, reading it back, gives the same logits."""
    _, dtype, files = SHAPES[name]
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config_of(name), indent=2) + "\n")

    config = LlamaConfig.from_pretrained(folder)
    model = LlamaForCausalLM._from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    save_weights(folder, random_weights(model, dtype, seed), files)

    generator = torch.Generator().manual_seed(seed + 1000)
    input_ids = torch.randint(0, config.vocab_size, (2, 24), generator=generator)
    with torch.no_grad():
        logits = model(input_ids=input_ids).logits.float()
        reread = LlamaForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
        assert torch.equal(reread.eval()(input_ids=input_ids).logits, logits), f"{name}: files differ from the model"
    save_file({"input_ids": input_ids, "logits": logits.contiguous()}, folder / "expected.safetensors")
    return sum(file.stat().st_size for file in folder.iterdir()), logits.std().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder that gets one directory per shape")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for seed, name in enumerate(SHAPES, 1):
        size, spread = make(name, arguments.out, seed)
        print(f"{name:12} {size:8d} bytes, logits with standard deviation {spread:.2f}")


if __name__ == "__main__":
    main()
