#!/usr/bin/env bash
# Learns rotations for the embedded model with two MPI processes, and shows what they are worth: first with weights in 16
# bits, then as the method-by-bits table of the field, all weights in 4 bits.
# Installs and builds what is missing first. Results: runs/demo/ (table.md, demo.png) and runs/demo/ptq/ (table.md,
# table.csv, table.png), build: build/release/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash launch/setup.sh
source launch/environment.sh

mkdir -p build
[ -f build/release/build.ninja ] || cmake --preset release -DSPQ_TESTS=OFF >build/configure.log 2>&1 ||
  { cat build/configure.log >&2; exit 1; }
echo "demo: building (a few minutes the first time)"
cmake --build build/release --target spq-train spq-ptq spq-eval -- --quiet

seeds=(0 1 2 3 4)  # of random rotations
learned=(1 2)      # seeds that learn quietly, after seed 0
mkdir -p runs/demo
train() { # NAME CONFIG [--set ...]: one run, quietly; its metrics are in runs/demo/NAME
  local name=$1 config=$2
  shift 2
  mpirun -np 2 "${mpi_options[@]}" build/release/spq-train "$config" --set output_dir="runs/demo/$name" \
    --set checkpoint.resume=never "$@" >"runs/demo/$name.log" 2>&1 || { cat "runs/demo/$name.log" >&2; exit 1; }
}
evaluate() { train "$@" --set optimizer.steps=0; }

for bits in w16a4kv4 w16a3kv3; do
  config=configs/tiny-$bits.yaml
  echo "demo: $bits: full precision, no rotation, random Hadamard rotations with seeds ${seeds[*]}"
  full=(--set quant.activation.bits=16 --set quant.key.bits=16 --set quant.value.bits=16)
  evaluate "$bits-full" "$config" "${full[@]}" --set rotation.r1=identity --set rotation.r2=identity
  evaluate "$bits-none" "$config" --set rotation.r1=identity --set rotation.r2=identity
  for seed in "${seeds[@]}"; do
    evaluate "$bits-hadamard-$seed" "$config" --set rotation.r1=hadamard --set rotation.r2=hadamard \
      --set rotation.seed="$seed"
  done
  echo "demo: $bits: mpirun -np 2 build/release/spq-train $config"
  mpirun -np 2 "${mpi_options[@]}" build/release/spq-train "$config" --set output_dir="runs/demo/$bits-learned-0" \
    --set checkpoint.resume=never --set eval.channel_magnitudes=true
  echo "demo: $bits: the same from the random rotations of seeds ${learned[*]}"
  for seed in "${learned[@]}"; do
    train "$bits-learned-$seed" "$config" --set rotation.seed="$seed"
  done
done
.deps/venv/bin/python tools/demo_report.py runs/demo

table="--ptq configs/ptq/tiny-w4a4kv4.yaml --eval configs/ptq/tiny-eval.yaml"
table+=" --rotation runs/demo/w16a4kv4-learned-0/rotation.h5"
launcher="mpirun -np 2 ${mpi_options[*]}"
echo "demo: weights in 4 bits, method by bits, behind one random rotation and the one learned from it"
.deps/venv/bin/python tools/ptq_table.py $table --launcher "$launcher" --out runs/demo/ptq --fresh
echo "demo: one random rotation may be a lucky one (they differ more than the methods do). Over five of them:"
echo "  source launch/environment.sh"
echo "  .deps/venv/bin/python tools/ptq_table.py $table --launcher '$launcher' --seeds 5 --out runs/table"
