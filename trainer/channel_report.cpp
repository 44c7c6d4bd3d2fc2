#include "trainer/channel_report.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "data/atomic_file.h"
#include "dist/collectives.h"
#include "model/channel_stats.h"

namespace spq::trainer {
namespace {

std::vector<float> numbers(const at::Tensor& t) {
  const at::Tensor here = t.cpu();
  const float* data = here.const_data_ptr<float>();
  return {data, data + here.numel()};
}

}  // namespace

void write_channel_report(dist::Communicator& comm, const model::Network& network,
                          model::WeightSource& weights, const data::TokenFile& tokens, const Config& config) {
  at::Tensor ids;
  dist::collectively(comm, [&] {
    ids = tokens.read(0, config.batch.sequence_length, network.config.vocab_size).unsqueeze(0);
  });
  const model::ChannelStats stats = model::channel_stats(network, weights, ids);
  dist::collectively(comm, [&] {
    if (comm.rank() != 0) return;
    nlohmann::json layers = nlohmann::json::array();
    for (size_t l = 0; l < stats.before.size(); ++l) {
      layers.push_back({{"before", numbers(stats.before[l])}, {"after", numbers(stats.after[l])}});
    }
    data::write_text_atomically(std::filesystem::path(config.output_dir) / "channels.json",
                                nlohmann::json{{"layers", layers}}.dump() + "\n");
  });
}

}  // namespace spq::trainer
