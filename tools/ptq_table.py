#!/usr/bin/env python3
"""Method x bits x perplexity, the table this field publishes, from spq-ptq and spq-eval.

    python3 tools/ptq_table.py --ptq configs/ptq/tiny-w4a4kv4.yaml --eval configs/ptq/tiny-eval.yaml \\
        --rotation runs/demo/w16a4kv4-learned-0/rotation.h5 --out runs/table

Rows: full precision; RTN and GPTQ without rotation; RTN, GPTQ and GPTAQ behind a random Hadamard rotation (QuaRot) and
behind the learned one (SpinQuant). Columns: bits of weights-activations-KV cache. With --seeds N each random row is the mean and
range over N random rotations. Prints the table and writes table.md, table.csv and table.png. Settings that are not part
of the grid come from the two configurations.
"""
import argparse
import csv
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (after the backend is chosen)

BITS = [("4-16-16", 4, 16, 16), ("4-4-16", 4, 4, 16), ("4-4-4", 4, 4, 4)]
NONE = {"rotate.r1": "identity", "rotate.r2": "identity", "rotate.file": "", "rotate.r3": "identity", "rotate.r4": "identity"}


def rotated(source, file=""):
    return {"rotate.r1": source, "rotate.r2": source, "rotate.file": file, "rotate.r3": "hadamard", "rotate.r4": "hadamard"}


def rows(rotation):
    yield "RTN", {**NONE, "weights.method": "rtn"}
    yield "GPTQ", {**NONE, "weights.method": "gptq"}
    for name, settings in [("QuaRot", rotated("hadamard")), ("SpinQuant", rotated("file", rotation))]:
        for label, method in [("RTN", "rtn"), ("GPTQ", "gptq"), ("GPTAQ", "gptaq")]:
            yield f"{name}+{label}", {**settings, "weights.method": method}


def run(launcher, program, config, settings):
    command = launcher + [str(program), str(config)]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    result = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"^perplexity (\S+)", result.stdout, re.MULTILINE)
    if result.returncode != 0 or not found:
        sys.exit(f"ptq_table: {' '.join(command)} failed:\n{result.stdout}{result.stderr}")
    return float(found.group(1))


def cell(values):
    """What the table says of one cell's perplexities, one for each random rotation."""
    mean = sum(values) / len(values)
    return f"{mean:.3f}" if len(values) == 1 else f"{mean:.3f} ({min(values):.3f} to {max(values):.3f})"


def measure(arguments):
    """[(name, [perplexities of each column])]"""
    launcher = shlex.split(arguments.launcher)
    work = arguments.out / "model"
    full = run(launcher, arguments.build / "spq-eval", arguments.eval, {})
    table = [("full precision", [[full]] * len(BITS))]
    for name, settings in rows(arguments.rotation):
        is_random = settings["rotate.r1"] == "hadamard"
        cells = []
        for _, weights, activations, cache in BITS:
            values = []
            for seed in range(arguments.seeds if is_random else 1):
                shutil.rmtree(work, ignore_errors=True)
                values.append(run(launcher, arguments.build / "spq-ptq", arguments.ptq, {
                    **settings, "rotate.seed": seed, "output_dir": work, "weights.bits": weights,
                    "quant.activation.bits": activations, "quant.key.bits": cache, "quant.value.bits": cache}))
            cells.append(values)
        print(f"{name}: " + ", ".join(f"{bits[0]} {cell(values)}" for bits, values in zip(BITS, cells)), flush=True)
        table.append((name, cells))
    shutil.rmtree(work, ignore_errors=True)
    return table


def markdown(table):
    lines = ["| method | " + " | ".join(bits[0] for bits in BITS) + " |", "|---|" + "---|" * len(BITS)]
    lines += [f"| {name} | " + " | ".join(cell(values) for values in cells) + " |" for name, cells in table]
    return "\n".join(lines)


def draw(table, path):
    figure, axis = plt.subplots(figsize=(10, 4), constrained_layout=True)
    width = 0.8 / len(BITS)
    for i, bits in enumerate(BITS):
        means = [sum(cells[i]) / len(cells[i]) for _, cells in table]
        spread = [[mean - min(cells[i]) for mean, (_, cells) in zip(means, table)],
                  [max(cells[i]) - mean for mean, (_, cells) in zip(means, table)]]
        axis.bar([row + (i - 1) * width for row in range(len(table))], means, width, yerr=spread, label=bits[0])
    axis.set(yscale="log", ylabel="perplexity", title="weights-activations-KV cache bits")
    axis.set_xticks(range(len(table)), [name for name, _ in table], rotation=20)
    axis.legend()
    figure.savefig(path, dpi=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptq", type=Path, required=True, help="configuration of spq-ptq")
    parser.add_argument("--eval", type=Path, required=True, help="configuration of spq-eval, for full precision")
    parser.add_argument("--rotation", required=True, help="learned rotation (rotation.h5 or R.bin)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the table")
    parser.add_argument("--seeds", type=int, default=1, help="random rotations for each random row (default: 1)")
    parser.add_argument("--build", type=Path, default=Path("build/release"), help="folder of the programs")
    parser.add_argument("--launcher", default="", help="for example 'mpirun -np 2'")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    table = measure(arguments)
    text = markdown(table)
    (arguments.out / "table.md").write_text(text + "\n", encoding="utf-8")
    with open(arguments.out / "table.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "bits", "seed", "perplexity"])
        writer.writerows([name, bits[0], seed, value] for name, cells in table
                         for bits, values in zip(BITS, cells) for seed, value in enumerate(values))
    draw(table, arguments.out / "table.png")
    print(text)


if __name__ == "__main__":
    main()
