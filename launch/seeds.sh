#!/usr/bin/env bash
# How much learning gains from each of several random starts:
#   bash launch/seeds.sh configs/tiny-w16a3kv3.yaml 0 1 2 [--set key=value ...]
# Trains once for each seed with two MPI processes (build/release must exist: bash launch/demo.sh) and prints held-out
# perplexity before the first step and after the last.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/environment.sh
config=${1:?usage: bash launch/seeds.sh CONFIG SEED... [--set key=value ...]}
shift
seeds=()
while [ $# -gt 0 ] && [[ $1 =~ ^[0-9]+$ ]]; do
  seeds+=("$1")
  shift
done
echo "| seed | random start | learned |"
echo "|---|---|---|"
for seed in "${seeds[@]}"; do
  out=runs/seeds/$(basename "$config" .yaml)-$seed
  mkdir -p "$out"
  mpirun -np 2 "${mpi_options[@]}" build/release/spq-train "$config" --set output_dir="$out" \
    --set rotation.seed="$seed" --set checkpoint.resume=never --set eval.every=0 "$@" >"$out/log" 2>&1 ||
    { cat "$out/log" >&2; exit 1; }
  sed -n 's/.*held-out perplexity after [0-9]* steps: //p' "$out/log" | paste -sd' ' |
    { read -r start learned; echo "| $seed | $start | $learned |"; }
done
