"""Part of run_benchmarks.py: times of whole spq-train runs, and what else the machine did meanwhile."""
import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np

from token_file import write as write_tokens

STEPS = 4  # the first one also takes memory and is left out


def busy_seconds():
    """Processor time of everything on this machine, and of this process and the ones it waited for."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
    own = os.times()
    idle = ticks[3] + ticks[4]
    return ((sum(ticks) - idle) / os.sysconf("SC_CLK_TCK"),
            own.user + own.system + own.children_user + own.children_system)


class Watch:
    """`others`: the share of the processors that other programs took while this was open."""

    def __enter__(self):
        self.start, self.before = time.monotonic(), busy_seconds()
        return self

    def __exit__(self, *_):
        busy, own = (after - before for after, before in zip(busy_seconds(), self.before))
        self.others = max(0.0, (busy - own) / (time.monotonic() - self.start) / os.cpu_count())


@dataclass
class Result:
    what: str
    target: str
    value: float
    remarks: str
    command: str


def run(command, environment):
    result = subprocess.run(shlex.split(command), env=environment, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    if result.returncode != 0:
        sys.exit(f"run_benchmarks: {command} failed:\n{result.stdout}")


def first_step(build, folder, environment):
    """Wall time of a run of one step of the embedded model, program start and result included."""
    command = (f"{build}/spq-train configs/tiny-w16a4kv4.yaml --set optimizer.steps=1 --set data.heldout= --set eval.every=0 "
               "--set output_dir=")
    seconds = []
    for repetition in range(3):
        start = time.monotonic()
        run(f"{command}{folder}/tiny-{repetition}", environment)
        seconds.append(time.monotonic() - start)
    return Result("time to the first step of data/tiny-llama, s", "<= 2", min(seconds),
                  "whole run, without the held-out evaluation", f"{command}<folder>")


def shapes(quick):
    """A few wide layers: d, intermediate, layers, vocabulary, sequence length."""
    return (1024, 2816, 2, 512, 256) if quick else (4096, 14336, 1, 512, 512)


def tensors(d, intermediate, layers, vocab):
    kv = d // 4
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", (d,)
        yield prefix + "post_attention_layernorm.weight", (d,)
        for name, shape in (("self_attn.q_proj", (d, d)), ("self_attn.k_proj", (kv, d)), ("self_attn.v_proj", (kv, d)),
                            ("self_attn.o_proj", (d, d)), ("mlp.gate_proj", (intermediate, d)),
                            ("mlp.up_proj", (intermediate, d)), ("mlp.down_proj", (d, intermediate))):
            yield f"{prefix}{name}.weight", shape
    yield "model.embed_tokens.weight", (vocab, d)
    yield "model.norm.weight", (d,)
    yield "lm_head.weight", (vocab, d)


def write_model(folder, quick):
    d, intermediate, layers, vocab, length = shapes(quick)
    folder.mkdir()
    heads = d // 128
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": d, "intermediate_size": intermediate,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": heads // 4, "head_dim": 128,
        "vocab_size": vocab, "max_position_embeddings": length, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "hidden_act": "silu", "tie_word_embeddings": False}))
    specs, end = {}, 0
    for name, shape in tensors(d, intermediate, layers, vocab):
        begin, end = end, end + 2 * int(np.prod(shape))
        specs[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    header = json.dumps(specs).encode()
    header += b" " * (-len(header) % 8)
    random = np.random.default_rng(0)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for spec in specs.values():
            values = random.standard_normal(spec["shape"], dtype=np.float32) * spec["shape"][-1] ** -0.5
            file.write((values.view(np.uint32) >> 16).astype("<u2").tobytes())
    ids = random.integers(0, vocab, 64 * length, dtype=np.uint32)
    write_tokens(folder / "tokens.h5", ids, {"format": "spq-tokens", "version": np.int64(1), "tokenizer_sha256": "none",
                                              "vocab_size": np.int64(vocab), "source": "random", "layout": "whole",
                                              "bos": np.int64(-1)})
    return length


def write_config(path, model, length, sequences, r1):
    path.write_text(json.dumps({
        "model": str(model), "output_dir": str(path.with_suffix("")),
        "quant": {name: {"bits": 4} for name in ("activation", "key", "value")},
        "rotation": {"r1": r1}, "optimizer": {"steps": STEPS}, "batch": {"sequences": sequences, "sequence_length": length, "micro_batch": 1},
        "data": {"train": str(model / "tokens.h5")}, "compute": {"threads": 1},
        "checkpoint": {"every": 0, "write_rbin": False}}))


def step_seconds(config):
    lines = (config.with_suffix("") / "metrics.jsonl").read_text().splitlines()
    return min(json.loads(line)["seconds"] for line in lines[1:])


def scaling(build, folder, environment, launcher, quick, gather_speed):
    """One rank and two ranks with one thread each on the same batch; and each of two lone processes on its half. For the
    latter R1 stays as it is: its update is shared by the ranks, but not by lone processes."""
    model, sequences = folder / "model", 4
    length = write_model(model, quick)
    kinds = {"one": (1, "learned"), "two": (1, "learned"), "pair": (1, "hadamard"), "left": (2, "hadamard"),
             "right": (2, "hadamard")}
    configs = {name: folder / f"{name}.yaml" for name in kinds}
    for name, (parts, r1) in kinds.items():
        write_config(configs[name], model, length, sequences // parts, r1)
    program = f"{build}/spq-train"
    run(f"{program} {configs['one']}", environment)
    run(f"{launcher} {program} {configs['two']}", environment)
    run(f"{launcher} {program} {configs['pair']}", environment)
    halves = [subprocess.Popen([program, str(configs[name])], env=environment, stdout=subprocess.DEVNULL)
              for name in ("left", "right")]
    if any([process.wait() != 0 for process in halves]):
        sys.exit("run_benchmarks: a lone spq-train failed")
    seconds = {name: step_seconds(config) for name, config in configs.items()}
    alone = max(seconds["left"], seconds["right"])
    d, intermediate, layers, vocab, _ = shapes(quick)
    layer = sum(int(np.prod(shape)) for name, shape in tensors(d, intermediate, 1, vocab) if "_proj" in name)
    gathered = sequences // 2 * 2 * (2 * layers * layer + vocab * d)  # bytes, bf16, up and down each sequence
    gather = gathered / (gather_speed * 1e9)
    what = f"{layers} layer(s) of d {d}, {sequences} sequences of {length} tokens, one thread per rank"
    return [Result(f"speed-up from 1 to 2 ranks: {what}", ">= 1.8", seconds["one"] / seconds["two"],
                   f"{seconds['one']:.3g} s and {seconds['two']:.3g} s",
                   f"{program} <one.yaml>; {launcher} {program} <two.yaml>"),
            Result("step with gathers over max(compute alone, gather alone)", "<= 1.15", seconds["pair"] / max(alone, gather),
                   f"{seconds['pair']:.3g} s; compute alone {alone:.3g} s: the slower of two lone processes, at the same time, "
                   f"with half the batch each; gather alone {gather:.3g} s at gather_bench's speed; R1 fixed",
                   f"{launcher} {program} <pair.yaml>; {program} <left.yaml> & {program} <right.yaml>")]
