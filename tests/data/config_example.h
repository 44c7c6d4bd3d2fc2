// A configuration of a few keys, for the tests of the machinery that all programs share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/config_key.h"

namespace spq::data {

enum class Shape { kRound, kSquare };

struct ExampleConfig {
  std::string model;
  std::string output_dir;
  int64_t activation_bits = 16;
  int64_t key_bits = 16;
  bool key_symmetric = false;
  int64_t group_size = -1;
  double clip_ratio = 1.0;
  Shape shape = Shape::kRound;
  bool r4_hadamard = true;
  std::string rotation_file;
  int64_t steps = 100;
  double learning_rate = 1.5;
  double clip_norm = 0.0;
  std::string resume = "auto";
};

inline std::vector<Key> bind_keys(ExampleConfig& c) {
  using enum OnResume;
  return {
      path_key({.path = "model", .doc = "What to read.", .on_resume = kMustMatch, .required = true}, c.model,
               "a directory"),
      path_key({.path = "output_dir", .doc = "Where to write.", .required = true}, c.output_dir,
               "a directory"),
      integer_key({.path = "quant.activation.bits", .unit = "bits", .doc = "Width of activations."},
                  c.activation_bits, bit_widths()),
      integer_key({.path = "quant.key.bits", .unit = "bits", .doc = "Width of keys."}, c.key_bits,
                  bit_widths()),
      boolean_key({.path = "quant.key.symmetric", .doc = "No zero point."}, c.key_symmetric),
      integer_key({.path = "quant.key.group_size", .doc = "Neighbours."}, c.group_size, group_sizes()),
      number_key({.path = "quant.key.clip_ratio", .doc = "Shrinks the range."}, c.clip_ratio, clip_ratios()),
      choice_key({.path = "rotation.shape", .doc = "Which one."}, c.shape,
                 {{"round", Shape::kRound}, {"square", Shape::kSquare}}),
      choice_key({.path = "rotation.r4", .doc = "Fixed transform."}, c.r4_hadamard, hadamard_or_identity()),
      path_key({.path = "rotation.file", .doc = "What to start from."}, c.rotation_file, "a file, or empty"),
      integer_key({.path = "optimizer.steps",
                   .unit = "steps",
                   .doc = "How far | long.",
                   .on_resume = kMustMatchUnlessConstant},
                  c.steps, at_least(0)),
      number_key({.path = "optimizer.learning_rate", .doc = "How fast."}, c.learning_rate, above_zero()),
      number_key({.path = "optimizer.clip_norm", .doc = "How long at most."}, c.clip_norm, zero_or_more()),
      text_key({.path = "checkpoint.resume", .doc = "From where."}, c.resume, "auto, or a file"),
  };
}

}  // namespace spq::data
