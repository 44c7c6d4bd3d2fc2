#include "ptq/pipeline.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <array>
#include <chrono>
#include <random>

#include "core/error.h"
#include "core/progress.h"
#include "core/text.h"
#include "data/mapped_file.h"
#include "data/sha256.h"
#include "dist/collectives.h"
#include "dist/same_everywhere.h"
#include "model/sharded_device.h"
#include "ptq/evaluate.h"
#include "ptq/inputs.h"
#include "ptq/result_writer.h"

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

std::string file_sha256(const std::filesystem::path& path) {
  const data::MappedFile file(path);
  return data::sha256_hex(file.data(), file.size());
}

PtqInputs open_same_inputs(dist::Communicator& comm, const PtqConfig& config) {
  PtqInputs inputs;
  dist::collectively(comm, [&] { inputs = open_inputs(config); });
  dist::check_same_everywhere(comm, [&] { return input_facts(inputs, config); });
  return inputs;
}

class Pipeline {
 public:
  Pipeline(dist::Communicator& comm, const PtqConfig& config, c10::Device device, std::ostream* out)
      : comm_(comm), config_(config), device_(device), out_(out) {}
  std::optional<double> run();

 private:
  using Clock = std::chrono::steady_clock;

  void share_rotations();
  std::string run_text() const;
  void open_result();
  void read_calibration();
  LayerMatrices merged(int64_t layer) const;
  void share_finished(int64_t layer, LayerMatrices& matrices) const;
  void pass_finished_layers();
  void quantize_layers();
  void finish();
  std::optional<double> evaluate();
  void report(int64_t layer, const QuantizedLayer& quantized, Clock::time_point start) const;
  template <class Body>
  void on_rank_0(const Body& body) const {
    dist::collectively(comm_, [&] {
      if (comm_.rank() == 0) body();
    });
  }
  Online online() const { return {config_.rotate.r3_hadamard, config_.rotate.r4_hadamard}; }
  at::ScalarType compute_dtype() const { return config_.compute.fp32 ? at::kFloat : at::kBFloat16; }
  LayerPlace place(int64_t layer) const;
  bool is_last(int64_t layer) const { return layer + 1 == in_.model.num_layers; }

  dist::Communicator& comm_;
  const PtqConfig& config_;
  c10::Device device_;
  std::ostream* out_;
  PtqInputs in_;
  data::Rotations rotations_;           // undefined R1, no R2: nothing to merge
  data::Rotations whole_rotations_;     // the same, identities included
  std::optional<ResultWriter> writer_;  // rank 0
  int64_t finished_layers_ = 0;         // by an interrupted run
  CalibrationInputs inputs_;
  model::RopeTable rope_;
  model::QuantScheme activations_;
  model::LayerFrames frames_;
};

// Made or read on rank 0, the same bits everywhere. An identity stays undefined: nothing to merge.
void Pipeline::share_rotations() {
  const RotateConfig& r = config_.rotate;
  const bool first = comm_.rank() == 0;
  dist::collectively(comm_, [&] {
    const auto source = [&](model::RotationSource s) { return first ? s : model::RotationSource::kIdentity; };
    rotations_ = model::make_rotations(source(r.r1), source(r.r2), r.seed, r.file, in_.model);
    check_rotations(rotations_, in_.model, r.file.empty() ? "rotate" : r.file);
  });
  comm_.broadcast(rotations_.r1, 0);
  for (at::Tensor& r2 : rotations_.r2) comm_.broadcast(r2, 0);
  whole_rotations_ = rotations_;
  if (r.r1 == model::RotationSource::kIdentity) {
    rotations_.r1.reset();
  } else {
    in_.manifest.r1_sha256 = data::rotation_sha256(std::span(&rotations_.r1, 1));
  }
  if (r.r2 == model::RotationSource::kIdentity) {
    rotations_.r2.clear();
  } else {
    in_.manifest.r2_sha256 = data::rotation_sha256(rotations_.r2);
  }
}

// What the weights of the result depend on; a run with another text does not go on with this one's layers.
std::string Pipeline::run_text() const {
  std::string text = result_keys(config_);
  text += fmt::format("model fingerprint: {}\n", in_.files->fingerprint());
  text += fmt::format("R1 sha256: {}\n", in_.manifest.r1_sha256.value_or("none"));
  text += fmt::format("R2 sha256: {}\n", in_.manifest.r2_sha256.value_or("none"));
  if (in_.calibration) {
    text += fmt::format("calibration.tokens sha256: {}\n", file_sha256(config_.calibration.tokens));
  }
  return text;
}

void Pipeline::open_result() {
  on_rank_0([&] {
    writer_.emplace(config_, in_, run_text());
    finished_layers_ = writer_->finished_layers();
  });
  at::Tensor finished = at::full({1}, finished_layers_, at::kLong);
  comm_.broadcast(finished, 0);
  finished_layers_ = finished.item<int64_t>();
}

void Pipeline::read_calibration() {
  if (!in_.calibration) return;
  dist::collectively(comm_, [&] {
    const CalibrationConfig& c = config_.calibration;
    const std::vector<int64_t> starts = window_starts(*in_.calibration, c);
    const dist::RowPartition part(static_cast<int64_t>(starts.size()), comm_.world_size());
    for (int64_t i = part.begin(comm_.rank()); i < part.end(comm_.rank()); ++i) {
      const at::Tensor ids =
          in_.calibration->read(starts[static_cast<size_t>(i)], c.sequence_length, in_.model.vocab_size);
      inputs_.quantized.push_back(
          merge_embedding_rows(*in_.files, rotations_.r1, config_.rotate.centre_embedding, ids)
              .to(device_, compute_dtype()));
    }
  });
  if (in_.scheme.method == Method::kGptaq) inputs_.full = inputs_.quantized;
  rope_ = model::make_rope_table(in_.model, config_.calibration.sequence_length).on(device_);
}

