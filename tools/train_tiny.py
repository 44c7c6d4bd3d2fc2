#!/usr/bin/env python3
"""Train the embedded model: a byte-level BPE tokenizer and a small LLaMA with outlier channels, on our own text.

    python3 tools/make_text.py --seed 1 --sentences 60000 > train.txt
    python3 tools/train_tiny.py --text train.txt --out data/tiny-llama

Writes a Hugging Face directory (config.json, model.safetensors in BF16, tokenizer.json, tokenizer_config.json).
The outlier channels are planted before training, see `plant_outliers`; training then treats all weights alike.
The same command on the same machine with the same library versions gives the same model. Needs torch,
transformers, tokenizers and safetensors.
"""
import argparse
import json
import math
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 512,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "torch_dtype": "bfloat16",
}
EMBEDDING_STD = 0.5


def train_tokenizer(text, out):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=CONFIG["vocab_size"], special_tokens=["<|end|>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
    tokenizer.save(str(out / "tokenizer.json"))
    (out / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>", "add_bos_token": False,
        "model_max_length": CONFIG["max_position_embeddings"]}, indent=2) + "\n")
    return tokenizer


def plant_outliers(model, channels, scale):
    """Give the first `channels` residual channels, spread evenly, large values of nearly constant size.

    In channel c every token's embedding becomes sign * scale * (1 + 0.1 noise) times the standard deviation of the
    other channels, alternating in sign, and the norm weights that read it start at 1 / scale. That is the shape of the
    outlier channels found in large trained LLaMAs. Their rows in o_proj and down_proj are left as they are.
    """
    hidden = model.config.hidden_size
    embedding = model.model.embed_tokens.weight
    norms = [parameter for name, parameter in model.named_parameters() if name.endswith("norm.weight")]
    with torch.no_grad():
        for number in range(channels):
            channel = (2 * number + 1) * hidden // (2 * channels)
            sign = 1 if number % 2 == 0 else -1
            noise = torch.randn(embedding.shape[0])
            embedding[:, channel] = sign * scale * EMBEDDING_STD * (1 + 0.1 * noise)
            for norm in norms:
                norm[channel] = 1 / scale


def build(arguments):
    torch.manual_seed(arguments.seed)
    config = LlamaConfig(**{key: value for key, value in CONFIG.items() if key != "torch_dtype"},
                         initializer_range=0.04)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.model.embed_tokens.weight.normal_(0, EMBEDDING_STD)
    plant_outliers(model, arguments.outliers, arguments.outlier_scale)
    return model


def train(model, tokens, arguments):
    """AdamW with warm-up and cosine decay on random windows of the text."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.lr, betas=(0.9, 0.95), weight_decay=0.0)
    generator = torch.Generator().manual_seed(arguments.seed)
    window = torch.arange(arguments.length)
    start = time.time()
    for step in range(arguments.steps):
        warm_up = min(1.0, (step + 1) / 100)
        decay = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / arguments.steps))
        for group in optimizer.param_groups:
            group["lr"] = arguments.lr * warm_up * decay
        begin = torch.randint(len(tokens) - arguments.length, (arguments.batch, 1), generator=generator)
        batch = tokens[begin + window]
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0 or step == arguments.steps - 1:
            print(f"step {step:5d}  loss {loss.item():.4f}  {time.time() - start:6.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="training text")
    parser.add_argument("--out", type=Path, required=True, help="directory to write")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=8, help="sequences per step (default 8)")
    parser.add_argument("--length", type=int, default=256, help="tokens per sequence (default 256)")
    parser.add_argument("--lr", type=float, default=3e-3, help="highest learning rate")
    parser.add_argument("--outliers", type=int, default=4, help="number of outlier channels (default 4)")
    parser.add_argument("--outlier-scale", type=float, default=30.0,
                        help="their size, in standard deviations of the other channels at initialisation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="processor cores to use; changes the result's last bits")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)

    text = arguments.text.read_text(encoding="utf-8")
    tokenizer = train_tokenizer(text, arguments.out)
    tokens = torch.tensor(tokenizer.encode(text, add_special_tokens=False).ids)
    print(f"{len(tokens)} tokens, {len(text) / len(tokens):.2f} characters each")

    model = build(arguments)
    train(model, tokens, arguments)
    weights = {name: parameter.detach().to(torch.bfloat16).contiguous() for name, parameter in model.named_parameters()}
    save_file(weights, arguments.out / "model.safetensors", metadata={"format": "pt"})
    (arguments.out / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")


if __name__ == "__main__":
    main()
