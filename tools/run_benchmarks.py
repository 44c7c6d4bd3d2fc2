#!/usr/bin/env python3
"""Build the benchmark programs, run them, and write docs/benchmarks.md.

    .deps/venv/bin/python tools/run_benchmarks.py            everything: about half an hour on two cores
    .deps/venv/bin/python tools/run_benchmarks.py --quick    the smallest shape of each: a few minutes
    .deps/venv/bin/python tools/run_benchmarks.py --only "decoder layer"    one section again, on the same day

Every number in the page comes from here, and each stands beside the command that measured it. Run it on a quiet
machine: a command is repeated (--tries) while other programs take more than 5% of the processors, the quietest run counts,
and the page says where even that one was disturbed. Programs are built in build/bench; --cmake passes options to its
configuration. Needs 20 GB of memory (--quick: 12 GB) and 3 GB in the folder for temporary files.
"""
import argparse
import datetime
import functools
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench_training import Watch, first_step, scaling

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "slurm"))

import two_hosts  # noqa: E402

MPI = 'mpirun -np 2 --oversubscribe --bind-to none'
TWO_HOSTS_WITHIN = 300  # seconds


DISTURBED = 0.05  # share of the processors that other programs take


@dataclass
class Row:
    """One number. `counter` of the one benchmark that the filter chooses; `target` as '<= 1.2', or '' for none."""
    what: str
    program: str
    benchmark: str
    counter: str
    target: str
    quick: bool = False
    show: tuple = ()  # other counters, as remarks


STEP = ("step", "products", "forward", "backward")
PARTS = ("attention", "attention_backward", "points_r1_r2", "point_key", "point_down", "rope", "norm_backward", "swiglu",
         "swiglu_backward")
OUTSIDE = ("layer", "loss", "frames", "reduce", "cayley", "metrics", "checkpoint")
GPTQ = ("ratio_one", "accumulate", "finish", "factor", "quantize", "product", "cholesky", "updates")

SECTIONS = [
    ("One decoder layer of LLaMA-3-8B, forward and backward",
     "Time over the time of the matrix products that the step cannot do without (attention is not among them): projections, "
     "input gradients, x R and e R^T at the R1 and R2 points, moments; same dtype and threads, in turn in the same run, by "
     "LibTorch or MKL as the step chooses (model/product.h).",
     [Row("512 tokens, fp32", "step_bench", "layer_step/fp32/tokens:512/", "ratio", "<= 1.15", show=STEP),
      Row("512 tokens, bf16", "step_bench", "layer_step/bf16/tokens:512/", "ratio", "<= 1.25", True, STEP),
      Row("2048 tokens, bf16", "step_bench", "layer_step/bf16/tokens:2048/", "ratio", "<= 1.25", show=STEP)]),
    ("What a step does beside its products",
     "Seconds of each part, measured one at a time. What is missing to step minus products is taking memory.",
     [Row("512 tokens, fp32", "step_bench", "layer_parts/fp32/tokens:512/", "attention_backward", "", show=PARTS),
      Row("512 tokens, bf16", "step_bench", "layer_parts/bf16/tokens:512/", "attention_backward", "", True, PARTS),
      Row("2048 tokens, bf16", "step_bench", "layer_parts/bf16/tokens:2048/", "attention_backward", "", show=PARTS)]),
    ("Against the published way",
     "How many times faster the same layer is than automatic differentiation through weights that are rotated in fp64 in "
     "every forward pass (bench/reference_way.h, checked against ours in fp64 before it is timed).",
     [Row("512 tokens, fp32", "step_bench", "published_way/fp32/tokens:512/", "speed_up", ">= 11", show=("ours", "published")),
      Row("512 tokens, bf16", "step_bench", "published_way/bf16/tokens:512/", "speed_up", ">= 35", True,
          ("ours", "published")),
      Row("2048 tokens, bf16", "step_bench", "published_way/bf16/tokens:2048/", "speed_up", ">= 10",
          show=("ours", "published"))]),
    ("Outside the layers",
     "Share of a step of one sequence on one rank (32 layers with recompute, from one layer's time). A step of the default "
     "batch, 8 sequences, does loss and layers 8 times and the rest once.",
     [Row("1 sequence of 2048 tokens, bf16", "step_bench", "outside_the_layers/bf16", "share", "<= 0.05", show=OUTSIDE),
      Row("8 sequences of 2048 tokens, bf16", "step_bench", "outside_the_layers/bf16", "share_of_8", "<= 0.05")]),
    ("Evaluation",
     "Time of the loss of 2048 tokens through two layers and a head with 1/16 of the vocabulary, over the time of the forward "
     "pass's products.",
     [Row("fp32", "eval_bench", "perplexity/fp32", "ratio", "<= 1.2", show=("tokens/s",)),
      Row("bf16", "eval_bench", "perplexity/bf16", "ratio", "<= 1.2", True, ("tokens/s",))]),
    ("Reading a model",
     "A rank's shard, checked and with its norms folded in, over read() of as many bytes from the page cache into new memory.",
     [Row("1 rank, 2 threads", "load_bench", "load_shard/ranks:1/", "of_read", ">= 0.8", True, ("load_GB/s", "read_GB/s")),
      Row("2 ranks, 1 thread each", "load_bench", "load_shard/ranks:2/", "of_read", ">= 0.8",
          show=("load_GB/s", "read_GB/s"))]),
    ("GPTQ of one matrix with 4096 rows",
     "Time over the time of the products that GPTQ cannot do without: Hessian, Cholesky factor, updates of later columns; "
     "with the default calibration, 128 sequences of 2048 tokens. ratio_one: with one sequence, where the choice of the "
     "ranges (clip search) is a larger part.",
     [Row(f"{c} columns, group {g}{', clip search' if clip else ''}", "gptq_bench",
          f"columns:{c}/group:{g}/clip:{clip}/", "ratio", "<= 1.3", (c, g, clip) == (4096, -1, 0), GPTQ)
      for c in (4096, 14336) for g in (-1, 128) for clip in (0, 1)]),
]

