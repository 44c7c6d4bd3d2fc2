#!/usr/bin/env bash
# Checks spq on a machine with NVIDIA GPUs and writes one report:
#   bash launch/gpu_check.sh [options]
#     --build DIR         use this build folder as it is (default: build/release, configured and built first)
#     --out FILE          the report (default: gpu_report.md)
#     --ranks N           ranks of the GPU runs (default: one for each GPU, at most 8)
#     --config CONFIG     also times steps of this configuration on the GPUs, against one GPU for the overlap
#     --plan-device NAME  with --config: also what spq-plan predicts for this entry of configs/devices.yaml
#     --dry-run-on-cpu    no GPU: the CPU takes the GPU's part, to test this script
# Parts: the tests with the label gpu, the kernel benchmark, a short training of the embedded model on the GPU against
# the CPU (tools/compare_devices.py states the tolerances). Exit status 0: all passed; 1: not, or no GPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

device=cuda build="" out=gpu_report.md ranks="" config="" plan_device=""
steps=10
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run-on-cpu) device=cpu ;;
    --build | --out | --ranks | --config | --plan-device)
      [ $# -gt 1 ] || { echo "gpu_check: $1 needs a value" >&2; exit 2; }
      name=${1#--}
      printf -v "${name//-/_}" '%s' "$2"
      shift ;;
    *) echo "gpu_check: unknown option '$1'" >&2; exit 2 ;;
  esac
  shift
done

gpus=0
if [ $device = cuda ]; then
  gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU ' || true)
  [ "$gpus" -gt 0 ] || { echo "gpu_check: no GPU here (nvidia-smi lists none); nothing was checked" >&2; exit 1; }
  [ -n "$ranks" ] || ranks=$((gpus < 8 ? gpus : 8))
fi
ranks=${ranks:-3} # dry run: another number than the CPU runs have, so that sums differ

if [ -z "$build" ]; then
  build=build/release
  bash launch/setup.sh --tests
  cmake --preset release -DSPQ_TESTS=ON -DSPQ_BENCH=ON
  cmake --build $build
fi
source launch/environment.sh
python=${SPQ_PYTHON:-.deps/venv/bin/python}
[ -x "$build/spq-train" ] || { echo "gpu_check: no spq-train in $build" >&2; exit 1; }

# Everything is made here; the report is moved to its place whole.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: >"$work/results"
: >"$work/body"
failed=0
result() { # NAME pass|FAIL|"not run" DETAIL: one row of the first table
  echo "| $1 | $2 | $3 |" >>"$work/results"
  [ "$2" != FAIL ] || failed=1
  echo "gpu_check: $1: $2${3:+ ($3)}"
}
section() { printf '\n## %s\n\n' "$1" >>"$work/body"; }
quote() { { echo '```'; cat; echo '```'; } >>"$work/body"; }
shown() { printf '`%s`\n\n' "$*" >>"$work/body"; }

tests() {
  section "Tests with the label gpu"
  shown ctest --test-dir "$build" -L gpu
  local status=0 total skipped failures
  ctest --test-dir "$build" -L gpu --output-on-failure --no-tests=ignore --output-junit "$work/junit.xml" \
    --test-output-size-passed 1000000 >"$work/ctest" 2>&1 || status=$?
  total=$(ctest --test-dir "$build" -L gpu -N 2>/dev/null | sed -n 's/^Total Tests: //p')
  # GoogleTest ends with 0 when it skips: what it says is in the XML.
  skipped=$({ grep -o '\[  SKIPPED \] [0-9]* test' "$work/junit.xml" || true; } | awk '{n += $4} END {print n + 0}')
  failures=$(grep -c -e '\*\*\*Failed' -e '\*\*\*Timeout' -e '\*\*\*Exception' -e '\*\*\*Not Run' "$work/ctest" || true)
  tail -n 40 "$work/ctest" | quote
  local detail="${total:-0} test programs, $failures failed, $skipped tests skipped"
  if [ "$status" -ne 0 ]; then
    result "gpu tests" FAIL "$detail"
  elif [ $device = cpu ]; then
    result "gpu tests" "not run" "dry run: $detail"
  elif [ "${total:-0}" -eq 0 ] || grep -q 'no GPU:' "$work/junit.xml"; then # the tests' reason to skip without one
    result "gpu tests" FAIL "$detail; they found no GPU"
  else
    result "gpu tests" pass "$detail"
  fi
}

kernels() {
  section "Kernel benchmark"
  local program=gpu_kernels_bench
  [ $device = cuda ] || program=kernels_bench
  if [ ! -x "$build/$program" ]; then
    echo "There is no $program in $build (cmake -DSPQ_BENCH=ON)." >>"$work/body"
    [ $device = cpu ] && result "kernel benchmark" "not run" "no $program" || result "kernel benchmark" FAIL "no $program"
    return
  fi
  shown "$build/$program --benchmark_counters_tabular=true"
  if "$build/$program" --benchmark_counters_tabular=true >"$work/kernels" 2>"$work/kernels.err"; then
    result "kernel benchmark" pass ""
  else
    result "kernel benchmark" FAIL "$(tail -n 1 "$work/kernels.err")"
  fi
  quote <"$work/kernels"
}

train() { # NAME RANKS DEVICE CONFIG [--set ...]; output in $work/NAME
  local name=$1 count=$2 on=$3 from=$4
  shift 4
  local command=(mpirun -np "$count" "${mpi_options[@]}" "$build/spq-train" "$from" --set compute.device="$on"
    --set checkpoint.resume=never "$@")
  shown "${command[@]}"
  "${command[@]}" --set output_dir="$work/$name" >"$work/$name.log" 2>&1
}

error_in() { grep -h 'error' "$@" | head -n 1 || tail -qn 1 "$@" | head -n 1; } # LOG...: what went wrong, in one line

training() {
  section "Training: $steps steps of the embedded model, $device with $ranks rank(s) against the CPU"
  local embedded=configs/tiny-w16a4kv4.yaml
  local same=(--set optimizer.steps="$steps" --set compute.dtype=fp32 --set checkpoint.every=1
    --set checkpoint.keep="$steps" --set eval.every=0)
  local name
  if ! { train cpu1 1 cpu $embedded "${same[@]}" --set compute.threads=1 &&
    train cpu2 2 cpu $embedded "${same[@]}" --set compute.threads=1 &&
    train checked "$ranks" $device $embedded "${same[@]}" --set compute.threads=1; }; then
    for name in cpu1 cpu2 checked; do [ ! -e "$work/$name.log" ] || tail -n 20 "$work/$name.log"; done | quote
    result "training against the CPU" FAIL "a run failed: $(error_in "$work"/c*.log)"
    return
  fi
  if "$python" tools/compare_devices.py --device "$work/checked" --expect $device "$work/cpu1" "$work/cpu2" \
    >"$work/comparison" 2>"$work/comparison.err"; then
    result "training against the CPU" pass "$steps steps"
  else
    result "training against the CPU" FAIL "$(grep -c 'FAIL' "$work/comparison") rows fail $(tail -n 1 "$work/comparison.err")"
  fi
  cat "$work/comparison" >>"$work/body"
}

median() { # NAME: seconds of a step, without the first, of the run in $work/NAME
  "$python" -c 'import json, statistics, sys
records = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
print("%.4f" % statistics.median([r["seconds"] for r in records if "loss" in r][1:]))' "$work/$1/metrics.jsonl"
}

# Each rank computes one sequence, so that a single rank, which gathers nothing, does the work of one of many.
step_time() {
  section "Steps of $config, one sequence for each rank"
  local short=(--set optimizer.steps=6 --set checkpoint.every=0 --set data.heldout= --set eval.every=0)
  local all one
  if ! train steps "$ranks" $device "$config" "${short[@]}" --set batch.sequences="$ranks"; then
    tail -n 20 "$work/steps.log" | quote
    result "steps of $config" FAIL "$(error_in "$work/steps.log")"
    return
  fi
  all=$(median steps)
  printf '| ranks | seconds a step (median of 5) |\n|---|---|\n| %s | %s |\n' "$ranks" "$all" >>"$work/table"
  if [ "$ranks" -gt 1 ] && train one 1 $device "$config" "${short[@]}" --set batch.sequences=1; then
    one=$(median one)
    printf '| 1 | %s |\n\nOverlap (time of one rank / time of all): %s\n' "$one" \
      "$("$python" -c "print('%.3f' % ($one / $all))")" >>"$work/table"
  elif [ "$ranks" -gt 1 ]; then
    printf '\nOverlap: not measured, one rank alone does not run: %s\n' "$(error_in "$work/one.log")" >>"$work/table"
  fi
  cat "$work/table" >>"$work/body"
  result "steps of $config" pass "$all s with $ranks rank(s)"
  [ -n "$plan_device" ] || return 0
  section "What spq-plan predicts"
  local plan=("$build/spq-plan" "$config" --world-size "$ranks" --device "$plan_device" --set batch.sequences="$ranks")
  shown "${plan[@]}"
  "${plan[@]}" 2>&1 | quote || result "spq-plan" FAIL "see below"
}

machine() {
  echo "- date: $(date -u '+%Y-%m-%d %H:%M') UTC"
  echo "- commit: $(git rev-parse --short HEAD 2>/dev/null || echo unknown)$(git diff --quiet HEAD 2>/dev/null || echo ', changed')"
  echo "- program: $("$build/spq-train" --version)"
  echo "- LibTorch: $(sed -n "s/^__version__ = '\(.*\)'/\1/p" "$(sed -n 's/^SPQ_TORCH_DIR:.*=//p' "$build/CMakeCache.txt" 2>/dev/null)/version.py" 2>/dev/null || echo unknown)"
  echo "- MPI: $(mpirun --version | head -n 1)"
  echo "- CPU: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) processors"
  if [ $device = cuda ]; then
    nvidia-smi --query-gpu=index,name,memory.total,driver_version --format=csv,noheader | sed 's/^/- GPU /'
    echo "- CUDA compiler: $( (nvcc --version 2>/dev/null || echo none) | tail -n 1)"
  else
    echo "- GPU: none was used. **Dry run: the CPU took the GPU's part.**"
  fi
}

tests
kernels
training
[ -z "$config" ] || step_time
{
  echo "# GPU check"
  echo
  machine
  printf '\n| check | result | |\n|---|---|---|\n'
  cat "$work/results" "$work/body"
} | sed "s#$work#OUT#g" >"$out.$$"
mv "$out.$$" "$out"
echo "gpu_check: wrote $out"
exit $failed
