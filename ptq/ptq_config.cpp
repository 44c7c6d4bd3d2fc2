#include "ptq/ptq_config.h"

#include "core/error.h"
#include "data/config_yaml.h"
#include "model/quant_keys.h"
#include "ptq/common_keys.h"
#include "ptq/eval_config.h"

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

Values<int64_t> projection_bits() {
  return {"0 (as weights.bits), 2 to 8, or 16",
          [](int64_t bits) { return bits == 0 || (bits >= 2 && bits <= 8) || bits == 16; }};
}

// The result depends on these keys.
KeyInfo matters(std::string path, std::string unit, std::string doc) {
  return {.path = std::move(path),
          .unit = std::move(unit),
          .doc = std::move(doc),
          .on_resume = OnResume::kMustMatch};
}

Values<double> fraction() {
  return {"0 to 1", [](double v) { return v >= 0 && v <= 1; }};
}

void add_rotate_keys(std::vector<Key>& keys, RotateConfig& c) {
  keys.push_back(
      choice_key(matters("rotate.r1", "", "Rotation of the residual stream, merged into the weights."), c.r1,
                 rotation_sources()));
  keys.push_back(
      choice_key(matters("rotate.r2", "", "Rotation of the heads of values and attention outputs, merged."),
                 c.r2, rotation_sources()));
  keys.push_back(path_key({.path = "rotate.file", .doc = "Rotations for source file."}, c.file,
                          "a checkpoint of spq-train (rotation.h5) or an R.bin"));
  keys.push_back(integer_key(matters("rotate.seed", "", "Seed of random rotations."), c.seed, at_least(0)));
  keys.push_back(choice_key(matters("rotate.r3", "", "Transform of keys and queries, online."), c.r3_hadamard,
                            hadamard_or_identity()));
  keys.push_back(choice_key(
      matters("rotate.r4", "",
              "Transform of down_proj's input: folded into the weight, applied online by the runtime."),
      c.r4_hadamard, hadamard_or_identity()));
  keys.push_back(boolean_key(
      matters("rotate.centre_embedding", "",
              "Subtract the mean of each row of the embedding, as the published tools do. It changes the "
              "function of a LLaMA model."),
      c.centre_embedding));
}

void add_weight_keys(std::vector<Key>& keys, WeightsConfig& c) {
  keys.push_back(
      choice_key(matters("weights.method", "",
                         "How weights are quantized; gptqv2, use_v2 and asym_calibrate are gptaq."),
                 c.method, methods()));
  keys.push_back(integer_key(matters("weights.bits", "bits", "Integer width of the projections."), c.bits,
                             bit_widths()));
  const std::pair<const char*, int64_t*> projections[] = {
      {"q", &c.q_bits},       {"k", &c.k_bits},   {"v", &c.v_bits},      {"o", &c.o_bits},
      {"gate", &c.gate_bits}, {"up", &c.up_bits}, {"down", &c.down_bits}};
  for (const auto& [name, bits] : projections) {
    keys.push_back(integer_key(
        matters(fmt::format("weights.{}_bits", name), "bits", fmt::format("Integer width of {}_proj.", name)),
        *bits, projection_bits()));
  }
  keys.push_back(boolean_key(matters("weights.symmetric", "", "No zero point."), c.symmetric));
  keys.push_back(integer_key(matters("weights.group_size", "columns", "Columns that share a scale."),
                             c.group_size, group_sizes()));
  keys.push_back(
      boolean_key(matters("weights.mse_clip", "", "Search the clipping range with the least error (w_clip)."),
                  c.mse_clip));
}