KERNELS = ("Row kernels", "Time of memcpy of as many bytes as the kernel reads and writes, over the kernel's time: 2048 rows "
           "(cross entropy: 128 rows of the vocabulary), 2 threads. Target: >= 0.6. Points behind a Hadamard transform are bound "
           "by arithmetic in bf16: both transforms and the quantization of 32 values of a row of 128 take 70 to 85 vector "
           "instructions in fp32, 35 to 43 cycles, in which 128 bytes are copied three times. Two exponentials of each "
           "logit bind cross entropy.")


class Runner:
    def __init__(self, build, tries):
        self.build, self.tries, self.results = build, tries, {}

    def command(self, program, filter_, launcher=""):
        return shlex.join([*shlex.split(launcher), str(self.build / program), f"--benchmark_filter={filter_}"])

    def quietest(self, body):
        """(body(), share of the processors that others took) of the run with the least of the latter."""
        best = None
        for _ in range(self.tries):
            with Watch() as watch:
                result = body()
            print(f"    {time.monotonic() - watch.start:.0f} s, others {watch.others:.0%}", flush=True)
            if best is None or watch.others < best[1]:
                best = result, watch.others
            if watch.others < DISTURBED:
                break
        return best

    def run(self, command):
        result = subprocess.run(shlex.split(command) + ["--benchmark_format=json"], text=True, stdout=subprocess.PIPE)
        if result.returncode != 0:
            sys.exit(f"run_benchmarks: {command} failed with status {result.returncode}")
        found = json.loads(result.stdout)["benchmarks"]
        for benchmark in found:
            if benchmark.get("error_occurred"):
                sys.exit(f"run_benchmarks: {benchmark['name']}: {benchmark['error_message']}")
        return {benchmark["name"]: benchmark for benchmark in found}

    def benchmarks(self, command):
        """({name: counters}, share of others) of a program's run, made once."""
        if command not in self.results:
            print(command, flush=True)
            self.results[command] = self.quietest(lambda: self.run(command))
        return self.results[command]


def environment():
    """What launch/environment.sh sets for Open MPI."""
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"} if os.getuid() == 0 else {}
    return {**os.environ, **root, "OMPI_MCA_mpi_yield_when_idle": "1"}


def number(value):
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def judge(value, target):
    if not target:
        return ""
    sense, limit = target.split()
    met = value <= float(limit) if sense == "<=" else value >= float(limit)
    return "yes" if met else "**no**"


