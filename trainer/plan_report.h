// The planner's answer in words.
#pragma once

#include <cstdint>
#include <string>

#include "data/llama_config.h"
#include "trainer/config.h"
#include "trainer/devices.h"
#include "trainer/memory_plan.h"
#include "trainer/time_plan.h"

namespace spq::trainer {

struct RunPlan {
  std::string name;  // of the configuration
  data::LlamaConfig model;
  Config config;
  ElementSizes bytes;
  Placement placement;
  Device device;
  MemoryPlan memory;
  TimePlan time;
  int64_t available = 0;  // bytes for one rank

  bool fits() const { return memory.total() <= available; }
};

/// Plans a run on `world_size` ranks, equally many on each of `nodes`. Which activations: as in
/// choose_plan().
RunPlan plan_run(const std::string& name, const data::LlamaConfig& model, const Config& config,
                 const ElementSizes& bytes, int world_size, int nodes, const Device& device);

/// Memory of a rank part by part, time of a step, of the run, and what to change if it does not fit. Several
/// lines.
std::string plan_report(const RunPlan& plan);

}  // namespace spq::trainer
