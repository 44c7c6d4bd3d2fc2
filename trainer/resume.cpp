#include "trainer/resume.h"

#include <ATen/ops/full.h>

#include <optional>

#include "core/error.h"
#include "data/checkpoint.h"
#include "data/rotation_file.h"
#include "dist/collectives.h"
#include "trainer/config_check.h"
#include "trainer/config_yaml.h"
#include "trainer/rotation_setup.h"

namespace spq::trainer {
namespace {

constexpr const char* kDevice = "device";  // among a checkpoint's versions: "cpu" or "cuda"

std::string kind_of(c10::Device device) {
  return c10::DeviceTypeName(device.type(), /*lower_case=*/true);
}

data::Checkpoint to_checkpoint(dist::Communicator& comm, const Config& config, const TrainState& state,
                               const std::string& model_fingerprint) {
  data::Checkpoint checkpoint;
  checkpoint.rotations = on_device(state.rotations, at::kCPU);
  if (config.optimizer.momentum > 0) checkpoint.momentum = on_device(state.momentum, at::kCPU);
  checkpoint.step = state.step;
  checkpoint.next_sequence = state.step * config.batch.sequences;
  checkpoint.seed = config.data.seed;
  checkpoint.world_size = comm.world_size();
  checkpoint.config_yaml = to_yaml(config);
  checkpoint.model_fingerprint = model_fingerprint;
  checkpoint.versions = {{"spq", SPQ_VERSION},
                         {"libtorch", SPQ_TORCH_VERSION},
                         {"communicator", std::string(comm.backend())},
                         {kDevice, kind_of(state.rotations.r1.device())}};
  return checkpoint;
}

void refuse_unfitting(const data::Checkpoint& checkpoint, const std::filesystem::path& path,
                      const Config& config, const data::LlamaConfig& model, const std::string& fingerprint) {
  check(checkpoint.model_fingerprint == fingerprint,
        "{}: made with another model than {} (fingerprint {:.12}... instead of {:.12}...); choose another "
        "output_dir or set "
        "checkpoint.resume to never",
        path.string(), config.model, checkpoint.model_fingerprint, fingerprint);
  const Config saved = config_from_yaml_text(checkpoint.config_yaml, path.string());
  if (const auto difference = first_difference_that_matters(saved, config)) {
    fail(
        "{}: cannot go on with a changed configuration: {}; undo the change, choose another output_dir or "
        "set "
        "checkpoint.resume to never",
        path.string(), *difference);
  }
  check(checkpoint.rotations.r1.size(0) == model.hidden_size &&
            static_cast<int64_t>(checkpoint.rotations.r2.size()) == model.num_layers,
        "{}: rotations of another shape than the model's", path.string());
  check(checkpoint.step <= config.optimizer.steps, "{}: {} steps are done already, but optimizer.steps is {}",
        path.string(), checkpoint.step, config.optimizer.steps);
}

// Rank 0 only. The newest checkpoint that can be read; damaged ones are named and passed over. When all are
// damaged the run does not start anew by itself: its new checkpoints would push the old ones out.
std::optional<data::Checkpoint> newest_readable(const Config& config, std::filesystem::path& path,
                                                std::ostream* out) {
  const std::vector<std::filesystem::path> candidates = data::list_checkpoints(checkpoint_folder(config));
  for (const auto& candidate : candidates) {
    try {
      path = candidate;
      return data::read_checkpoint(candidate);
    } catch (const Error& error) {
      if (out) *out << "warning: passed over: " << error.what() << "\n";
    }
  }
  check(candidates.empty(),
        "{}: none of the {} checkpoints can be read (newest: {}); move them away or set checkpoint.resume to "
        "never",
        checkpoint_folder(config).string(), candidates.size(),
        candidates.empty() ? "" : candidates.front().filename().string());
  return std::nullopt;
}

void say_resumed(const data::Checkpoint& checkpoint, const std::filesystem::path& path, c10::Device device,
                 std::ostream& out) {
  out << fmt::format("resuming from {} (step {})\n", path.string(), checkpoint.step);
  const auto before = checkpoint.versions.find(kDevice);
  if (before == checkpoint.versions.end() || before->second == kind_of(device)) return;
  out << fmt::format(
      "note: it was computed on {} and goes on on {}: the run is continued, but not bit for bit\n",
      before->second, kind_of(device));
}

std::optional<data::Checkpoint> find_checkpoint(const Config& config, const data::LlamaConfig& model,
                                                const std::string& fingerprint, c10::Device device,
                                                std::ostream* out) {
  if (config.checkpoint.resume == "never") return std::nullopt;
  std::filesystem::path path = config.checkpoint.resume;
  std::optional<data::Checkpoint> checkpoint =
      config.checkpoint.resume == "auto" ? newest_readable(config, path, out) : data::read_checkpoint(path);
  if (!checkpoint) return std::nullopt;
  refuse_unfitting(*checkpoint, path, config, model, fingerprint);
  if (out) say_resumed(*checkpoint, path, device, *out);
  return checkpoint;
}

void broadcast(dist::Communicator& comm, data::Rotations& rotations) {
  comm.broadcast(rotations.r1, /*root=*/0);
  for (at::Tensor& r2 : rotations.r2) comm.broadcast(r2, /*root=*/0);
}

}  // namespace

std::filesystem::path checkpoint_folder(const Config& config) {
  return std::filesystem::path(config.output_dir) / "checkpoints";
}

TrainState start_state(dist::Communicator& comm, const Config& config, const data::LlamaConfig& model,
                       const std::string& model_fingerprint, c10::Device device, std::ostream* out) {
  TrainState state;
  dist::collectively(comm, [&] {
    std::optional<data::Checkpoint> checkpoint;
    if (comm.rank() == 0) checkpoint = find_checkpoint(config, model, model_fingerprint, device, out);
    if (checkpoint) {
      state.rotations = checkpoint->rotations;
      state.step = checkpoint->step;
      if (checkpoint->momentum) state.momentum = *checkpoint->momentum;
    } else if (comm.rank() == 0) {
      state.rotations = start_rotations(config.rotation, model);
    } else {  // shapes only: rank 0's bits arrive below
      RotationConfig shapes;
      shapes.r1 = shapes.r2 = RotationKind::kIdentity;
      state.rotations = start_rotations(shapes, model);
    }
    if (!state.momentum.r1.defined()) state.momentum = zero_momentum(state.rotations);
  });
  at::Tensor step = at::full({1}, state.step, at::kLong);
  comm.broadcast(step, /*root=*/0);
  state.step = step.item<int64_t>();
  broadcast(comm, state.rotations);
  broadcast(comm, state.momentum);
  state.rotations = on_device(state.rotations, device);
  state.momentum = on_device(state.momentum, device);
  return state;
}

void save_checkpoint(dist::Communicator& comm, const Config& config, const TrainState& state,
                     const std::string& model_fingerprint) {
  const std::vector<std::string> hashes = dist::gather_texts(comm, rotation_hash(state.rotations));
  dist::collectively(comm, [&] {
    if (comm.rank() != 0) return;
    for (size_t r = 1; r < hashes.size(); ++r) {
      check(hashes[r] == hashes[0], "step {}: rank {} holds other rotations than rank 0; nothing was saved",
            state.step, r);
    }
    const std::filesystem::path folder = checkpoint_folder(config);
    data::write_checkpoint(data::checkpoint_path(folder, state.step),
                           to_checkpoint(comm, config, state, model_fingerprint));
    data::prune_checkpoints(folder, config.checkpoint.keep);
  });
}

void save_result(dist::Communicator& comm, const Config& config, const TrainState& state,
                 const std::string& model_fingerprint) {
  dist::collectively(comm, [&] {
    if (comm.rank() != 0) return;
    const std::filesystem::path folder = config.output_dir;
    data::write_checkpoint(folder / "rotation.h5", to_checkpoint(comm, config, state, model_fingerprint));
    if (config.checkpoint.write_rbin) data::write_rbin(folder / "R.bin", state.rotations);
  });
}

}  // namespace spq::trainer
