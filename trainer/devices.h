// What the planner knows about the machine under a rank: sizes and rates.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "data/llama_config.h"
#include "trainer/config.h"

namespace spq::trainer {

/// Rates are what is reached, not peaks. Bytes, FLOP and seconds.
struct Device {
  std::string name;
  std::string source;  // where the numbers are from
  bool is_gpu = false;
  double memory = 0;          // of one GPU; of a CPU host, over all its ranks
  double reserved = 0;        // of it, for what no plan counts
  double bf16_rate = 0;       // FLOP/s of large matrix products
  double fp32_rate = 0;       // FLOP/s, for the rotations also where the network is bf16
  double bf16_attention = 0;  // FLOP/s
  double fp32_attention = 0;  // FLOP/s
  double bf16_passes = 0;     // bytes/s, read and written ones added up, of operations on rows of bf16
  double fp32_passes = 0;     // bytes/s, of fp32
  double link_rate = 0;       // bytes/s into one rank from its host's other ranks
  double network_rate = 0;    // bytes/s into one rank from other hosts, all its host's ranks receiving
};

/// The device `name` of a table like configs/devices.yaml. Error naming the file on anything missing or
/// malformed, and on an unknown name, with the nearest known one.
Device read_device(const std::filesystem::path& table, const std::string& name);

/// Measures the processor on which this runs, with `threads` threads, at the sizes of a model: matrix
/// products in the orientations of a step, attention, passes over rows, a copy. Takes seconds. The rest is
/// left 0.
Device measure_cpu(const data::LlamaConfig& model, const BatchConfig& batch, int threads);

}  // namespace spq::trainer
