#include "ptq/inputs.h"

#include "core/error.h"
#include "data/facts.h"
#include "data/token_windows.h"
#include "model/sharded_load.h"
#include "ptq/evaluate.h"

namespace spq::ptq {
namespace {

// A model that an earlier run transformed is taken as it is: its rotations are in the weights already.
data::TransformManifest transformed_manifest(const PtqConfig& config, const data::TransformManifest& found) {
  const bool rotates = config.rotate.r1 != model::RotationSource::kIdentity ||
                       config.rotate.r2 != model::RotationSource::kIdentity;
  check(!rotates,
        "{}: already transformed ({}): it cannot be rotated twice; set rotate.r1 and rotate.r2 to identity",
        config.model, data::describe(found));
  check(!config.rotate.centre_embedding,
        "{}: already transformed ({}): its embedding cannot be centred any more; set rotate.centre_embedding "
        "to false",
        config.model, data::describe(found));
  check(!found.weights, "{}: its weights are already quantized ({})", config.model, data::describe(found));
  check(found.r4.has_value() == config.rotate.r4_hadamard,
        "{}: R4 {} folded into its weights, but rotate.r4 is {}: the online transform must be the same in "
        "both steps",
        config.model, found.r4 ? "is" : "is not", config.rotate.r4_hadamard ? "hadamard" : "identity");
  return found;
}

data::TransformManifest::WeightQuantization weights_record(const PtqConfig& config,
                                                           const WeightScheme& scheme) {
  static const char* const names[] = {"none", "rtn", "gptq", "gptaq"};
  data::TransformManifest::WeightQuantization record;
  record.method = names[static_cast<int>(scheme.method)];
  record.bits = config.weights.bits;
  const ProjectionSpecs& s = scheme.specs;
  const std::pair<const char*, int> bits[] = {
      {"q_proj", s.q.bits},       {"k_proj", s.k.bits},   {"v_proj", s.v.bits},      {"o_proj", s.o.bits},
      {"gate_proj", s.gate.bits}, {"up_proj", s.up.bits}, {"down_proj", s.down.bits}};
  for (const auto& [name, own] : bits) {
    if (own != config.weights.bits) record.other_bits[name] = own;
  }
  record.group_size = config.weights.group_size;
  record.symmetric = config.weights.symmetric;
  record.integers = config.save.integers;
  return record;
}

void check_group_sizes(const ProjectionSpecs& specs, const data::LlamaConfig& model) {
  const auto check_one = [](const WeightQuantSpec& spec, int64_t columns, const char* what) {
    if (spec.enabled()) check_spec(spec, columns, what);
  };
  for (const WeightQuantSpec* spec : {&specs.q, &specs.k, &specs.v, &specs.gate, &specs.up}) {
    check_one(*spec, model.hidden_size, "weights.group_size and hidden_size");
  }
  check_one(specs.o, model.num_heads * model.head_dim, "weights.group_size and o_proj");
  check_one(specs.down, model.intermediate_size, "weights.group_size and intermediate_size");
}

}  // namespace

bool needs_calibration(Method method) {
  return method == Method::kGptq || method == Method::kGptaq;
}

PtqInputs open_inputs(const PtqConfig& config) {
  PtqInputs in;
  in.model = data::read_llama_config(config.model);
  model::check_groups(config.quant, in.model);
  in.files = std::make_unique<data::ModelFiles>(config.model);
  model::check_model_files(*in.files, in.model);
  check_nothing_lost(*in.files, in.model, config.model);
  in.scheme = weight_scheme(config, in.files->dtype("model.layers.0.self_attn.q_proj.weight"));
  if (needs_calibration(in.scheme.method)) {
    in.calibration = data::open_token_windows(config.calibration.tokens, config.calibration.sequence_length,
                                              "calibration.sequence_length", in.model, config.model);
  }
  if (!config.eval.tokens.empty()) {
    in.eval = data::open_token_windows(config.eval.tokens, config.eval.sequence_length,
                                       "eval.sequence_length", in.model, config.model);
    in.eval_bos = window_bos_id(config.model, *in.eval, config.eval.bos);
  }
  if (in.scheme.method != Method::kNone) check_group_sizes(in.scheme.specs, in.model);
  if (const auto found = data::read_manifest(config.model)) {
    in.manifest = transformed_manifest(config, *found);
  } else {
    in.manifest.source_fingerprint = in.files->fingerprint();
    in.manifest.norms_folded = true;
    in.manifest.embedding_centred = config.rotate.centre_embedding;
    if (config.rotate.r4_hadamard) in.fold_r4 = kernels::plan_hadamard(in.model.intermediate_size);
    if (in.fold_r4) in.manifest.r4 = {in.fold_r4->block, in.fold_r4->factor};
  }
  in.manifest.spq_version = SPQ_VERSION;
  in.manifest.r3_online = config.rotate.r3_hadamard;
  if (in.scheme.method != Method::kNone) in.manifest.weights = weights_record(config, in.scheme);
  return in;
}

std::vector<Fact> input_facts(const PtqInputs& inputs, const PtqConfig& config) {
  const std::filesystem::path manifest = std::filesystem::path(config.model) / data::kManifestFile;
  std::vector<Fact> facts = {data::weights_fact(*inputs.files),
                             data::sampled_fact(data::kManifestFile, manifest)};
  if (inputs.calibration) {
    facts.push_back(data::sampled_fact("tokens of calibration.tokens", config.calibration.tokens));
  }
  if (inputs.eval) facts.push_back(data::sampled_fact("tokens of eval.tokens", config.eval.tokens));
  return facts;
}

}  // namespace spq::ptq
