#!/usr/bin/env python3
"""Compares a run of spq-train on a device with runs of the same steps on the CPU; prints a table in Markdown.

    compare_devices.py --device OUTPUT_DIR --expect cuda CPU_OUTPUT_DIR CPU_OUTPUT_DIR

Rounding decides now and then which of two integers a value is quantized to, and from then on two runs part slowly, on one
machine too when it sums in another order. The first step is compared with fixed tolerances; what comes later may differ
by three times as much as two CPU runs with different numbers of ranks do. Needs checkpoint.every 1 and all checkpoints
kept. Exit status: 0 within the tolerances, 1 not.
"""
import argparse
import json
import statistics
import sys
from pathlib import Path

import h5py
import numpy as np

FACTOR = 3  # of the difference between two CPU runs
FIRST_LOSS = 1e-3  # relative
FIRST_ROTATION = 1e-4  # relative to the rotation's norm: a step moves it by 5e-4 or more
LAST_FLOOR = 1e-3  # relative: two CPU runs may come out closer than that by chance
ORTHOGONAL = 1e-4  # max |R^T R - I|


class Run:
    def __init__(self, folder):
        self.folder = Path(folder)
        records = [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        steps = [record for record in records if "loss" in record]
        if not steps:
            sys.exit(f"{folder}: no steps in metrics.jsonl")
        self.losses = [record["loss"] for record in steps]
        self.devices = sorted({record.get("device", "not stated") for record in steps})
        self.orthogonality = max(record["orthogonality_error"] for record in steps)
        self.perplexity = [record["perplexity"] for record in records if record.get("event") == "heldout"]
        self.seconds = statistics.median([record["seconds"] for record in steps])
        self.tokens_per_s = statistics.median([record["tokens_per_s"] for record in steps])

    def rotations(self, step):
        with h5py.File(self.folder / "checkpoints" / f"checkpoint-{step}.h5", "r") as file:
            return file["R1"][()], file["R2"][()]


def relative(a, b):
    return abs(a - b) / abs(b)


def apart(first, second, step):
    """Relative Frobenius distance of R1 and of all R2 after a step."""
    return [float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in zip(first.rotations(step), second.rotations(step))]


def mean_loss_difference(first, second):
    return statistics.fmean(relative(a, b) for a, b in zip(first.losses, second.losses))


def rows(device, cpu, other):
    """(what, found, allowed) for each comparison."""
    steps = len(cpu.losses)
    r1, r2 = apart(device, cpu, 1)
    yield "loss of the first step", relative(device.losses[0], cpu.losses[0]), FIRST_LOSS
    yield "R1 after the first step", r1, FIRST_ROTATION
    yield "R2 after the first step", r2, FIRST_ROTATION
    yield "loss, mean over the steps", mean_loss_difference(device, cpu), FACTOR * mean_loss_difference(other, cpu)
    for name, found, noise in zip(("R1", "R2"), apart(device, cpu, steps), apart(other, cpu, steps)):
        yield f"{name} after {steps} steps", found, FACTOR * noise
    for when, index in (("before the first step", 0), ("after the last step", -1)):
        noise = relative(other.perplexity[index], cpu.perplexity[index])
        yield (f"held-out perplexity {when}", relative(device.perplexity[index], cpu.perplexity[index]),
               max(FACTOR * noise, LAST_FLOOR))
    yield "largest orthogonality error", device.orthogonality, ORTHOGONAL


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("cpu", nargs=2, help="output_dir of two CPU runs with different numbers of ranks")
    parser.add_argument("--device", required=True, help="output_dir of the run to check")
    parser.add_argument("--expect", default="cuda", help="the device its metrics have to name")
    arguments = parser.parse_args()
    device, cpu, other = Run(arguments.device), Run(arguments.cpu[0]), Run(arguments.cpu[1])
    if not len(device.losses) == len(cpu.losses) == len(other.losses):
        sys.exit("the runs have different numbers of steps")
    named = ", ".join(device.devices)
    passed = named == arguments.expect
    print("| relative difference to the CPU | found | allowed | |\n|---|---|---|---|")
    print(f"| device that the metrics name | {named} | {arguments.expect} | {'pass' if passed else 'FAIL'} |")
    for what, found, allowed in rows(device, cpu, other):
        good = found <= allowed  # false for NaN
        passed = passed and good
        print(f"| {what} | {found:.2e} | {allowed:.2e} | {'pass' if good else 'FAIL'} |")
    print("\n| run | seconds a step (median) | tokens/s | held-out perplexity |\n|---|---|---|---|")
    for name, run in (("checked", device), ("CPU", cpu), ("CPU, another number of ranks", other)):
        print(f"| {name} | {run.seconds:.4f} | {run.tokens_per_s:.0f} | {run.perplexity[0]:.4f} to {run.perplexity[-1]:.4f} |")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
