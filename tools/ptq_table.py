#!/usr/bin/env python3
"""Method x bits x perplexity, the table this field publishes, from spq-ptq and spq-eval.

The embedded model, after bash launch/demo.sh (5 random rotations, a few minutes; the demo itself takes one):

    .deps/venv/bin/python tools/ptq_table.py --ptq configs/ptq/tiny-w4a4kv4.yaml --eval configs/ptq/tiny-eval.yaml \\
        --rotation runs/demo/w16a4kv4-learned-0/rotation.h5 --seeds 5 --launcher "mpirun -np 2" --out runs/table

LLaMA-3 8B, after spq-train with configs/llama3-8b-w16a4kv4.yaml (the two configurations name the files they need):

    .deps/venv/bin/python tools/ptq_table.py --ptq configs/ptq/llama3-8b-w4a4kv4.yaml \\
        --eval configs/ptq/llama3-8b-eval.yaml --rotation runs/llama3-8b-w16a4kv4/rotation.h5 \\
        --launcher "mpirun -np 8" --out runs/table-llama3-8b

Rows: full precision; RTN and GPTQ without rotation; RTN, GPTQ and GPTAQ behind a random Hadamard rotation (QuaRot) and
behind the learned one (SpinQuant). Columns: bits of weights-activations-KV cache. With --seeds N each random row is the mean
and range over N random rotations. Prints the table and writes table.md, table.csv and table.png. Settings that are not part
of the grid come from the two configurations; evaluation is spq-eval's.

A killed run goes on where it stopped: what table.csv holds is not measured again. It refuses to go on with other
configurations or another rotation (--fresh measures everything anew).

The weights do not depend on the bits of activations and cache, so each model is quantized once and evaluated for every
column; with --quantize-activations (enable_aq_calibration) they do, and each cell has a model of its own.
"""
import argparse
import csv
import hashlib
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
FULL = "full precision"


def rotated(source, file=""):
    return {"rotate.r1": source, "rotate.r2": source, "rotate.file": file}


def online(kind):
    return {"rotate.r3": kind, "rotate.r4": kind}


def rows(rotation):
    """(name, settings of spq-ptq, settings that spq-eval shares)."""
    for label in ("RTN", "GPTQ"):
        yield label, {**rotated("identity"), "weights.method": label.lower()}, online("identity")
    for name, rotations in (("QuaRot", rotated("hadamard")), ("SpinQuant", rotated("file", rotation))):
        for label in ("RTN", "GPTQ", "GPTAQ"):
            yield f"{name}+{label}", {**rotations, "weights.method": label.lower()}, online("hadamard")


def fail(message):
    sys.exit(f"ptq_table: {message}")


class Table:
    """The measured cells: (row, bits, seed) -> perplexity, on disk after each one."""

    def __init__(self, folder, settings, fresh):
        self.path, self.values = folder / "table.csv", {}
        stamp = folder / "settings.sha256"
        if fresh:
            self.path.unlink(missing_ok=True)
        if self.path.exists():
            if not stamp.exists() or stamp.read_text() != settings:
                fail(f"{self.path}: was measured with other settings; use --fresh or another --out")
            with open(self.path, newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    self.values[row["method"], row["bits"], int(row["seed"])] = float(row["perplexity"])
        else:
            stamp.write_text(settings)
            self.write()

    def add(self, name, bits, seed, value):
        self.values[name, bits, seed] = value
        self.write()

    def write(self):
        temporary = self.path.with_suffix(".tmp")  # renamed when whole: a killed run leaves no half line
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["method", "bits", "seed", "perplexity"])
            writer.writerows([*key, value] for key, value in self.values.items())
        temporary.replace(self.path)

    def cells(self, name, seeds):
        """Perplexities of each column, one for each seed."""
        return [[self.values[name, bits[0], seed] for seed in range(seeds)] for bits in BITS]


