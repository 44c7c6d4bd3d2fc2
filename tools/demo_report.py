#!/usr/bin/env python3
"""The demo's table and picture from the runs in a folder (launch/demo.sh makes them).

    python3 tools/demo_report.py runs/demo

Prints the table of held-out perplexity, and writes table.md and demo.png into the folder.
"""
import argparse
import json
import math
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


def heldout(run):
    """(steps done, perplexity) of each evaluation."""
    return [(row["step"], row["perplexity"]) for row in read_metrics(run) if row.get("event") == "heldout"]


def last_perplexities(folder, name):
    """The last perplexity of every run NAME-<seed>, by seed."""
    found = {}
    for run in folder.iterdir():
        if match := re.fullmatch(rf"{re.escape(name)}-(\d+)", run.name):
            found[int(match.group(1))] = heldout(run)[-1][1]
    return found


def mean_and_range(values):
    return f"{sum(values) / len(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def seeds_text(seeds):
    return f"seeds {min(seeds)} to {max(seeds)}"


def column(folder, bits):
    """Names and cells of the table's rows for one bit width."""
    random = last_perplexities(folder, f"{bits}-hadamard")
    learned = last_perplexities(folder, f"{bits}-learned")
    starts = [random[seed] for seed in learned]
    return {
        "full precision": f"{heldout(folder / f'{bits}-full')[-1][1]:.3f}",
        "quantized, no rotation": f"{heldout(folder / f'{bits}-none')[-1][1]:.3f}",
        f"quantized, random Hadamard, {seeds_text(random)}": mean_and_range(random.values()),
        f"quantized, random Hadamard, {seeds_text(learned)}": mean_and_range(starts),
        f"quantized, learned from these, {seeds_text(learned)}": mean_and_range(learned.values()),
    }


def table(folder):
    columns = [column(folder, bits) for bits, _ in BITS]
    rows = [["held-out perplexity"] + [title for _, title in BITS]]
    rows += [[name] + [cells[name] for cells in columns] for name in columns[0]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def draw_losses(axis, folder):
    for bits, title in BITS:
        seeds = sorted(last_perplexities(folder, f"{bits}-learned"))
        losses = [row["loss"] for row in read_metrics(folder / f"{bits}-learned-{seeds[0]}") if "loss" in row]
        line, = axis.plot(range(1, len(losses) + 1), losses, alpha=0.35, linewidth=0.8,
                          label=f"{title}, seed {seeds[0]}, each step's batch")
        for seed in seeds:
            steps, perplexities = zip(*heldout(folder / f"{bits}-learned-{seed}"))
            axis.plot(steps, [math.log(p) for p in perplexities], "o-", markersize=3, color=line.get_color(),
                      label=f"{title}, held out, {seeds_text(seeds)}" if seed == seeds[0] else None)
    axis.set(title="loss while learning", xlabel="step", ylabel="nats per token")
    axis.legend(fontsize="small")


def picture(folder, path):
    figure, axes = plt.subplots(1, 3, figsize=(14, 3.8), constrained_layout=True)
    draw_losses(axes[0], folder)
    with open(folder / f"{BITS[0][0]}-learned-0" / "channels.json", encoding="utf-8") as file:
        layers = json.load(file)["layers"]
    middle = len(layers) // 2
    top = 1.05 * max(layers[middle]["before"])
    for axis, key, title in [(axes[1], "before", "before rotation"), (axes[2], "after", "after learned rotation")]:
        values = layers[middle][key]
        axis.bar(range(len(values)), values, width=1.0)
        axis.set(title=f"attention input of layer {middle}, {title}", xlabel="channel", ylabel="largest |x|",
                 ylim=(0, top))
    figure.savefig(path, dpi=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    try:
        text = table(folder)
        (folder / "table.md").write_text(text + "\n", encoding="utf-8")
        picture(folder, folder / "demo.png")
    except (OSError, IndexError, KeyError, ValueError, ZeroDivisionError) as error:
        sys.exit(f"demo_report: {folder} does not hold the runs of launch/demo.sh ({error})")
    print(text)
    print(f"picture: {folder / 'demo.png'}")


if __name__ == "__main__":
    main()
