// The PTQ stage from a model directory to a quantized one.
#pragma once

#include <optional>
#include <ostream>

#include "dist/communicator.h"
#include "ptq/ptq_config.h"

namespace spq::ptq {

/// Merges rotations, quantizes weights layer by layer and writes config.output_dir (Hugging Face form with
/// the values the integers stand for, manifest, R.bin where something was rotated); evaluates it when there
/// are tokens for that. Every rank calibrates on its part of the samples and quantizes its part of the rows.
/// Memory of a rank: a few layers, the calibration states and, while evaluating, its shard. Rank 0 speaks on
/// `out` and writes. On GPUs as config.compute.device says. Returns the perplexity, if evaluated. AgreedError
/// on bad input, before anything is written where it can be seen before.
std::optional<double> run_ptq(dist::Communicator& comm, const PtqConfig& config, std::ostream* out);

/// The checks of run_ptq that read headers only. Collective; AgreedError as run_ptq.
void check_ptq(dist::Communicator& comm, const PtqConfig& config);

}  // namespace spq::ptq
