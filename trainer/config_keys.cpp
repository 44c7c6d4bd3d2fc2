#include "trainer/config_keys.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "model/device_key.h"
#include "model/quant_keys.h"

namespace spq::trainer {
namespace {

using data::above_zero;
using data::at_least;
using data::boolean_key;
using data::Choice;
using data::choice_key;
using data::hadamard_or_identity;
using data::integer_key;
using data::Key;
using data::number_key;
using data::path_key;
using data::text_key;
using data::Values;
using data::zero_or_more;
using enum data::OnResume;

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

std::vector<Choice<Schedule>> schedules() {
  return {{"cosine", Schedule::kCosine}, {"linear", Schedule::kLinear}, {"constant", Schedule::kConstant}};
}

std::vector<Choice<ComputeDtype>> dtypes() {
  return {{"auto", ComputeDtype::kAuto}, {"fp32", ComputeDtype::kFp32}, {"bf16", ComputeDtype::kBf16}};
}

std::vector<Choice<Activations>> activation_choices() {
  return {{"auto", Activations::kAuto}, {"keep", Activations::kKeep}, {"recompute", Activations::kRecompute}};
}

std::vector<Key> file_keys(Config& config) {
  return {
      path_key({.path = "model",
                .doc = "Hugging Face directory of the model: config.json and safetensors.",
                .on_resume = kMustMatch,
                .required = true},
               config.model, "a directory"),
      path_key({.path = "output_dir",
                .doc = "Where checkpoints, metrics.jsonl and the resolved config.yaml are written.",
                .required = true},
               config.output_dir, "a directory"),
  };
}

std::vector<Key> quantizer_keys(QuantConfig& quant) {
  std::vector<Key> keys;
  model::append_quant_keys(keys, quant);
  return keys;
}

std::vector<Key> rotation_keys(RotationConfig& config) {
  return {
      choice_key({.path = "rotation.r1",
                  .doc = "Rotation of the residual stream; all kinds but learned stay fixed.",
                  .on_resume = kMustMatch},
                 config.r1, rotation_kinds()),
      choice_key({.path = "rotation.r2",
                  .doc = "Rotation of each layer's value heads; all kinds but learned stay fixed.",
                  .on_resume = kMustMatch},
                 config.r2, rotation_kinds()),
      choice_key({.path = "rotation.start", .doc = "Where learned rotations start.", .on_resume = kMustMatch},
                 config.start, fixed_rotations()),
      path_key({.path = "rotation.file",
                .doc = "Rotations to read where r1, r2 or start is file: a checkpoint of ours or an R.bin.",
                .on_resume = kMustMatch},
               config.file, "a file, or empty"),
      choice_key({.path = "rotation.r3",
                  .doc = "Fixed transform of queries and keys after RoPE.",
                  .on_resume = kMustMatch},
                 config.r3_hadamard, hadamard_or_identity()),
      choice_key({.path = "rotation.r4",
                  .doc = "Fixed transform of the input of down_proj.",
                  .on_resume = kMustMatch},
                 config.r4_hadamard, hadamard_or_identity()),
      integer_key({.path = "rotation.seed",
                   .doc = "Seed of random signs (hadamard) and random orthogonal matrices (random).",
                   .on_resume = kMustMatch},
                  config.seed, at_least(0)),
  };
}

std::vector<Key> optimizer_keys(OptimizerConfig& config) {
  return {
      integer_key({.path = "optimizer.steps",
                   .unit = "steps",
                   .doc = "Length of the run; 0: evaluate only.",
                   .on_resume = kMustMatchUnlessConstant},
                  config.steps, at_least(0)),
      number_key({.path = "optimizer.learning_rate",
                  .doc = "Step length along the manifold at the start of the schedule.",
                  .on_resume = kMustMatch},
                 config.learning_rate, above_zero()),
      choice_key({.path = "optimizer.schedule",
                  .doc = "How the learning rate goes on: cosine and linear end at zero after the last step.",
                  .on_resume = kMustMatch},
                 config.schedule, schedules()),
      number_key({.path = "optimizer.momentum",
                  .doc = "Share of the earlier direction that is kept, carried along the manifold.",
                  .on_resume = kMustMatch},
                 config.momentum, momenta()),
      number_key({.path = "optimizer.clip_norm",
                  .doc = "Longest tangential gradient, over all rotations jointly; 0: no clip.",
                  .on_resume = kMustMatch},
                 config.clip_norm, zero_or_more()),
      integer_key({.path = "optimizer.iterations",
                   .doc = "Fixed-point iterations of the Cayley transform.",
                   .on_resume = kMustMatch},
                  config.iterations, at_least(1)),
      number_key({.path = "optimizer.retract_above",
                  .doc = "A rotation X whose max |X^T X - I| is above this is made orthogonal again."},
                 config.retract_above, above_zero()),
  };
}

std::vector<Key> batch_keys(BatchConfig& config) {
  return {
      integer_key({.path = "batch.sequences",
                   .unit = "sequences",
                   .doc = "Global batch of one step, over all ranks and accumulation.",
                   .on_resume = kMustMatch},
                  config.sequences, at_least(1)),
      integer_key({.path = "batch.sequence_length",
                   .unit = "tokens",
                   .doc = "Length of each sequence, in training and evaluation.",
                   .on_resume = kMustMatch},
                  config.sequence_length, at_least(2)),
      integer_key({.path = "batch.micro_batch",
                   .unit = "sequences",
                   .doc = "What a rank computes at once; more needs more memory."},
                  config.micro_batch, at_least(1)),
  };
}

std::vector<Key> data_keys(DataConfig& config) {
  return {
      path_key({.path = "data.train",
                .doc = "Token file to learn from, written by tools/tokenize.py.",
                .on_resume = kMustMatch,
                .required = true},
               config.train, "a file"),
      path_key(
          {.path = "data.heldout", .doc = "Token file for held-out perplexity; empty: none is computed."},
          config.heldout, "a file, or empty"),
      boolean_key({.path = "data.shuffle",
                   .doc = "Sequences in random order; false: in the order of the file.",
                   .on_resume = kMustMatch},
                  config.shuffle),
      integer_key({.path = "data.seed", .doc = "Seed of the shuffle.", .on_resume = kMustMatch}, config.seed,
                  at_least(0)),
  };
}

std::vector<Key> compute_keys(ComputeConfig& config) {
  return {
      model::device_key(
          config.device,
          "A run may be resumed on the other kind of device: it goes on from the same rotations, "
          "but no longer bit for bit."),
      choice_key(
          {.path = "compute.dtype",
           .doc = "Type of weights and activations; auto: bf16 where the device multiplies bf16 matrices "
                  "fast (every GPU, processors with AMX or AVX-512 bf16) and weights are bf16, else fp32. "
                  "Rotations and sums are fp32 always.",
           .on_resume = kMustMatch},
          config.dtype, dtypes()),
      choice_key({.path = "compute.activations",
                  .doc = "Whether the tensors of each layer wait in memory for the backward pass or are "
                         "computed again from the layer's input; same results. auto: keep where it fits in "
                         "nine tenths of what the ranks of the host have, or the rank's GPU."},
                 config.activations, activation_choices()),
      integer_key({.path = "compute.threads",
                   .unit = "threads",
                   .doc = "Threads of each rank; 0: the host's cores divided by its ranks."},
                  config.threads, at_least(0)),
      integer_key({.path = "compute.loss_chunk",
                   .unit = "tokens",
                   .doc = "Tokens whose logits exist at the same time."},
                  config.loss_chunk, at_least(1)),
      number_key({.path = "compute.collective_timeout",
                  .unit = "seconds",
                  .doc = "The run ends with an error that names the rank when one does not take part in a "
                         "collective for this long; 0: wait for ever."},
                 config.collective_timeout, zero_or_more()),
  };
}

std::vector<Key> eval_keys(EvalConfig& config) {
  return {
      integer_key(
          {.path = "eval.every",
           .unit = "steps",
           .doc = "Steps between held-out evaluations; 0: only before the first step and after the last."},
          config.every, at_least(0)),
      integer_key(
          {.path = "eval.sequences", .unit = "sequences", .doc = "Held-out sequences to use; 0: all."},
          config.sequences, at_least(0)),
      boolean_key({.path = "eval.channel_magnitudes",
                   .doc = "Write channels.json at the end: largest magnitude of each residual channel before "
                          "and after R1."},
                  config.channel_magnitudes),
  };
}

std::vector<Key> checkpoint_keys(CheckpointConfig& config) {
  return {
      integer_key({.path = "checkpoint.every",
                   .unit = "steps",
                   .doc = "Steps between checkpoints; 0: only at the end."},
                  config.every, at_least(0)),
      integer_key({.path = "checkpoint.keep",
                   .unit = "files",
                   .doc = "Newest checkpoints that are kept; older ones are deleted."},
                  config.keep, at_least(1)),
      text_key({.path = "checkpoint.resume",
                .doc = "What to go on from; auto: the newest checkpoint in output_dir, if there is one."},
               config.resume, "auto, never, or a checkpoint file"),
      boolean_key({.path = "checkpoint.write_rbin",
                   .doc = "Also write the rotations as R.bin beside the final checkpoint."},
                  config.write_rbin),
      choice_key({.path = "checkpoint.on_error",
                  .doc = "When a checkpoint cannot be written, as on a full disk: stop the run, or warn and "
                         "go on to the next one. Older checkpoints are kept either way."},
                 config.stop_on_error, std::vector<Choice<bool>>{{"stop", true}, {"continue", false}}),
  };
}

}  // namespace

std::vector<data::Key> bind_keys(Config& config) {
  std::vector<Key> all;
  auto add = [&](std::vector<Key> keys) { std::move(keys.begin(), keys.end(), std::back_inserter(all)); };
  add(file_keys(config));
  add(quantizer_keys(config.quant));
  add(rotation_keys(config.rotation));
  add(optimizer_keys(config.optimizer));
  add(batch_keys(config.batch));
  add(data_keys(config.data));
  add(compute_keys(config.compute));
  add(eval_keys(config.eval));
  add(checkpoint_keys(config.checkpoint));
  return all;
}

}  // namespace spq::trainer
