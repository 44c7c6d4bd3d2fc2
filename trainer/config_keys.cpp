#include "trainer/config_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "trainer/config_key_types.h"

namespace spq::trainer {
namespace {

using enum OnResume;

Values<int64_t> at_least(int64_t low) {
  return {fmt::format("{} or more", low), [low](int64_t value) { return value >= low; }};
}

Values<double> zero_or_more() {
  return {"0 or more", [](double value) { return value >= 0; }};
}

Values<double> above_zero() {
  return {"above 0", [](double value) { return value > 0; }};
}

Values<int64_t> bit_widths() {
  return {"2 to 8, or 16", [](int64_t bits) { return (bits >= 2 && bits <= 8) || bits == 16; }};
}

Values<int64_t> group_sizes() {
  return {"-1, or 2 or more", [](int64_t size) { return size == -1 || size >= 2; }};
}

Values<double> clip_ratios() {
  return {"above 0, at most 1", [](double ratio) { return ratio > 0 && ratio <= 1; }};
}

Values<double> momenta() {
  return {"0 or more, below 1", [](double momentum) { return momentum >= 0 && momentum < 1; }};
}

std::vector<Choice<RotationKind>> fixed_rotations() {
  return {{"hadamard", RotationKind::kHadamard},
          {"random", RotationKind::kRandom},
          {"identity", RotationKind::kIdentity},
          {"file", RotationKind::kFile}};
}

std::vector<Choice<RotationKind>> rotation_kinds() {
  std::vector<Choice<RotationKind>> kinds = fixed_rotations();
  kinds.insert(kinds.begin(), {"learned", RotationKind::kLearned});
  return kinds;
}

std::vector<Choice<bool>> hadamard_or_identity() {
  return {{"hadamard", true}, {"identity", false}};
}

std::vector<Choice<Schedule>> schedules() {
  return {{"cosine", Schedule::kCosine}, {"linear", Schedule::kLinear}, {"constant", Schedule::kConstant}};
}

std::vector<Choice<ComputeDtype>> dtypes() {
  return {{"auto", ComputeDtype::kAuto}, {"fp32", ComputeDtype::kFp32}, {"bf16", ComputeDtype::kBf16}};
}

std::vector<Key> file_keys() {
  return {
      path_key({.path = "model",
                .doc = "Hugging Face directory of the model: config.json and safetensors.",
                .on_resume = kMustMatch,
                .required = true},
               field(&Config::model), "a directory"),
      path_key({.path = "output_dir",
                .doc = "Where checkpoints, metrics.jsonl and the resolved config.yaml are written.",
                .required = true},
               field(&Config::output_dir), "a directory"),
  };
}

/// The four keys of one quantizer; `point` says which numbers it quantizes.
std::vector<Key> quantizer_keys(const std::string& section, QuantizerConfig QuantConfig::*quantizer,
                                const std::string& point) {
  auto member = [&](auto leaf) { return field(&Config::quant, quantizer, leaf); };
  return {
      integer_key({.path = section + ".bits",
                   .unit = "bits",
                   .doc = fmt::format(
                       "Width of {}; 16: not quantized, and the other keys here have no effect.", point),
                   .on_resume = kMustMatch},
                  member(&QuantizerConfig::bits), bit_widths()),
      boolean_key({.path = section + ".symmetric",
                   .doc = "Levels symmetric around zero; false: with a zero point.",
                   .on_resume = kMustMatch},
                  member(&QuantizerConfig::symmetric)),
      integer_key({.path = section + ".group_size",
                   .unit = "values",
                   .doc = "Neighbours that share a scale; -1: one scale for the whole row.",
                   .on_resume = kMustMatch},
                  member(&QuantizerConfig::group_size), group_sizes()),
      number_key({.path = section + ".clip_ratio",
                  .doc = "The range is shrunk by this factor before the scale is found.",
                  .on_resume = kMustMatch},
                 member(&QuantizerConfig::clip_ratio), clip_ratios()),
  };
}

std::vector<Key> rotation_keys() {
  return {
      choice_key({.path = "rotation.r1",
                  .doc = "Rotation of the residual stream; all kinds but learned stay fixed.",
                  .on_resume = kMustMatch},
                 field(&Config::rotation, &RotationConfig::r1), rotation_kinds()),
      choice_key({.path = "rotation.r2",
                  .doc = "Rotation of each layer's value heads; all kinds but learned stay fixed.",
                  .on_resume = kMustMatch},
                 field(&Config::rotation, &RotationConfig::r2), rotation_kinds()),
      choice_key({.path = "rotation.start", .doc = "Where learned rotations start.", .on_resume = kMustMatch},
                 field(&Config::rotation, &RotationConfig::start), fixed_rotations()),
      path_key({.path = "rotation.file",
                .doc = "Rotations to read where r1, r2 or start is file: a checkpoint of ours or an R.bin.",
                .on_resume = kMustMatch},
               field(&Config::rotation, &RotationConfig::file), "a file, or empty"),
      choice_key({.path = "rotation.r3",
                  .doc = "Fixed transform of queries and keys after RoPE.",
                  .on_resume = kMustMatch},
                 field(&Config::rotation, &RotationConfig::r3_hadamard), hadamard_or_identity()),
      choice_key({.path = "rotation.r4",
                  .doc = "Fixed transform of the input of down_proj.",
                  .on_resume = kMustMatch},
                 field(&Config::rotation, &RotationConfig::r4_hadamard), hadamard_or_identity()),
      integer_key({.path = "rotation.seed",
                   .doc = "Seed of random signs (hadamard) and random orthogonal matrices (random).",
                   .on_resume = kMustMatch},
                  field(&Config::rotation, &RotationConfig::seed), at_least(0)),
  };
}

std::vector<Key> optimizer_keys() {
  auto member = [](auto leaf) { return field(&Config::optimizer, leaf); };
  return {
      integer_key({.path = "optimizer.steps",
                   .unit = "steps",
                   .doc = "Length of the run; 0: evaluate only.",
                   .on_resume = kMustMatchUnlessConstant},
                  member(&OptimizerConfig::steps), at_least(0)),
      number_key({.path = "optimizer.learning_rate",
                  .doc = "Step length along the manifold at the start of the schedule.",
                  .on_resume = kMustMatch},
                 member(&OptimizerConfig::learning_rate), above_zero()),
      choice_key({.path = "optimizer.schedule",
                  .doc = "How the learning rate goes on: cosine and linear end at zero after the last step.",
                  .on_resume = kMustMatch},
                 member(&OptimizerConfig::schedule), schedules()),
      number_key({.path = "optimizer.momentum",
                  .doc = "Share of the earlier direction that is kept, carried along the manifold.",
                  .on_resume = kMustMatch},
                 member(&OptimizerConfig::momentum), momenta()),
      number_key({.path = "optimizer.clip_norm",
                  .doc = "Longest tangential gradient, over all rotations jointly; 0: no clip.",
                  .on_resume = kMustMatch},
                 member(&OptimizerConfig::clip_norm), zero_or_more()),
      integer_key({.path = "optimizer.iterations",
                   .doc = "Fixed-point iterations of the Cayley transform.",
                   .on_resume = kMustMatch},
                  member(&OptimizerConfig::iterations), at_least(1)),
      number_key({.path = "optimizer.retract_above",
                  .doc = "A rotation X whose max |X^T X - I| is above this is made orthogonal again."},
                 member(&OptimizerConfig::retract_above), above_zero()),
  };
}

std::vector<Key> batch_keys() {
  auto member = [](auto leaf) { return field(&Config::batch, leaf); };
  return {
      integer_key({.path = "batch.sequences",
                   .unit = "sequences",
                   .doc = "Global batch of one step, over all ranks and accumulation.",
                   .on_resume = kMustMatch},
                  member(&BatchConfig::sequences), at_least(1)),
      integer_key({.path = "batch.sequence_length",
                   .unit = "tokens",
                   .doc = "Length of each sequence, in training and evaluation.",
                   .on_resume = kMustMatch},
                  member(&BatchConfig::sequence_length), at_least(2)),
      integer_key({.path = "batch.micro_batch",
                   .unit = "sequences",
                   .doc = "What a rank computes at once; more needs more memory."},
                  member(&BatchConfig::micro_batch), at_least(1)),
  };
}

std::vector<Key> data_keys() {
  auto member = [](auto leaf) { return field(&Config::data, leaf); };
  return {
      path_key({.path = "data.train",
                .doc = "Token file to learn from, written by tools/tokenize.py.",
                .on_resume = kMustMatch,
                .required = true},
               member(&DataConfig::train), "a file"),
      path_key(
          {.path = "data.heldout", .doc = "Token file for held-out perplexity; empty: none is computed."},
          member(&DataConfig::heldout), "a file, or empty"),
      boolean_key({.path = "data.shuffle",
                   .doc = "Sequences in random order; false: in the order of the file.",
                   .on_resume = kMustMatch},
                  member(&DataConfig::shuffle)),
      integer_key({.path = "data.seed", .doc = "Seed of the shuffle.", .on_resume = kMustMatch},
                  member(&DataConfig::seed), at_least(0)),
  };
}

std::vector<Key> compute_keys() {
  auto member = [](auto leaf) { return field(&Config::compute, leaf); };
  return {
      choice_key(
          {.path = "compute.dtype",
           .doc = "Type of weights and activations; auto: bf16 where the processor multiplies bf16 matrices "
                  "fast, else fp32. Rotations and sums are fp32 always.",
           .on_resume = kMustMatch},
          member(&ComputeConfig::dtype), dtypes()),
      integer_key({.path = "compute.threads",
                   .unit = "threads",
                   .doc = "Threads of each rank; 0: the host's cores divided by its ranks."},
                  member(&ComputeConfig::threads), at_least(0)),
      integer_key({.path = "compute.loss_chunk",
                   .unit = "tokens",
                   .doc = "Tokens whose logits exist at the same time."},
                  member(&ComputeConfig::loss_chunk), at_least(1)),
  };
}

std::vector<Key> eval_keys() {
  auto member = [](auto leaf) { return field(&Config::eval, leaf); };
  return {
      integer_key(
          {.path = "eval.every",
           .unit = "steps",
           .doc = "Steps between held-out evaluations; 0: only before the first step and after the last."},
          member(&EvalConfig::every), at_least(0)),
      integer_key(
          {.path = "eval.sequences", .unit = "sequences", .doc = "Held-out sequences to use; 0: all."},
          member(&EvalConfig::sequences), at_least(0)),
      boolean_key({.path = "eval.channel_magnitudes",
                   .doc = "Write channels.json at the end: largest magnitude of each residual channel before "
                          "and after R1."},
                  member(&EvalConfig::channel_magnitudes)),
  };
}

std::vector<Key> checkpoint_keys() {
  auto member = [](auto leaf) { return field(&Config::checkpoint, leaf); };
  return {
      integer_key({.path = "checkpoint.every",
                   .unit = "steps",
                   .doc = "Steps between checkpoints; 0: only at the end."},
                  member(&CheckpointConfig::every), at_least(0)),
      integer_key({.path = "checkpoint.keep",
                   .unit = "files",
                   .doc = "Newest checkpoints that are kept; older ones are deleted."},
                  member(&CheckpointConfig::keep), at_least(1)),
      text_key({.path = "checkpoint.resume",
                .doc = "What to go on from; auto: the newest checkpoint in output_dir, if there is one."},
               member(&CheckpointConfig::resume), "auto, never, or a checkpoint file"),
      boolean_key({.path = "checkpoint.write_rbin",
                   .doc = "Also write the rotations as R.bin beside the final checkpoint."},
                  member(&CheckpointConfig::write_rbin)),
  };
}

std::vector<Key> build_table() {
  std::vector<Key> table;
  auto add = [&](std::vector<Key> keys) { std::move(keys.begin(), keys.end(), std::back_inserter(table)); };
  add(file_keys());
  add(quantizer_keys("quant.activation", &QuantConfig::activation, "the inputs of all projections"));
  add(quantizer_keys("quant.key", &QuantConfig::key, "keys after RoPE, per token and head"));
  add(quantizer_keys("quant.value", &QuantConfig::value, "values, per token and head"));
  add(rotation_keys());
  add(optimizer_keys());
  add(batch_keys());
  add(data_keys());
  add(compute_keys());
  add(eval_keys());
  add(checkpoint_keys());
  return table;
}

}  // namespace

const std::vector<Key>& config_keys() {
  static const std::vector<Key> kTable = build_table();
  return kTable;
}

}  // namespace spq::trainer