def with_load(remarks, others):
    note = f"disturbed: other programs took {others:.0%} of the processors" if others >= DISTURBED else ""
    return ", ".join(text for text in (remarks, note) if text)


def table(rows):
    """As Markdown; empty without rows."""
    if not rows:
        return ""
    head = ["", "target", "measured", "met", "remarks", "command"]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


def program_rows(runner, rows, quick):
    for row in rows:
        if quick and not row.quick:
            continue
        command = runner.command(row.program, row.benchmark)
        found, others = runner.benchmarks(command)
        (counters,) = found.values()
        if row.target:
            value, measured = counters[row.counter], number(counters[row.counter])
        else:
            value, measured = 0, ""
        remarks = ", ".join(f"{name} {number(counters[name])}" for name in row.show)
        yield [row.what, row.target, measured, judge(value, row.target), with_load(remarks, others), f"`{command}`"]


def kernel_table(runner, quick):
    command = runner.command("kernels_bench", "bf16/rows:2048/.*threads:2" if quick else "threads:2")
    cells = {}
    found, others = runner.benchmarks(command)
    for name, counters in found.items():
        kernel, dtype, rows, cols = re.match(r"(\w+)/(\w+)/rows:(\d+)/cols:(\d+)", name).groups()
        if rows in ("2048", "128"):
            cells.setdefault((kernel, cols), {})[dtype] = counters["of_memcpy"]
    lines = [["kernel", "columns", "bf16", "fp32"], ["---"] * 4]
    for (kernel, cols), values in cells.items():
        shown = [number(values[d]) + (" (**below**)" if values[d] < 0.6 else "") if d in values else ""
                 for d in ("bf16", "fp32")]
        lines.append([kernel, cols, *shown])
    return f"`{command}` {with_load('', others)}".rstrip() + "\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)


def speeds(results):
    """GB/s by benchmark."""
    return {name.split("/iterations")[0]: b["bytes_per_second"] * 1e-9 for name, b in results.items() if "bytes_per_second" in b}


def gather_table(runner):
    command = runner.command("gather_bench", "memcpy|gather|reduce", MPI)
    results, others = runner.benchmarks(command)
    speed = speeds(results)
    rows = []
    for name, target in (("gather/real_nodes", ">= 0.5"), ("gather/nodes_of_one_rank", ""), ("gather/mpi_allgather", "")):
        value = speed[name] / speed["memcpy"]
        rows.append([name, target, number(value), judge(value, target),
                     with_load(f"{number(speed[name])} GB/s, memcpy {number(speed['memcpy'])} GB/s", others),
                     f"`{command}`"])
    return table(rows), speed["gather/real_nodes"]


def two_hosts_table(runner):
    """Ours over MPI_Allgather between two network namespaces, which is all the network there is here; or why not."""
    if reason := two_hosts.missing():
        return f"Not measured: {reason}."
    filter_ = "gather/(real_nodes|mpi_allgather)"

    def measure():
        with tempfile.TemporaryDirectory(prefix="spq-bench-") as folder:
            hosts = two_hosts.TwoHosts(folder)
            try:
                hosts.start()
                run = hosts.run([runner.build.resolve() / "gather_bench", f"--benchmark_filter={filter_}", "--benchmark_format=json"])
                if run.wait(TWO_HOSTS_WITHIN) != 0:
                    sys.stderr.write(f"run_benchmarks: gather_bench on two hosts failed\n{hosts.describe()}\n")
                    return None
                return {b["name"]: b for b in json.loads(hosts.text("out"))["benchmarks"]}
            finally:
                hosts.stop()

    print("gather_bench on two hosts", flush=True)
    results = measure()  # once: a host's processes are not children of this one, so how quiet it was is not known
    if results is None:
        return "Not measured: gather_bench failed."
    speed = speeds(results)
    ours, bare = speed["gather/real_nodes"], speed["gather/mpi_allgather"]
    return table([["a layer, one rank on each host, over MPI_Allgather", ">= 0.9", number(ours / bare), judge(ours / bare, ">= 0.9"),
                   f"{number(ours)} GB/s, MPI_Allgather {number(bare)} GB/s",
                   f"`mpirun ... gather_bench '--benchmark_filter={filter_}'` as in tests/slurm/two_hosts.py"]])


