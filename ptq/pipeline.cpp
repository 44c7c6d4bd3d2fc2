#include "ptq/pipeline.h"

#include <ATen/ops/index_select.h>

#include <chrono>
#include <memory>
#include <random>

#include "core/error.h"
#include "core/text.h"
#include "data/model_writer.h"
#include "data/rotation_file.h"
#include "dist/collectives.h"
#include "model/sharded_load.h"
#include "ptq/evaluate.h"
#include "ptq/merge.h"

namespace spq::ptq {
namespace {

std::string layer_name(int64_t layer) {
  return fmt::format("model.layers.{}", layer);
}

// Starts of random windows, the same on every rank.
std::vector<int64_t> window_starts(const data::TokenFile& tokens, const CalibrationConfig& c) {
  std::mt19937_64 engine(static_cast<uint64_t>(c.seed));
  std::vector<int64_t> starts;
  const auto choices = static_cast<uint64_t>(tokens.size() - c.sequence_length + 1);
  for (int64_t i = 0; i < c.samples; ++i) starts.push_back(static_cast<int64_t>(engine() % choices));
  return starts;
}

class Pipeline {
 public:
  Pipeline(dist::Communicator& comm, const PtqConfig& config, std::ostream* out)
      : comm_(comm), config_(config), out_(out) {}
  std::optional<double> run();
  void open();

 private:
  void check_group_sizes() const;
  void open_transformed(const data::TransformManifest& found);
  void share_rotations();
  void read_calibration();
  LayerMatrices merged(int64_t layer) const;
  void write_layer(int64_t layer, const LayerMatrices& weights);
  void quantize_layers();
  void write_rest();
  std::optional<double> evaluate();
  void report(int64_t layer, const QuantizedLayer& quantized, std::chrono::steady_clock::time_point start);
  template <class Body>
  void on_rank_0(const Body& body) {
    dist::collectively(comm_, [&] {
      if (comm_.rank() == 0) body();
    });
  }

