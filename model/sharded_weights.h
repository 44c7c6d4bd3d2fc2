// Frozen weights split by rows over ranks; a layer is gathered just in time and dropped after use.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "data/llama_config.h"
#include "dist/communicator.h"
#include "dist/gather_schedule.h"
#include "model/sharded_load.h"
#include "model/weights.h"

namespace spq::model {

/// Gathers units (layers, then the head) one ahead of their use (dist/gather_schedule.h). At most two
/// gathered units are in memory: the one in use and the next; none where the ranks share memory, because
/// there a gathered unit is a view (dist/shard_store.h). Weights travel and wait in the checkpoint's dtype;
/// the unit in use is converted to the compute dtype when that is another one. With one rank nothing is
/// copied. With a device, all of this holds for that device's memory; `comm` then has to move tensors between
/// devices (dist/device_communicator.h).
class ShardedWeights : public WeightSource {
 public:
  /// Construction and destruction are collective. The shard's matrices are moved to where the communicator
  /// places them, so give them away: std::move.
  ShardedWeights(dist::Communicator& comm, const data::LlamaConfig& config, ModelShard shard,
                 at::ScalarType compute_dtype, c10::Device device = at::kCPU);

  void begin_walk(Walk walk) override;
  at::Tensor embed(const at::Tensor& ids) override;
  const LayerWeights& layer(int64_t index) override;
  const at::Tensor& head() override;

 private:
  struct Unit {
    LayerWeights layer;
    at::Tensor head;
  };
  int64_t head_unit() const { return config_.num_layers; }
  std::vector<std::unique_ptr<dist::Work>> start(int64_t unit);
  void drop(int64_t unit);
  void use(int64_t unit);

  dist::Communicator& comm_;
  data::LlamaConfig config_;
  at::Tensor embedding_;  // my rows, on the device
  at::ScalarType compute_dtype_;
  std::unique_ptr<dist::ShardStore> store_;
  std::map<int64_t, std::vector<at::Tensor>> gathered_;  // by unit: the one in use and the next
  int64_t in_use_ = -1;
  Unit current_;                   // in the compute dtype
  dist::GatherSchedule schedule_;  // last: its destructor waits for gathers into the members above
};

}  // namespace spq::model