def training_table(runner, quick, gather_speed):
    def measure():
        with tempfile.TemporaryDirectory(prefix="spq-bench-") as folder:
            return [first_step(runner.build, Path(folder), environment()),
                    *scaling(runner.build, Path(folder), environment(), MPI, quick, gather_speed)]

    print("spq-train", flush=True)
    results, others = runner.quietest(measure)
    return table([[r.what, r.target, number(r.value), judge(r.value, r.target), with_load(r.remarks, others),
                   f"`{r.command}`"] for r in results])


def machine():
    cpu = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    flags = [f for f in ("avx512f", "avx512_bf16", "amx_bf16") if f in Path("/proc/cpuinfo").read_text()]
    memory = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text()).group(1)) / 2**20
    return (f"{cpu.group(1) if cpu else 'unknown processor'} ({', '.join(flags)}), {os.cpu_count()} cores, {memory:.0f} GiB; "
            f"{os.environ.get('OMP_NUM_THREADS', os.cpu_count())} threads where a row does not say otherwise")


def sections_of(path):
    """Sections of the page that was written today, by title."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if f" on {datetime.date.today()};" not in text:
        sys.exit(f"run_benchmarks: --only replaces parts of a page written today; {path} was not")
    return {part.split("\n", 1)[0]: f"## {part}".rstrip() for part in text.split("\n## ")[1:]}


def page(arguments, runner):
    old = sections_of(arguments.out) if arguments.only else {}
    gathered = functools.cache(lambda: gather_table(runner))
    parts = []

    def add(title, text, body):
        if arguments.only and not any(words.lower() in title.lower() for words in arguments.only):
            parts.append(old[title])
        elif measured := body():
            parts.append("\n\n".join(filter(None, [f"## {title}", text, measured])))

    for title, text, rows in SECTIONS:
        add(title, text, lambda rows=rows: table(list(program_rows(runner, rows, arguments.quick))))
    add(*KERNELS, lambda: kernel_table(runner, arguments.quick))
    add("Gathering a layer", "Bandwidth of gathering one layer on two ranks, read through once, over memcpy's with the same "
        "reading.", lambda: gathered()[0])
    add("Gathering between two hosts", "Two network namespaces of this machine, joined by a virtual cable (TCP).",
        lambda: two_hosts_table(runner))
    add("Training", "Programs as a user runs them; `bench_training.py` writes the model and the configurations that stand for "
        "<...>.", lambda: training_table(runner, arguments.quick, gathered()[1]))
    made = f"tools/run_benchmarks.py{' --quick' if arguments.quick else ''}"
    head = (f"# Benchmarks\n\nWritten by `{made}` on {datetime.date.today()}; do not edit. Machine: {machine()}. Times "
            "are in seconds and the least of several. A row is disturbed where other programs took 5% of the processors or more.")
    return "\n\n".join([head, *parts]) + "\n"


def build(folder, options):
    configure = ["cmake", "-S", ".", "-B", str(folder), "-G", "Ninja", "-DSPQ_BENCH=ON", "-DSPQ_TESTS=OFF", *options]
    programs = ["step_bench", "eval_bench", "load_bench", "gptq_bench", "kernels_bench", "gather_bench", "spq-train"]
    for command in (configure, ["ninja", "-C", str(folder), *programs]):
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
            sys.exit(f"run_benchmarks: {shlex.join(command)} failed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smallest shape of each")
    parser.add_argument("--build", type=Path, default=Path("build/bench"), help="build folder (default: %(default)s)")
    parser.add_argument("--cmake", action="append", default=[], metavar="-DKEY=VALUE", help="option of the configuration")
    parser.add_argument("--tries", type=int, default=3, help="runs of a command that others disturb (default: %(default)s)")
    parser.add_argument("--only", action="append", default=[], metavar="WORDS",
                        help="measure the section with these words in its title, keep the others of a page written today")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md")
    arguments = parser.parse_args()
    arguments.out = arguments.out.resolve()
    os.environ.update(environment())
    os.chdir(ROOT)
    build(arguments.build, arguments.cmake)
    text = page(arguments, Runner(arguments.build, arguments.tries))
    arguments.out.write_text(text, encoding="utf-8")
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