  dist::Communicator& comm_;
  const PtqConfig& config_;
  std::ostream* out_;
  data::LlamaConfig model_;
  std::unique_ptr<data::ModelFiles> files_;
  std::unique_ptr<data::TokenFile> calibration_, eval_;
  at::ScalarType dtype_ = at::kFloat;
  data::Rotations rotations_;                // undefined R1, no R2: nothing to merge
  data::Rotations result_rotations_;         // the same, identities included
  FoldedR4 fold_r4_;                         // by this run
  data::TransformManifest manifest_;         // of the result
  std::optional<data::ModelWriter> writer_;  // rank 0
  CalibrationInputs inputs_;
  WeightScheme scheme_;
  model::RopeTable rope_;
  model::QuantScheme activations_;
};

// A model that an earlier run transformed is taken as it is: its rotations are in the weights already.
void Pipeline::open_transformed(const data::TransformManifest& found) {
  const bool rotates = config_.rotate.r1 != model::RotationSource::kIdentity ||
                       config_.rotate.r2 != model::RotationSource::kIdentity;
  check(!rotates,
        "{}: already transformed ({}): it cannot be rotated twice; set rotate.r1 and rotate.r2 to identity",
        config_.model, data::describe(found));
  check(!found.weights, "{}: its weights are already quantized ({})", config_.model, data::describe(found));
  check(found.r4.has_value() == config_.rotate.r4_hadamard,
        "{}: R4 {} folded into its weights, but rotate.r4 is {}: the online transform must be the same in "
        "both steps",
        config_.model, found.r4 ? "is" : "is not", config_.rotate.r4_hadamard ? "hadamard" : "identity");
  manifest_ = found;
}

void Pipeline::check_group_sizes() const {
  check_spec(scheme_.spec, model_.hidden_size, "weights.group_size and hidden_size");
  check_spec(scheme_.spec, model_.num_heads * model_.head_dim, "weights.group_size and o_proj");
  if (scheme_.down_spec.enabled()) {
    check_spec(scheme_.down_spec, model_.intermediate_size, "weights.group_size and intermediate_size");
  }
}

void Pipeline::open() {
  model_ = data::read_llama_config(config_.model);
  files_ = std::make_unique<data::ModelFiles>(config_.model);
  model::check_model_files(*files_, model_);
  dtype_ = files_->dtype("model.layers.0.self_attn.q_proj.weight");
  scheme_ = weight_scheme(config_, dtype_);
  activations_ = model::quant_scheme(config_.quant);
  if (scheme_.method == Method::kGptq || scheme_.method == Method::kGptaq) {
    calibration_ =
        open_fitting_tokens(config_.calibration.tokens, config_.calibration.sequence_length, config_.model);
  }
  if (!config_.eval.tokens.empty())
    eval_ = open_fitting_tokens(config_.eval.tokens, config_.eval.sequence_length, config_.model);
  if (scheme_.method != Method::kNone) check_group_sizes();
  if (const auto found = data::read_manifest(config_.model)) {
    open_transformed(*found);
  } else {
    manifest_.source_fingerprint = files_->fingerprint();
    manifest_.norms_folded = true;
    if (config_.rotate.r4_hadamard) fold_r4_ = kernels::plan_hadamard(model_.intermediate_size);
    if (fold_r4_) manifest_.r4 = {fold_r4_->block, fold_r4_->factor};
  }
  manifest_.spq_version = SPQ_VERSION;
  manifest_.r3_online = config_.rotate.r3_hadamard;
  if (scheme_.method != Method::kNone) {
    static const char* const names[] = {"none", "rtn", "gptq", "gptaq"};
    manifest_.weights = {names[static_cast<int>(scheme_.method)], scheme_.spec.bits, scheme_.spec.group_size,
                         scheme_.spec.symmetric};
  }
}

// Made or read on rank 0, the same bits everywhere. An identity stays undefined: nothing to merge.
void Pipeline::share_rotations() {
  const RotateConfig& r = config_.rotate;
  const bool first = comm_.rank() == 0;
  dist::collectively(comm_, [&] {
    const auto source = [&](model::RotationSource s) { return first ? s : model::RotationSource::kIdentity; };
    rotations_ = model::make_rotations(source(r.r1), source(r.r2), r.seed, r.file, model_);
    check_rotations(rotations_, model_, r.file.empty() ? "rotate" : r.file);
  });
  comm_.broadcast(rotations_.r1, 0);
  for (at::Tensor& r2 : rotations_.r2) comm_.broadcast(r2, 0);
  result_rotations_ = rotations_;
  if (r.r1 == model::RotationSource::kIdentity) {
    rotations_.r1.reset();
  } else {
    manifest_.r1_sha256 = data::rotation_sha256(std::span(&rotations_.r1, 1));
  }
  if (r.r2 == model::RotationSource::kIdentity) {
    rotations_.r2.clear();
  } else {
    manifest_.r2_sha256 = data::rotation_sha256(rotations_.r2);
  }
}

void Pipeline::read_calibration() {
  if (!calibration_) return;
  dist::collectively(comm_, [&] {
    const at::Tensor embedding = merge_embedding(*files_, rotations_.r1, /*centre=*/false);
    const std::vector<int64_t> starts = window_starts(*calibration_, config_.calibration);
    const dist::RowPartition part(static_cast<int64_t>(starts.size()), comm_.world_size());
    for (int64_t i = part.begin(comm_.rank()); i < part.end(comm_.rank()); ++i) {
      const at::Tensor ids = calibration_->read(starts[static_cast<size_t>(i)],
                                                config_.calibration.sequence_length, model_.vocab_size);
      inputs_.quantized.push_back(
          at::index_select(embedding, 0, ids).to(config_.fp32 ? at::kFloat : at::kBFloat16));
    }
  });
  if (scheme_.method == Method::kGptaq) inputs_.full = inputs_.quantized;
  rope_ = model::make_rope_table(model_, config_.calibration.sequence_length);
}

LayerMatrices Pipeline::merged(int64_t layer) const {
  const MergedLayer m = merge_layer(*files_, model_, layer, rotations_, fold_r4_);
  return {m.q, m.k, m.v, m.o, m.gate, m.up, m.down};
}

void Pipeline::write_layer(int64_t layer, const LayerMatrices& w) {
  on_rank_0([&] {
    const auto write = [&](const char* name, const at::Tensor& t) {
      writer_->write(fmt::format("{}.{}.weight", layer_name(layer), name), t);
    };
    const auto write_ones = [&](const char* name) {
      const std::string full = fmt::format("{}.{}.weight", layer_name(layer), name);
      writer_->write(full, ones_like_norm(*files_, full));
    };
    write_ones("input_layernorm");
    write("self_attn.q_proj", w.q);
    write("self_attn.k_proj", w.k);
    write("self_attn.v_proj", w.v);
    write("self_attn.o_proj", w.o);
    write_ones("post_attention_layernorm");
    write("mlp.gate_proj", w.gate);
    write("mlp.up_proj", w.up);
    write("mlp.down_proj", w.down);
  });
}

void Pipeline::report(int64_t layer, const QuantizedLayer& quantized,
                      std::chrono::steady_clock::time_point start) {
  if (!out_) return;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double left =
      seconds / static_cast<double>(layer + 1) * static_cast<double>(model_.num_layers - layer - 1);
  std::string losses;
  for (const auto& [name, ratio] : quantized.relative_loss) losses += fmt::format(" {} {:.3f}", name, ratio);
  *out_ << fmt::format("layer {}/{}  left {}{}{}\n", layer + 1, model_.num_layers, humanize_duration(left),
                       losses.empty() ? "" : "  error relative to rounding to nearest:", losses);
  if (quantized.damping_raised > 0) {
    *out_ << fmt::format("{}: damping was raised {} time(s) until the Hessian could be factored\n",
                         layer_name(layer), quantized.damping_raised);
  }
}

void Pipeline::quantize_layers() {
  const auto start = std::chrono::steady_clock::now();
  LayerPlace place{&model_, &rope_, &activations_, {}, config_.fp32 ? at::kFloat : at::kBFloat16, ""};
  place.frames = merged_frames(config_.output_dir, model_, manifest_,
                               {config_.rotate.r3_hadamard, config_.rotate.r4_hadamard});
  for (int64_t l = 0; l < model_.num_layers; ++l) {
    LayerMatrices full;
    dist::collectively(comm_, [&] { full = merged(l); });
    place.name = layer_name(l);
    const QuantizedLayer quantized = quantize_layer(comm_, place, full, inputs_, scheme_);
    write_layer(l, quantized.weights);
    if (calibration_ && l + 1 < model_.num_layers) advance(inputs_, place, quantized.weights, full, scheme_);
    report(l, quantized, start);
  }
  inputs_ = {};
}

void Pipeline::write_rest() {
  on_rank_0([&] {
    writer_->write("model.embed_tokens.weight", merge_embedding(*files_, rotations_.r1, /*centre=*/false));
    writer_->write("model.norm.weight", ones_like_norm(*files_, "model.norm.weight"));
    writer_->write("lm_head.weight", merge_head(*files_, model_, rotations_.r1));
    data::write_manifest(config_.output_dir, manifest_);
    if (rotations_.r1.defined() || !rotations_.r2.empty()) {
      data::write_rbin(std::filesystem::path(config_.output_dir) / "R.bin", result_rotations_);
    }
    writer_->finish();
  });
  if (out_) *out_ << fmt::format("wrote {} ({})\n", config_.output_dir, data::describe(manifest_));
}

std::optional<double> Pipeline::evaluate() {
  if (!eval_) return std::nullopt;
  const PtqEvalConfig& e = config_.eval;
  const double perplexity = evaluate_model(
      comm_, config_.output_dir, *eval_, {e.sequence_length, e.sequences, e.micro_batch}, config_.quant,
      {config_.rotate.r3_hadamard, config_.rotate.r4_hadamard}, config_.fp32 ? at::kFloat : at::kBFloat16);
  if (out_) *out_ << fmt::format("perplexity {:.4f} of {}\n", perplexity, config_.eval.tokens);
  return perplexity;
}

std::optional<double> Pipeline::run() {
  dist::collectively(comm_, [&] { open(); });
  share_rotations();
  on_rank_0([&] { writer_.emplace(config_.model, config_.output_dir, output_tensors(*files_, model_)); });
  read_calibration();
  quantize_layers();
  write_rest();
  return evaluate();
}

}  // namespace

void check_ptq(dist::Communicator& comm, const PtqConfig& config) {
  dist::collectively(comm, [&] { Pipeline(comm, config, nullptr).open(); });
}

std::optional<double> run_ptq(dist::Communicator& comm, const PtqConfig& config, std::ostream* out) {
  return Pipeline(comm, config, out).run();
}

}  // namespace spq::ptq
