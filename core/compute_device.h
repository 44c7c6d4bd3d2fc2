// Where a program computes.
#pragma once

namespace spq {

/// kAuto: a GPU where every rank can have one, else the CPU.
enum class ComputeDevice { kAuto, kCpu, kCuda };

}  // namespace spq
