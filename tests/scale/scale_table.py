#!/usr/bin/env python3
"""What spq-plan says about LLaMA-3 8B and 70B on 1 to 64 H100s, as the Markdown tables of docs/scale.md.

    python3 tests/scale/scale_table.py build/release
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from synthetic_model import write_model

CONFIGS = {"llama3-8b": "llama3-8b-w16a4kv4", "llama3-70b": "llama3-70b-w16a4"}
RANKS_PER_HOST = 8
HEAD = ("| model | GPUs | sequences | activations | memory of a GPU, GiB | TFLOP of a GPU | received by a GPU, GB "
        "| gathers, of which waited for | step | 100 steps | bound by |")


def plan(build, model, ranks, sequences, activations):
    command = [build / "spq-plan", f"configs/{CONFIGS[model.name]}.yaml", "--set", f"model={model}", "--set",
               f"batch.sequences={sequences}", "--set", f"compute.activations={activations}", "--device", "h100-80gb",
               "--world-size", str(ranks), "--nodes", str(max(1, ranks // RANKS_PER_HOST))]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.stderr:
        raise SystemExit(result.stderr)
    return result.stdout


def part(text, line):
    """Value and note of a line of the report, by what it starts with: the last such line."""
    return re.findall(rf"^  {line} +([\d.]+ ?\w*(?: \d+s)?)(?:  (.*))?$", text, re.M)[-1]


def number(text, line, which=0):
    return float(re.findall(rf"^  {line} +([\d.]+)", text, re.M)[which])


def row(text, model, ranks, sequences):
    kept = "kept" if "kept from forward" in text else "recomputed"
    total, note = part(text, "total at the widest")
    fits = total.split()[0] + ("" if note.endswith(": fits") else ", does not fit")
    work = sum(number(text, line) for line in ("matrix products", "recomputed", "attention", "update"))
    waited, of = part(text, "waiting for gathers")
    gathers = re.search(r"of (.*) that", of).group(1)
    step, bound = part(text, "step")
    received = number(text, "weights received")
    bound = bound.split("bound by ")[1].split(";")[0]
    return (f"| {model} | {ranks} | {sequences} | {kept} | {fits} | {work:.0f} | {received:.1f} | {gathers}, {waited} "
            f"| {step} | {part(text, 'run')[0]} | {bound} |")


def main():
    build = Path(sys.argv[1])
    print(HEAD)
    print("|" + "---|" * (HEAD.count("|") - 1))
    with tempfile.TemporaryDirectory() as folder:
        for name in CONFIGS:
            model = write_model(Path(folder) / name, name, weights=False)
            for ranks, sequences in ((1, 8), (8, 8), (16, 8), (16, 16), (64, 8), (64, 64)):
                for activations in ("keep", "recompute") if ranks == 8 else ("auto",):
                    text = plan(build, model, ranks, sequences, activations)
                    print(row(text, name, ranks, sequences), flush=True)


if __name__ == "__main__":
    main()