class Runner:
    def __init__(self, arguments, table):
        self.arguments, self.table = arguments, table

    def run(self, program, config, settings):
        command = shlex.split(self.arguments.launcher) + [str(self.arguments.build / program), str(config)]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            fail(f"{shlex.join(command)} failed:\n{result.stdout}{result.stderr}")
        return result.stdout

    def evaluate(self, settings):
        found = re.search(r"^perplexity (\S+)", self.run("spq-eval", self.arguments.eval, settings), re.MULTILINE)
        return float(found.group(1))

    def quantize(self, folder, settings):
        if not (folder / "config.json").exists():  # the last file of a model
            self.run("spq-ptq", self.arguments.ptq, {**settings, "output_dir": folder, "eval.tokens": ""})

    def measure_row(self, name, seed, settings, shared):
        """The missing cells of one row and seed."""
        quantize_activations = self.arguments.quantize_activations
        shown = "true" if quantize_activations else "false"
        for label, weights, activations, cache in BITS:
            if (name, label, seed) in self.table.values:
                continue
            widths = {"quant.activation.bits": activations, "quant.key.bits": cache, "quant.value.bits": cache}
            folder = self.arguments.out / f"model-{name}-{seed}"
            if quantize_activations:
                folder = folder.with_name(f"{folder.name}-{label}")
            self.quantize(folder, {**settings, **shared, "rotate.seed": seed, "weights.bits": weights,
                                   "calibration.quantize_activations": shown,
                                   **(widths if quantize_activations else {})})
            self.table.add(name, label, seed, self.evaluate({"model": folder, **widths, **shared}))
        for folder in self.arguments.out.glob(f"model-{name}-{seed}*"):
            shutil.rmtree(folder)

    def measure(self):
        """[(name, [perplexities of each column])]"""
        if (FULL, BITS[0][0], 0) not in self.table.values:
            self.table.add(FULL, BITS[0][0], 0, self.evaluate(online("identity")))
        for label, *_ in BITS[1:]:
            if (FULL, label, 0) not in self.table.values:
                self.table.add(FULL, label, 0, self.table.values[FULL, BITS[0][0], 0])
        result = [(FULL, self.table.cells(FULL, 1))]
        for name, settings, shared in rows(self.arguments.rotation):
            seeds = self.arguments.seeds if settings["rotate.r1"] == "hadamard" else 1
            for seed in range(seeds):
                self.measure_row(name, seed, settings, shared)
            result.append((name, self.table.cells(name, seeds)))
            print(f"{name}: " + ", ".join(f"{bits[0]} {cell(values)}" for bits, values in zip(BITS, result[-1][1])),
                  flush=True)
        return result


def cell(values):
    """What the table says of one cell's perplexities, one for each random rotation."""
    mean = sum(values) / len(values)
    return f"{mean:.3f}" if len(values) == 1 else f"{mean:.3f} ({min(values):.3f} to {max(values):.3f})"


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


def settings_digest(arguments):
    """What the numbers depend on, but for the files that the configurations name."""
    digest = hashlib.sha256(f"{arguments.quantize_activations}\n".encode())
    for path in (arguments.ptq, arguments.eval, Path(arguments.rotation)):
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            fail(f"{path}: {error.strerror}")
    return digest.hexdigest()


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptq", type=Path, required=True, help="configuration of spq-ptq")
    parser.add_argument("--eval", type=Path, required=True, help="configuration of spq-eval")
    parser.add_argument("--rotation", required=True, help="learned rotation (rotation.h5 or R.bin)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the table, and for one model at a time")
    parser.add_argument("--seeds", type=int, default=1, help="random rotations for each random row (default: 1)")
    parser.add_argument("--quantize-activations", action="store_true",
                        help="calibrate with the activation quantizers of the column on")
    parser.add_argument("--fresh", action="store_true", help="measure again what table.csv already holds")
    parser.add_argument("--build", type=Path, default=Path("build/release"), help="folder of the programs")
    parser.add_argument("--launcher", default="", help="for example 'mpirun -np 2'")
    arguments = parser.parse_args()
    if arguments.seeds < 1:
        fail(f"--seeds {arguments.seeds}: expected 1 or more")
    return arguments


def main():
    arguments = read_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.fresh:
        for folder in arguments.out.glob("model-*"):
            shutil.rmtree(folder)
    table = Runner(arguments, Table(arguments.out, settings_digest(arguments), arguments.fresh)).measure()
    text = markdown(table)
    (arguments.out / "table.md").write_text(text + "\n", encoding="utf-8")
    draw(table, arguments.out / "table.png")
    print(text)


if __name__ == "__main__":
    main()
