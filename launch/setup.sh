#!/usr/bin/env bash
# Installs what building and running spq needs, and nothing that is there already.
#   bash launch/setup.sh            packages of the system, LibTorch and Python tools in .deps/
#   bash launch/setup.sh --tests    also what the tests need
# Debian 12 (or a relative with apt-get), as root or with sudo. Everything else stays inside the project's .deps folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(g++ cmake ninja-build ccache python3 python3-venv openmpi-bin libopenmpi-dev libhdf5-dev zlib1g-dev libyaml-cpp-dev
  nlohmann-json3-dev libfmt-dev libcli11-dev libssl-dev)
# LibTorch is the CPU part of the PyPI wheel; its libraries need two small NVIDIA wheels even without a GPU.
wheels=(torch==2.11.0 nvidia-cuda-cupti==13.0.85 nvidia-cuda-runtime==13.0.96)
# With a CUDA toolkit its CUDA part is used too. What that needs and a toolkit does not have:
toolkit=${CUDA_HOME:-/usr/local/cuda}
if [ -e "$toolkit/lib64/libcublas.so.13" ]; then
  wheels+=(nvidia-cusparselt-cu13==0.8.0 nvidia-cufile==1.15.1.6 nvidia-nvshmem-cu13==3.4.5)
fi
tools=(numpy h5py tokenizers safetensors matplotlib)
kind=run
[ -e .deps/installed-tests ] && set -- --tests # what the tests need includes what running needs
if [ "${1:-}" = --tests ]; then
  kind=tests
  packages+=(libgtest-dev libgmock-dev libbenchmark-dev clang-format slurm-wlm munge iproute2)
  # Python can import that torch only where the CUDA part of LibTorch is complete; one test uses it if it can.
  if [ ${#wheels[@]} -gt 3 ]; then
    tools+=(filelock typing-extensions sympy networkx jinja2 fsspec transformers==5.23.0)
  fi
elif [ $# -gt 0 ]; then
  echo "setup: unknown argument '$1' (only --tests is known)" >&2
  exit 2
fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  command="apt-get install -y --no-install-recommends ${missing[*]}"
  if ! command -v apt-get >/dev/null; then
    echo "setup: no apt-get here. Install these (Debian's names) with your system's tool, then run this again: ${missing[*]}" >&2
    exit 1
  fi
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "setup: neither root nor sudo. Ask an administrator to run: $command" >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  echo "setup: installing ${missing[*]}"
  log=$(mktemp)
  if ! { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive $command -qq; } >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    echo "setup: could not install packages (log: $log). Run by hand: $command" >&2
    exit 1
  fi
  rm -f "$log"
fi

# The stamp holds what was asked for, so that a changed list installs again and an unchanged one does nothing.
wanted="${wheels[*]} ${tools[*]}"
if [ "$(cat ".deps/installed-$kind" 2>/dev/null || true)" != "$wanted" ]; then
  echo "setup: installing LibTorch and Python tools into .deps/venv (about 1.5 GB)"
  mkdir -p .deps
  log=.deps/pip.log
  [ -x .deps/venv/bin/pip ] || python3 -m venv .deps/venv
  if ! { .deps/venv/bin/pip install -q --disable-pip-version-check --no-deps "${wheels[@]}" &&
    .deps/venv/bin/pip install -q --disable-pip-version-check "${tools[@]}"; } >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    echo "setup: pip could not install them (log: $log). Check the network and run again: bash launch/setup.sh" >&2
    exit 1
  fi
  printf '%s' "$wanted" >".deps/installed-$kind"
fi
