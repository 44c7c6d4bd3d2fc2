#include "ptq/ptq_config.h"

#include "core/error.h"
#include "data/config_yaml.h"
#include "ptq/common_keys.h"

namespace spq::ptq {
namespace {

using namespace spq::data;

std::vector<Choice<model::RotationSource>> rotation_sources() {
  return {{"hadamard", model::RotationSource::kHadamard},
          {"random", model::RotationSource::kRandom},
          {"identity", model::RotationSource::kIdentity},
          {"file", model::RotationSource::kFile}};
}

// GPTAQ goes by several names in the field.
std::vector<Choice<Method>> methods() {
  return {{"gptq", Method::kGptq},    {"gptaq", Method::kGptaq},          {"gptqv2", Method::kGptaq},
          {"use_v2", Method::kGptaq}, {"asym_calibrate", Method::kGptaq}, {"rtn", Method::kRtn},
          {"none", Method::kNone}};
}

Values<int64_t> down_bits() {
  return {"0 (as weights.bits), 2 to 8, or 16",
          [](int64_t bits) { return bits == 0 || (bits >= 2 && bits <= 8) || bits == 16; }};
}

Values<double> fraction() {
  return {"0 to 1", [](double v) { return v >= 0 && v <= 1; }};
}

void add_rotate_keys(std::vector<Key>& keys, RotateConfig& c) {
  keys.push_back(
      choice_key({.path = "rotate.r1", .doc = "Rotation of the residual stream, merged into the weights."},
                 c.r1, rotation_sources()));
  keys.push_back(choice_key(
      {.path = "rotate.r2", .doc = "Rotation of the heads of values and attention outputs, merged."}, c.r2,
      rotation_sources()));
  keys.push_back(path_key({.path = "rotate.file", .doc = "Rotations for source file."}, c.file,
                          "a checkpoint of spq-train (rotation.h5) or an R.bin"));
  keys.push_back(
      integer_key({.path = "rotate.seed", .doc = "Seed of random rotations."}, c.seed, at_least(0)));
  keys.push_back(choice_key({.path = "rotate.r3", .doc = "Transform of keys and queries, online."},
                            c.r3_hadamard, hadamard_or_identity()));
  keys.push_back(choice_key(
      {.path = "rotate.r4",
       .doc = "Transform of down_proj's input: folded into the weight, applied online by the runtime."},
      c.r4_hadamard, hadamard_or_identity()));
}

void add_weight_keys(std::vector<Key>& keys, WeightsConfig& c, GptqConfig& g) {
  keys.push_back(
      choice_key({.path = "weights.method",
                  .doc = "How weights are quantized; gptqv2, use_v2 and asym_calibrate are gptaq."},
                 c.method, methods()));
  keys.push_back(
      integer_key({.path = "weights.bits", .unit = "bits", .doc = "Integer width of every projection."},
                  c.bits, bit_widths()));
  keys.push_back(
      integer_key({.path = "weights.down_bits", .unit = "bits", .doc = "Integer width of down_proj."},
                  c.down_bits, down_bits()));
  keys.push_back(boolean_key({.path = "weights.symmetric", .doc = "No zero point."}, c.symmetric));
  keys.push_back(
      integer_key({.path = "weights.group_size", .unit = "columns", .doc = "Columns that share a scale."},
                  c.group_size, group_sizes()));
  keys.push_back(boolean_key(
      {.path = "weights.mse_clip", .doc = "Search the clipping range with the least error (w_clip)."},
      c.mse_clip));
  keys.push_back(
      number_key({.path = "gptq.percdamp", .doc = "Damping, times the mean of the Hessian's diagonal."},
                 g.percdamp, fraction()));
  keys.push_back(integer_key(
      {.path = "gptq.block_size", .unit = "columns", .doc = "Columns between two trailing updates."},
      g.block_size, at_least(1)));
  keys.push_back(boolean_key(
      {.path = "gptq.act_order", .doc = "Columns in the order of descending activation size."}, g.act_order));
  keys.push_back(boolean_key({.path = "gptq.static_groups", .doc = "Group ranges from the weights as given."},
                             g.static_groups));
  keys.push_back(
      number_key({.path = "gptq.alpha", .doc = "Weight of GPTAQ's correction."}, g.alpha, zero_or_more()));
}

void add_data_keys(std::vector<Key>& keys, CalibrationConfig& c, PtqEvalConfig& e) {
  keys.push_back(
      path_key({.path = "calibration.tokens", .doc = "Calibration text; needed by gptq and gptaq."}, c.tokens,
               "a token file (tools/tokenize.py)"));
  keys.push_back(
      integer_key({.path = "calibration.samples", .unit = "sequences", .doc = "Random windows to use."},
                  c.samples, at_least(1)));
  keys.push_back(
      integer_key({.path = "calibration.sequence_length", .unit = "tokens", .doc = "Length of a window."},
                  c.sequence_length, at_least(2)));
  keys.push_back(
      integer_key({.path = "calibration.seed", .doc = "Seed of the windows."}, c.seed, at_least(0)));
  keys.push_back(boolean_key(
      {.path = "calibration.quantize_activations",
       .doc = "Activation, key and value quantizers are on while calibrating (enable_aq_calibration)."},
      c.quantize_activations));
  keys.push_back(
      path_key({.path = "eval.tokens", .doc = "Text for perplexity after saving; empty: no evaluation."},
               e.tokens, "a token file"));
  keys.push_back(integer_key({.path = "eval.sequence_length",
                              .unit = "tokens",
                              .doc = "Length of a window; windows do not overlap."},
                             e.sequence_length, at_least(2)));
  keys.push_back(
      integer_key({.path = "eval.sequences", .unit = "sequences", .doc = "Windows to use; 0: all."},
                  e.sequences, at_least(0)));
  keys.push_back(integer_key(
      {.path = "eval.micro_batch", .unit = "sequences", .doc = "Windows a rank computes at once."},
      e.micro_batch, at_least(1)));
}

bool needs_calibration(const PtqConfig& c) {
  return c.weights.method == Method::kGptq || c.weights.method == Method::kGptaq;
}

void validate(const PtqConfig& c) {
  check(!needs_calibration(c) || !c.calibration.tokens.empty(),
        "weights.method needs calibration.tokens, which is empty");
  check(c.weights.method == Method::kNone || c.weights.bits < 16,
        "weights.bits is 16, which quantizes nothing: set weights.method to none");
  const bool file =
      c.rotate.r1 == model::RotationSource::kFile || c.rotate.r2 == model::RotationSource::kFile;
  check(!file || !c.rotate.file.empty(), "rotate.r1 or rotate.r2 is file, but rotate.file is empty");
  check(file || c.rotate.file.empty(), "rotate.file is '{}', but neither rotate.r1 nor rotate.r2 is file",
        c.rotate.file);
}

}  // namespace

std::vector<Key> bind_keys(PtqConfig& c) {
  std::vector<Key> keys;
  keys.push_back(path_key({.path = "model", .doc = "The model to quantize.", .required = true}, c.model,
                          "a Hugging Face directory"));
  keys.push_back(path_key({.path = "output_dir", .doc = "Where the quantized model goes.", .required = true},
                          c.output_dir, "a directory that is empty or not there yet"));
  add_rotate_keys(keys, c.rotate);
  add_weight_keys(keys, c.weights, c.gptq);
  append_quant_keys(keys, c.quant);
  add_data_keys(keys, c.calibration, c.eval);
  append_compute_keys(keys, c.fp32, c.threads);
  return keys;
}

PtqConfig load_ptq_config(const std::filesystem::path& path, std::span<const std::string> overrides) {
  PtqConfig config;
  read_config_file(path, overrides, bind_keys(config));
  validate(config);
  return config;
}

WeightScheme weight_scheme(const PtqConfig& c, at::ScalarType storage_dtype) {
  WeightScheme scheme;
  scheme.method = c.weights.method;
  scheme.spec = {static_cast<int>(c.weights.bits), c.weights.symmetric, c.weights.group_size,
                 c.weights.mse_clip, storage_dtype};
  scheme.down_spec = scheme.spec;
  if (c.weights.down_bits > 0) scheme.down_spec.bits = static_cast<int>(c.weights.down_bits);
  scheme.factor = {c.gptq.percdamp, c.gptq.act_order,
                   c.weights.method == Method::kGptaq ? c.gptq.alpha : 0.0};
  scheme.gptq.block_size = c.gptq.block_size;
  scheme.gptq.static_groups = c.gptq.static_groups;
  scheme.quantize_activations = c.calibration.quantize_activations;
  return scheme;
}

}  // namespace spq::ptq
