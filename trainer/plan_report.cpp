#include "trainer/plan_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "core/text.h"
#include "trainer/memory_advice.h"

namespace spq::trainer {
namespace {

using Lines = std::back_insert_iterator<std::string>;

std::string bytes_text(double bytes) {
  return humanize_bytes(static_cast<uint64_t>(std::max(0.0, bytes)));
}

void add(Lines out, const char* what, const std::string& value, const std::string& note = "") {
  fmt::format_to(out, "  {:<22}{:>12}{}{}\n", what, value, note.empty() ? "" : "  ", note);
}

void add_bytes(Lines out, const char* what, int64_t bytes, const std::string& note) {
  add(out, what, bytes_text(static_cast<double>(bytes)), note);
}

void report_memory(Lines out, const RunPlan& plan) {
  const MemoryPlan& m = plan.memory;
  const bool shared = plan.placement.shares_gathered;
  fmt::format_to(out, "memory of a rank\n");
  add_bytes(out, "shard", m.shard, "frozen weights it owns");
  add_bytes(out, "gathered layers", m.gathered,
            shared ? "its part of what the host's ranks share" : "two units, its own");
  add_bytes(out, "activations", m.activations,
            m.keeps_activations ? "kept from forward to backward" : "layer inputs; the rest is recomputed");
  add_bytes(out, "workspace of a layer", m.layer, "forward and backward, at its widest");
  add_bytes(out, "logits chunk", m.loss, "before the backward pass");
  add_bytes(out, "rotations", m.rotations, "fp32, and in the compute dtype");
  add_bytes(out, "optimizer", m.optimizer, "moments and momentum");
  add_bytes(out, "workspace of update", m.update, "after the last micro-batch");
  if (m.load > 0) add_bytes(out, "while loading", m.load, "besides the shard");
  add_bytes(out, plan.device.is_gpu ? "reserved" : "program", m.process,
            plan.device.is_gpu ? "assumed: CUDA, NCCL, fragmentation" : "with its libraries");
  add_bytes(out, "total at the widest", m.total(),
            fmt::format("of {}: {}", bytes_text(static_cast<double>(plan.available)),
                        plan.fits() ? "fits" : "does NOT fit"));
}

void report_time(Lines out, const RunPlan& plan) {
  const TimePlan& t = plan.time;
  const auto tera = [](double flops) { return fmt::format("{:.4g} TFLOP", flops / 1e12); };
  const auto giga = [](double bytes) { return fmt::format("{:.4g} GB", bytes / 1e9); };
  const auto time = [](double seconds) {
    return seconds < 1 ? fmt::format("{:.1f} ms", 1e3 * seconds) : humanize_duration(seconds);
  };
  fmt::format_to(out, "work of a rank in a step: {} tokens, {} micro-batch(es)\n", t.tokens, t.walks);
  add(out, "matrix products", tera(t.product_flops), "forward and backward");
  add(out, "recomputed", tera(t.recompute_flops));
  add(out, "attention", tera(t.attention_flops));
  add(out, "update", tera(t.update_flops), "fp32");
  add(out, "weights received", giga(t.gathered_bytes));
  add(out, "moments received", giga(t.reduced_bytes));
  fmt::format_to(out, "predicted time of a step\n");
  add(out, "matrix products", time(t.products));
  add(out, "attention", time(t.attention));
  add(out, "other passes", time(t.elements), "memory bandwidth");
  add(out, "waiting for gathers", time(t.exposed_gathers),
      fmt::format("of {} that they take", time(t.gathers)));
  add(out, "reduction", time(t.reduction));
  add(out, "update", time(t.update));
  add(out, "step", time(t.step()),
      fmt::format("bound by {}; compute {:.0f}% of it", t.bound(), 100 * t.compute() / t.step()));
  const auto steps = static_cast<double>(plan.config.optimizer.steps);
  add(out, "run", humanize_duration(steps * t.step()),
      fmt::format("{} steps, without reading weights, evaluations and checkpoints",
                  plan.config.optimizer.steps));
}

void report_advice(Lines out, const RunPlan& plan) {
  if (plan.config.batch.sequences < plan.placement.world_size) {
    fmt::format_to(out, "note: batch.sequences is {}, so {} rank(s) hold weights but compute nothing\n",
                   plan.config.batch.sequences, plan.placement.world_size - plan.config.batch.sequences);
  }
  if (plan.fits()) return;
  const std::vector<std::string> ways =
      ways_to_fit(plan.model, plan.config, plan.bytes, plan.placement, plan.available);
  if (ways.empty())
    fmt::format_to(out, "no number of ranks makes it fit: try a shorter batch.sequence_length\n");
  for (const std::string& way : ways) fmt::format_to(out, "it fits with {}\n", way);
}

}  // namespace

RunPlan plan_run(const std::string& name, const data::LlamaConfig& model, const Config& config,
                 const ElementSizes& bytes, int world_size, int nodes, const Device& device) {
  const int local = world_size / nodes;
  const Placement placement = device.is_gpu
                                  ? on_gpus(world_size, local, static_cast<int64_t>(device.reserved))
                                  : on_hosts(world_size, local, config.compute.threads);
  const auto available = static_cast<int64_t>(device.memory) / (device.is_gpu ? 1 : local);
  const MemoryPlan memory = choose_plan(model, config, bytes, placement, available);
  const TimePlan time = plan_time(model, config, bytes, placement, device, memory.keeps_activations);
  return {name, model, config, bytes, placement, device, memory, time, available};
}

std::string plan_report(const RunPlan& plan) {
  std::string text;
  const Lines out = std::back_inserter(text);
  const ModelSizes sizes(plan.model);
  const double parameters = static_cast<double>(sizes.layers() * sizes.layer_elements() +
                                                (plan.model.tied_embeddings ? 1 : 2) * sizes.head_elements());
  fmt::format_to(out,
                 "{}: {:.4g} billion parameters, {} layers of width {}, {} on {} rank(s) of {}, {} host(s)\n",
                 plan.name, parameters / 1e9, sizes.layers(), sizes.width(),
                 plan.bytes.compute == 2 ? "bf16" : "fp32", plan.placement.world_size, plan.device.name,
                 plan.placement.world_size / plan.placement.local_world_size);
  fmt::format_to(out, "rates from: {}\n", plan.device.source);
  report_memory(out, plan);
  report_time(out, plan);
  report_advice(out, plan);
  return text;
}

}  // namespace spq::trainer
