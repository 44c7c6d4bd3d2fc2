#include "trainer/memory_advice.h"

#include <fmt/format.h>

#include "core/text.h"

namespace spq::trainer {
namespace {

constexpr int64_t kShortChunk = 64;  // shorter ones slow the head's products down
constexpr int kMostRanks = 1 << 14;  // a larger job is none

struct Change {
  std::string words;
  Config config;
  Placement placement;
};

int64_t needed(const data::LlamaConfig& model, const ElementSizes& bytes, const Change& change) {
  const bool keep = change.config.compute.activations == Activations::kKeep;
  return plan_memory(model, change.config, bytes, change.placement, keep).total();
}

// What costs no further machine, one change each.
std::vector<Change> settings(const Config& config, const Placement& placement) {
  std::vector<Change> changes;
  const auto add = [&](std::string words, const Config& changed) {
    changes.push_back({std::move(words), changed, placement});
  };
  Config changed = config;
  if (config.compute.activations == Activations::kKeep) {
    changed.compute.activations = Activations::kRecompute;
    add("compute.activations recompute", changed);
    changed = config;
  }
  if (config.batch.micro_batch > 1) {
    changed.batch.micro_batch = 1;
    add("batch.micro_batch 1", changed);
    changed = config;
  }
  if (config.compute.loss_chunk > kShortChunk) {
    changed.compute.loss_chunk = kShortChunk;
    add(fmt::format("compute.loss_chunk {}", kShortChunk), changed);
  }
  return changes;
}

std::string with_bytes(const std::string& words, int64_t total) {
  return fmt::format("{} ({} each)", words, humanize_bytes(static_cast<uint64_t>(total)));
}

}  // namespace

std::vector<std::string> ways_to_fit(const data::LlamaConfig& model, const Config& config,
                                     const ElementSizes& bytes, const Placement& placement,
                                     int64_t available) {
  std::vector<std::string> ways;
  Change all = {"", config, placement};
  all.config.compute.activations = Activations::kRecompute;
  for (const Change& change : settings(config, placement)) {
    const int64_t total = needed(model, bytes, change);
    if (total <= available) ways.push_back(with_bytes(change.words, total));
    all.words += (all.words.empty() ? "" : ", ") + change.words;
    all.config.batch.micro_batch = std::min(all.config.batch.micro_batch, change.config.batch.micro_batch);
    all.config.compute.loss_chunk = std::min(all.config.compute.loss_chunk, change.config.compute.loss_chunk);
  }
  // More ranks as more hosts of the same size, with the settings as they are and then with all changed.
  const auto grow = [&](Change change, const std::string& prefix) {
    while (change.placement.world_size < kMostRanks) {
      change.placement.world_size *= 2;
      const int64_t total = needed(model, bytes, change);
      if (total > available) continue;
      const int hosts = change.placement.world_size / change.placement.local_world_size;
      ways.push_back(with_bytes(
          fmt::format("{}{} ranks on {} host(s)", prefix, change.placement.world_size, hosts), total));
      return;
    }
  };
  grow({"", config, placement}, "");
  if (ways.empty() && !all.words.empty()) {
    const int64_t total = needed(model, bytes, all);
    if (total <= available) {
      ways.push_back(with_bytes(all.words + " together", total));
    } else {
      grow(all, all.words + ", ");
    }
  }
  const bool share_host = placement.shares_gathered && placement.local_world_size > 1;
  if (ways.empty() && share_host) {  // each rank a host of its own
    Placement spread = placement;
    spread.local_world_size = 1;
    return ways_to_fit(model, config, bytes, spread, available * placement.local_world_size);
  }
  return ways;
}

}  // namespace spq::trainer