LayerMatrices Pipeline::merged(int64_t layer) const {
  const MergedLayer m = merge_layer(*in_.files, in_.model, layer, rotations_, in_.fold_r4);
  return {m.q, m.k, m.v, m.o, m.gate, m.up, m.down};
}

LayerPlace Pipeline::place(int64_t layer) const {
  return {&in_.model,        &rope_,         &activations_, frames_, compute_dtype(),
          layer_name(layer), is_last(layer), device_};
}

// Rank 0 reads what it wrote; another host may not see the files yet.
void Pipeline::share_finished(int64_t layer, LayerMatrices& matrices) const {
  on_rank_0([&] { matrices = writer_->read_layer(layer); });
  const auto share = [&](at::Tensor& t, const char* projection) {
    const std::string name = fmt::format("{}.{}.weight", layer_name(layer), projection);
    if (comm_.rank() != 0) t = at::empty(in_.files->shape(name), in_.files->dtype(name));
    comm_.broadcast(t, 0);
  };
  share(matrices.q, "self_attn.q_proj");
  share(matrices.k, "self_attn.k_proj");
  share(matrices.v, "self_attn.v_proj");
  share(matrices.o, "self_attn.o_proj");
  share(matrices.gate, "mlp.gate_proj");
  share(matrices.up, "mlp.up_proj");
  share(matrices.down, "mlp.down_proj");
}

// The calibration inputs go through the layers that an interrupted run finished.
void Pipeline::pass_finished_layers() {
  if (finished_layers_ == 0) return;
  if (out_) {
    *out_ << fmt::format("going on: {} of {} layers are in {} already\n", finished_layers_,
                         in_.model.num_layers, config_.output_dir)
          << std::flush;
  }
  for (int64_t l = 0; l < finished_layers_; ++l) {
    if (!in_.calibration || is_last(l)) continue;
    LayerMatrices quantized, full;
    share_finished(l, quantized);
    dist::collectively(comm_, [&] {
      if (!inputs_.full.empty()) full = merged(l);
      advance(inputs_, place(l), quantized, full, in_.scheme);
    });
  }
}

void Pipeline::report(int64_t layer, const QuantizedLayer& quantized, Clock::time_point start) const {
  if (!out_) return;
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const double left =
      estimate_seconds_left(layer + 1 - finished_layers_, seconds, in_.model.num_layers - layer - 1);
  std::string losses;
  for (const auto& [name, ratio] : quantized.relative_loss) losses += fmt::format(" {} {:.3f}", name, ratio);
  *out_ << fmt::format("layer {}/{}  left {}{}{}\n", layer + 1, in_.model.num_layers, humanize_duration(left),
                       losses.empty() ? "" : "  error relative to rounding to nearest:", losses)
        << std::flush;
  if (quantized.damping_raised > 0) {
    *out_ << fmt::format("{}: damping was raised {} time(s) until the Hessian could be factored\n",
                         layer_name(layer), quantized.damping_raised);
  }
}

void Pipeline::quantize_layers() {
  const auto start = Clock::now();
  for (int64_t l = finished_layers_; l < in_.model.num_layers; ++l) {
    LayerMatrices full;
    dist::collectively(comm_, [&] { full = merged(l); });
    const QuantizedLayer quantized = quantize_layer(comm_, place(l), full, inputs_, in_.scheme);
    full = {};
    on_rank_0([&] { writer_->write_layer(l, quantized); });
    report(l, quantized, start);
  }
  inputs_ = {};
}

void Pipeline::finish() {
  on_rank_0([&] {
    writer_->finish(rotations_, whole_rotations_, in_.manifest);
    writer_.reset();
  });
  if (out_) *out_ << fmt::format("wrote {} ({})\n", config_.output_dir, data::describe(in_.manifest));
}

std::optional<double> Pipeline::evaluate() {
  if (!in_.eval) return std::nullopt;
  const PtqEvalConfig& e = config_.eval;
  const double perplexity = evaluate_model(comm_, config_.output_dir, *in_.eval,
                                           {e.sequence_length, e.sequences, e.micro_batch, in_.eval_bos},
                                           config_.quant, online(), compute_dtype(), device_);
  if (out_) *out_ << fmt::format("perplexity {:.4f} of {}\n", perplexity, e.tokens);
  return perplexity;
}

std::optional<double> Pipeline::run() {
  in_ = open_same_inputs(comm_, config_);
  share_rotations();
  dist::collectively(comm_, [&] {
    frames_ = merged_frames(config_.output_dir, in_.model, in_.manifest, online());
    activations_ = model::quant_scheme(config_.quant);
  });
  open_result();
  read_calibration();
  pass_finished_layers();
  quantize_layers();
  finish();
  return evaluate();
}

}  // namespace

void check_ptq(dist::Communicator& comm, const PtqConfig& config) {
  const model::RunDevice device(comm, config.compute.device);
  open_same_inputs(comm, config);
}

std::optional<double> run_ptq(dist::Communicator& comm, const PtqConfig& config, std::ostream* out) {
  model::RunDevice device(comm, config.compute.device);
  if (out) *out << fmt::format("device: {}\n", device.describe());
  return Pipeline(device.connect(config.compute.collective_timeout), config, device.device(), out).run();
}

}  // namespace spq::ptq
