// channels.json: per-channel activation magnitudes before and after the rotation, for pictures.
#pragma once

#include "data/rotations.h"
#include "data/token_file.h"
#include "dist/communicator.h"
#include "model/network.h"
#include "trainer/config.h"

namespace spq::trainer {

/// Rank 0 writes output_dir/channels.json: {"layers": [{"before": [...], "after": [...]}, ...]}, each list
/// one number per residual channel (model/channel_stats.h), from the first held-out sequence. Collective.
void write_channel_report(dist::Communicator& comm, const model::Network& network,
                          model::WeightSource& weights, const data::TokenFile& tokens, const Config& config);

}  // namespace spq::trainer
