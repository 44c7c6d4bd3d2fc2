#!/usr/bin/env python3
"""Predicted against measured CPU step times: spq-plan --calibrate, then spq-train, on models of several shapes.

    source launch/environment.sh
    PYTHONPATH=tests/end_to_end python3 tests/scale/validate_time.py build/release

Prints a Markdown table. Both are processor time of one thread a rank: the machine may do other work meanwhile, but it
should not do much, so this is no test.
"""
import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from spq_fixture import random_tokens, write_tokens, yaml_text
from synthetic_model import write_model

STEPS = 6
VOCAB = 8192
SECONDS = {"ms": 1e-3, "s": 1}
SHAPES = {  # hidden, intermediate, layers, heads, key/value heads, tokens
    "narrow": (512, 1408, 12, 8, 8, 512),
    "8B / 4": (1024, 3584, 8, 8, 2, 512),
    "8B / 2": (2048, 7168, 4, 16, 4, 512),
    "long": (1024, 2816, 4, 16, 16, 2048),
}
RUNS = [("narrow", "bf16", "keep", 1), ("narrow", "fp32", "recompute", 1), ("8B / 4", "bf16", "recompute", 1),
        ("8B / 4", "bf16", "keep", 2), ("8B / 2", "bf16", "keep", 1), ("8B / 2", "fp32", "keep", 1),
        ("long", "bf16", "recompute", 1), ("long", "bf16", "recompute", 2)]


def configuration(folder, name, dtype, activations, ranks):
    hidden, intermediate, layers, heads, kv_heads, tokens = SHAPES[name]
    model = write_model(folder / "model", "llama3-8b", {
        "hidden_size": hidden, "intermediate_size": intermediate, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "vocab_size": VOCAB}, noise=True)
    write_tokens(folder / "tokens.h5", random_tokens(16 * tokens, VOCAB), VOCAB)
    path = folder / "run.yaml"
    path.write_text(yaml_text({
        "model": str(model), "output_dir": str(folder / "out"), "data": {"train": str(folder / "tokens.h5")},
        "quant": {"activation": {"bits": 4}, "key": {"bits": 4}, "value": {"bits": 4}},
        "optimizer": {"learning_rate": 0.1},
        "batch": {"sequences": ranks, "sequence_length": tokens},
        "compute": {"dtype": dtype, "activations": activations, "threads": 1},
        "checkpoint": {"every": 0, "write_rbin": False}}))
    return path


def predicted(build, config, ranks):
    command = [build / "spq-plan", config, "--device", "cpu", "--calibrate", "--world-size", str(ranks)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    value, unit = re.search(r"^  step +([\d.]+) (\w+)", output, re.M).groups()
    return float(value) * SECONDS[unit]


def processor_seconds(build, config, ranks, steps):
    """Of all ranks together, from start to end."""
    def used():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    launcher = ["mpirun", "-np", str(ranks), "--bind-to", "none", "--oversubscribe"] if ranks > 1 else []
    before = used()
    subprocess.run([*launcher, build / "spq-train", config, "--set", f"optimizer.steps={steps}", "--set",
                    "checkpoint.resume=never"],
                   check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return used() - before


def measured(build, config, ranks):
    """Processor time of a rank in a step: what more steps need, without start and end."""
    short, long = (processor_seconds(build, config, ranks, steps) for steps in (1, 1 + STEPS))
    return (long - short) / STEPS / ranks


def main():
    build = Path(sys.argv[1])
    print("| shape | dtype | activations | ranks | predicted s | measured s | predicted / measured |")
    print("|---|---|---|---|---|---|---|")
    for name, dtype, activations, ranks in RUNS:
        with tempfile.TemporaryDirectory(prefix="spq-time-") as folder:
            config = configuration(Path(folder), name, dtype, activations, ranks)
            guess, found = predicted(build, config, ranks), measured(build, config, ranks)
        print(f"| {name} | {dtype} | {activations} | {ranks} | {guess:.2f} | {found:.2f} | {guess / found:.2f} |",
              flush=True)


if __name__ == "__main__":
    main()
