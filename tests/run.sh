#!/usr/bin/env bash
# Builds everything and runs every test: unit tests, and multi-rank tests under mpirun at 1, 2, 3 and 4 ranks.
#   bash tests/run.sh              release build in build/release
#   bash tests/run.sh asan         AddressSanitizer and UndefinedBehaviorSanitizer in build/asan
#   bash tests/run.sh release -R dist    further arguments go to ctest
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
preset=${1:-release}
[ $# -gt 0 ] && shift
bash launch/setup.sh --tests
source launch/environment.sh

# Configures again only where the folder was made without tests (by the demo) or not at all.
if ! grep -qs '^SPQ_TESTS:BOOL=ON' "build/$preset/CMakeCache.txt"; then
  cmake --preset "$preset" -DSPQ_TESTS=ON
fi
cmake --build "build/$preset"
ctest --test-dir "build/$preset" --output-on-failure -j 2 "$@"
