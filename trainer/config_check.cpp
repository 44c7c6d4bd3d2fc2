#include "trainer/config_check.h"

#include <fmt/format.h>

#include <filesystem>
#include <vector>

#include "core/error.h"
#include "data/config_lookup.h"
#include "trainer/config_keys.h"

namespace spq::trainer {
namespace {

void check_rotations(const RotationConfig& rotation, int64_t steps) {
  bool learned = rotation.r1 == RotationKind::kLearned || rotation.r2 == RotationKind::kLearned;
  bool start_from_file = learned && rotation.start == RotationKind::kFile;
  bool needs_file =
      rotation.r1 == RotationKind::kFile || rotation.r2 == RotationKind::kFile || start_from_file;
  check(learned || rotation.start == RotationConfig{}.start,
        "rotation.start is given, but neither rotation.r1 nor rotation.r2 is learned: remove it");
  check(!needs_file || !rotation.file.empty(),
        "rotation.file is empty, but rotation.r1, rotation.r2 or rotation.start is file");
  check(needs_file || rotation.file.empty(),
        "rotation.file is '{}', but none of rotation.r1, rotation.r2 and rotation.start is file: remove it",
        rotation.file);
  check(learned || steps == 0,
        "nothing is learned: set rotation.r1 or rotation.r2 to learned, or optimizer.steps (found {}) to 0 "
        "to evaluate only",
        steps);
}

/// Without a quantizer in sight of a learned rotation its gradient is zero.
void check_something_to_learn_from(const Config& config) {
  if (config.optimizer.steps == 0) return;
  bool activation = config.quant.activation.bits < 16, value = config.quant.value.bits < 16;
  bool r1_learns = config.rotation.r1 == RotationKind::kLearned && activation;
  bool r2_learns = config.rotation.r2 == RotationKind::kLearned && (activation || value);
  check(r1_learns || r2_learns,
        "no learned rotation meets a quantizer: rotation.r1 needs quant.activation.bits below 16 (found {}), "
        "rotation.r2 "
        "that or quant.value.bits below 16 (found {})",
        config.quant.activation.bits, config.quant.value.bits);
}

bool same_path(const std::string& a, const std::string& b) {
  auto plain = [](const std::string& text) {
    std::filesystem::path path = std::filesystem::path(text).lexically_normal();
    return path.has_filename() ? path : path.parent_path();
  };
  return plain(a) == plain(b);
}

/// Of the keys that must match; `constant`: the schedule is constant before and after.
std::optional<std::string> first_difference(const std::vector<data::Key>& saved,
                                            const std::vector<data::Key>& now, bool constant) {
  using enum data::OnResume;
  for (size_t i = 0; i < saved.size(); ++i) {
    const data::Key& key = saved[i];
    bool may_change = key.on_resume == kMayChange || (key.on_resume == kMustMatchUnlessConstant && constant);
    std::string before = key.get(), after = now[i].get();
    bool same = before == after || (key.type == "path" && same_path(before, after));
    if (!may_change && !same) return fmt::format("{} was '{}' and is '{}'", key.path, before, after);
  }
  return std::nullopt;
}

}  // namespace

void validate(const Config& config) {
  Config copy = config;
  data::check_values(bind_keys(copy));
  check_rotations(config.rotation, config.optimizer.steps);
  check_something_to_learn_from(config);
  check(config.batch.micro_batch <= config.batch.sequences,
        "batch.micro_batch is {}, more than the global batch: batch.sequences is {}",
        config.batch.micro_batch, config.batch.sequences);
  bool heldout = !config.data.heldout.empty();
  check(heldout || config.eval.every == 0, "eval.every is {}, but data.heldout is empty", config.eval.every);
  check(heldout || !config.eval.channel_magnitudes,
        "eval.channel_magnitudes is true, but data.heldout is empty: its first sequence would be used");
  check(heldout || config.eval.sequences == 0, "eval.sequences is {}, but data.heldout is empty",
        config.eval.sequences);
}

std::optional<std::string> first_difference_that_matters(const Config& saved, const Config& now) {
  bool constant =
      saved.optimizer.schedule == Schedule::kConstant && now.optimizer.schedule == Schedule::kConstant;
  Config saved_copy = saved, now_copy = now;
  return first_difference(bind_keys(saved_copy), bind_keys(now_copy), constant);
}

}  // namespace spq::trainer