void add_gptq_keys(std::vector<Key>& keys, GptqConfig& g) {
  keys.push_back(
      number_key(matters("gptq.percdamp", "", "Damping, times the mean of the Hessian's diagonal."),
                 g.percdamp, fraction()));
  keys.push_back(integer_key(matters("gptq.block_size", "columns", "Columns between two trailing updates."),
                             g.block_size, at_least(1)));
  keys.push_back(boolean_key(
      matters("gptq.act_order", "", "Columns in the order of descending activation size."), g.act_order));
  keys.push_back(boolean_key(matters("gptq.static_groups", "", "Group ranges from the weights as given."),
                             g.static_groups));
  keys.push_back(boolean_key(
      matters("gptq.reference_group_scales", "",
              "Group ranges as the published code finds them: from the weights as they stood when their "
              "block began. Results then depend on gptq.block_size."),
      g.reference_group_scales));
  keys.push_back(
      number_key(matters("gptq.alpha", "", "Weight of GPTAQ's correction."), g.alpha, zero_or_more()));
}

void add_calibration_keys(std::vector<Key>& keys, CalibrationConfig& c) {
  keys.push_back(
      path_key({.path = "calibration.tokens", .doc = "Calibration text; needed by gptq and gptaq."}, c.tokens,
               "a token file (tools/tokenize.py)"));
  keys.push_back(integer_key(matters("calibration.samples", "sequences", "Random windows to use."), c.samples,
                             at_least(1)));
  keys.push_back(integer_key(matters("calibration.sequence_length", "tokens", "Length of a window."),
                             c.sequence_length, at_least(2)));
  keys.push_back(integer_key(matters("calibration.seed", "", "Seed of the windows."), c.seed, at_least(0)));
  keys.push_back(boolean_key(
      matters("calibration.quantize_activations", "",
              "Activation, key and value quantizers are on while calibrating (enable_aq_calibration)."),
      c.quantize_activations));
}

void add_eval_keys(std::vector<Key>& keys, PtqEvalConfig& e) {
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
  append_bos_keys(keys, "eval.", e.bos);
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
  add_weight_keys(keys, c.weights);
  add_gptq_keys(keys, c.gptq);
  model::append_quant_keys(keys, c.quant);
  add_calibration_keys(keys, c.calibration);
  keys.push_back(boolean_key(
      matters("save.integers", "", "Also write codes, scales and zero points, to the folder integers/."),
      c.save.integers));
  add_eval_keys(keys, c.eval);
  append_compute_keys(keys, c.compute);
  return keys;
}

PtqConfig load_ptq_config(const std::filesystem::path& path, std::span<const std::string> overrides) {
  PtqConfig config;
  read_config_file(path, overrides, bind_keys(config));
  validate(config);
  return config;
}

std::string result_keys(const PtqConfig& config) {
  PtqConfig copy = config;
  std::string text;
  for (const Key& key : bind_keys(copy)) {
    if (key.on_resume == OnResume::kMustMatch) text += fmt::format("{}: {}\n", key.path, key.get());
  }
  return text + fmt::format("compute.dtype: {}\n", config.compute.fp32 ? "fp32" : "bf16");
}

WeightScheme weight_scheme(const PtqConfig& c, at::ScalarType storage_dtype) {
  WeightScheme scheme;
  scheme.method = c.weights.method;
  const WeightQuantSpec spec{static_cast<int>(c.weights.bits), c.weights.symmetric, c.weights.group_size,
                             c.weights.mse_clip, storage_dtype};
  const auto with_bits = [&](int64_t bits) {
    WeightQuantSpec own = spec;
    if (bits > 0) own.bits = static_cast<int>(bits);
    return own;
  };
  const WeightsConfig& w = c.weights;
  scheme.specs = {with_bits(w.q_bits),    with_bits(w.k_bits),  with_bits(w.v_bits),   with_bits(w.o_bits),
                  with_bits(w.gate_bits), with_bits(w.up_bits), with_bits(w.down_bits)};
  scheme.factor = {c.gptq.percdamp, c.gptq.act_order,
                   c.weights.method == Method::kGptaq ? c.gptq.alpha : 0.0};
  scheme.gptq.block_size = c.gptq.block_size;
  scheme.gptq.static_groups = c.gptq.static_groups;
  scheme.gptq.reference_group_scales = c.gptq.reference_group_scales;
  scheme.quantize_activations = c.calibration.quantize_activations;
  return scheme;
}

}  // namespace spq::ptq
