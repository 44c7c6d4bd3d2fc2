#!/usr/bin/env python3
"""The demo's table and picture from the runs in a folder (launch/demo.sh makes them).

    python3 tools/demo_report.py runs/demo

Prints the table of held-out perplexity, and writes table.md and demo.png into the folder.
"""
import argparse
import json
import re
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (after the backend is chosen)

BITS = [("w16a4kv4", "W16A4KV4"), ("w16a3kv3", "W16A3KV3")]


def read_metrics(run):
    with open(run / "metrics.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def last_perplexity(run):
    return [row["perplexity"] for row in read_metrics(run) if row.get("event") == "heldout"][-1]


def random_runs(folder, bits):
    found = {}
    for run in folder.glob(f"{bits}-hadamard-*"):
        if match := re.fullmatch(rf"{bits}-hadamard-(\d+)", run.name):
            found[int(match.group(1))] = last_perplexity(run)
    return [found[seed] for seed in sorted(found)]


def column(folder, bits):
    """Cells of one bit width, top to bottom."""
    values = random_runs(folder, bits)
    mean = sum(values) / len(values)
    return [
        f"{last_perplexity(folder / f'{bits}-full'):.3f}",
        f"{last_perplexity(folder / f'{bits}-none'):.3f}",
        f"{mean:.3f} ({min(values):.3f} to {max(values):.3f})",
        f"{values[0]:.3f}",
        f"{last_perplexity(folder / f'{bits}-learned'):.3f}",
    ], len(values)


def table(folder):
    columns, seeds = zip(*(column(folder, bits) for bits, _ in BITS))
    names = ["full precision", "quantized, no rotation",
             f"quantized, random Hadamard: mean (range) of {seeds[0]} seeds",
             "quantized, random Hadamard of seed 0, where learning starts", "quantized, learned rotation"]
    rows = [["held-out perplexity"] + [title for _, title in BITS]]
    rows += [[name] + [cells[i] for cells in columns] for i, name in enumerate(names)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def picture(folder, path):
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.8), constrained_layout=True)
    for bits, title in BITS:
        losses = [row["loss"] for row in read_metrics(folder / f"{bits}-learned") if "loss" in row]
        window = max(1, len(losses) // 10)
        smooth = [sum(losses[max(0, i - window + 1):i + 1]) / len(losses[max(0, i - window + 1):i + 1])
                  for i in range(len(losses))]
        line, = axes[0].plot(range(1, len(losses) + 1), losses, alpha=0.3, linewidth=0.8)
        axes[0].plot(range(1, len(losses) + 1), smooth, color=line.get_color(), label=title)
    axes[0].set(title=f"training loss (thick: mean of the last {window} steps)", xlabel="step",
                ylabel="nats per token")
    axes[0].legend()
    with open(folder / f"{BITS[0][0]}-learned" / "channels.json", encoding="utf-8") as file:
        layers = json.load(file)["layers"]
    middle = len(layers) // 2
    top = 1.05 * max(layers[middle]["before"])
    for axis, key, title in [(axes[1], "before", "before rotation"), (axes[2], "after", "after the learned rotation")]:
        values = layers[middle][key]
        axis.bar(range(len(values)), values, width=1.0)
        axis.set(title=f"layer {middle} attention input, {title}", xlabel="channel", ylabel="largest |x|", ylim=(0, top))
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    try:
        text = table(folder)
        (folder / "table.md").write_text(text + "\n", encoding="utf-8")
        picture(folder, folder / "demo.png")
    except (OSError, IndexError, ZeroDivisionError) as error:
        sys.exit(f"demo_report: {folder} does not hold the runs of launch/demo.sh ({error})")
    print(text)
    print(f"picture: {folder / 'demo.png'}")


if __name__ == "__main__":
    main()
