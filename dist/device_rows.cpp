#include "dist/device_rows.h"

namespace spq::dist {

void move_to_device(DeviceRuntime& runtime, std::vector<ShardUnit>& units) {
  const DeviceStream stream = runtime.compute_stream();
  for (ShardUnit& unit : units) {
    for (Shard& shard : unit) {
      const at::Tensor rows = runtime.empty_on_device(shard.rows.sizes(), shard.rows.scalar_type());
      runtime.copy(shard.rows, rows, stream);
      runtime.record(stream)->wait();
      shard.rows = rows;
    }
  }
}

}  // namespace spq::dist
