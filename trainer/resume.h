// Where a run starts: from its configuration, or from a checkpoint.
#pragma once

#include <filesystem>
#include <ostream>
#include <string>

#include "data/llama_config.h"
#include "dist/communicator.h"
#include "trainer/config.h"
#include "trainer/train_step.h"

namespace spq::trainer {

/// The folder of a run's checkpoints.
std::filesystem::path checkpoint_folder(const Config& config);

/// Rank 0 reads the newest readable checkpoint (checkpoint.resume: auto), the named one, or makes the start
/// rotations; all ranks receive its bits. A damaged checkpoint is passed over with a warning on `out`
/// (rank 0's; may be null), where it is also said that a run goes on on another kind of device. The state is
/// put on `device`. AgreedError on a checkpoint of another model, of another configuration (naming
/// the key), or of other shapes.
TrainState start_state(dist::Communicator& comm, const Config& config, const data::LlamaConfig& model,
                       const std::string& model_fingerprint, c10::Device device, std::ostream* out);

/// Rank 0 writes checkpoint-<step>.h5 and removes old ones; every rank returns together. AgreedError when it
/// cannot be written, or when ranks hold different rotations (a broken run must not be saved).
void save_checkpoint(dist::Communicator& comm, const Config& config, const TrainState& state,
                     const std::string& model_fingerprint);

/// Rank 0 writes output_dir/rotation.h5 and, if asked for, output_dir/R.bin.
void save_result(dist::Communicator& comm, const Config& config, const TrainState& state,
                 const std::string& model_fingerprint);

}  // namespace spq::trainer
