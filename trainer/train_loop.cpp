#include "trainer/train_loop.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "core/error.h"
#include "core/text.h"
#include "data/atomic_file.h"
#include "data/folder_lock.h"
#include "dist/collectives.h"
#include "model/quant_config.h"
#include "model/sharded_batches.h"
#include "model/sharded_perplexity.h"
#include "model/sharded_weights.h"
#include "trainer/channel_report.h"
#include "trainer/config_yaml.h"
#include "trainer/data_order.h"
#include "trainer/metrics.h"
#include "trainer/resume.h"
#include "trainer/rotation_setup.h"
#include "trainer/schedule.h"
#include "trainer/train_step.h"

namespace spq::trainer {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// A run in progress on one rank. Rank 0 also speaks and writes.
class Run {
 public:
  Run(dist::Communicator& comm, const Job& job, StopSignal& stop, std::ostream* out, Terminal terminal)
      : comm_(comm),
        job_(job),
        stop_(stop),
        out_(out),
        order_(job.train->size() / job.config.batch.sequence_length, job.config.data.shuffle,
               job.config.data.seed) {
    if (out_) progress_.emplace(*out_, terminal);
  }

  Outcome run();

 private:
  void prepare_output();
  void load_weights();
  void start();
  StepResult step();
  void save(bool run_ends);
  // Collective. After a save, so that a signal which came during it does not cost another step.
  bool any_rank_is_told_to_stop() {
    const std::vector<std::string> answers = dist::gather_texts(comm_, stop_.poll() != 0 ? "stop" : "");
    return std::any_of(answers.begin(), answers.end(), [](const std::string& a) { return !a.empty(); });
  }
  void report(const StepResult& result, double seconds);
  void evaluate();
  void finish();
  // Every so many steps (0: never), and after the last.
  bool is_due(int64_t every) const {
    return state_.step == job_.config.optimizer.steps || (every > 0 && state_.step % every == 0);
  }
  bool evaluation_is_due() const { return state_.step == 0 || is_due(job_.config.eval.every); }
  void say(const std::string& line) {
    if (progress_) progress_->say(line);
  }
  template <class Body>
  void on_rank_0(const Body& body) {
    dist::collectively(comm_, [&] {
      if (comm_.rank() == 0) body();
    });
  }

  dist::Communicator& comm_;
  const Job& job_;
  StopSignal& stop_;
  std::ostream* out_;
  std::optional<Progress> progress_;
  std::optional<data::FolderLock> lock_;  // rank 0
  std::optional<MetricsWriter> metrics_;  // rank 0
  DataOrder order_;
  std::string fingerprint_;
  std::optional<model::ShardedWeights> weights_;
  model::Network network_;
  StepSettings settings_;
  TrainState state_;
  Clock::time_point started_ = Clock::now();
  int64_t first_step_ = 0;
};

void Run::prepare_output() {
  on_rank_0([&] {
    const std::filesystem::path folder = checkpoint_folder(job_.config);
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    check(!error, "{}: cannot make this folder below output_dir ({})", folder.string(), error.message());
    lock_.emplace(job_.config.output_dir);
    fingerprint_ = job_.files->fingerprint();
  });
}

void Run::load_weights() {
  std::optional<model::ModelShard> shard;
  dist::collectively(
      comm_, [&] { shard = model::load_shard(*job_.files, job_.model, comm_.rank(), comm_.world_size()); });
  weights_.emplace(comm_, job_.model, std::move(*shard), job_.compute_dtype, job_.device);
}

void Run::start() {
  const Config& config = job_.config;
  network_.config = job_.model;
  network_.scheme = model::quant_scheme(config.quant);
  network_.rope = model::make_rope_table(job_.model, config.batch.sequence_length).on(job_.device);
  network_.loss_chunk = config.compute.loss_chunk;
  settings_.online = {config.rotation.r3_hadamard, config.rotation.r4_hadamard};
  settings_.learned = learned_rotations(config.rotation);
  settings_.cayley = {config.optimizer.iterations, config.optimizer.momentum, config.optimizer.clip_norm,
                      config.optimizer.retract_above};
  settings_.compute_dtype = job_.compute_dtype;
  settings_.keep_activations = job_.memory.keeps_activations;
  state_ = start_state(comm_, config, job_.model, fingerprint_, job_.device, out_);
  first_step_ = state_.step;
  on_rank_0([&] {
    const std::filesystem::path folder = config.output_dir;
    metrics_.emplace(folder / "metrics.jsonl", state_.step);
    data::write_text_atomically(folder / "config.yaml", to_yaml(config));
  });
}

StepResult Run::step() {
  const BatchConfig& batch = job_.config.batch;
  StepInput input;
  input.stop_requested = stop_.poll() != 0;
  input.learning_rate = learning_rate_at(job_.config.optimizer, state_.step);
  input.global_predictions = batch.sequences * (batch.sequence_length - 1);
  dist::collectively(comm_, [&] {
    input.micro_batches = model::rank_micro_batches(
        *job_.train, order_.sequences(state_.step * batch.sequences, batch.sequences), batch.sequence_length,
        batch.micro_batch, job_.model.vocab_size, comm_.rank(), comm_.world_size());
  });
  return train_step(comm_, network_, *weights_, state_, input, settings_);
}

void Run::save(bool run_ends) {
  try {
    save_checkpoint(comm_, job_.config, state_, fingerprint_);
  } catch (const AgreedError& error) {
    if (run_ends || job_.config.checkpoint.stop_on_error) throw;
    say(fmt::format("warning: no checkpoint after step {}: {}", state_.step, error.what()));
  }
}

void Run::report(const StepResult& result, double seconds) {
  on_rank_0([&] {
    const OptimizerConfig& optimizer = job_.config.optimizer;
    const BatchConfig& batch = job_.config.batch;
    StepMetrics metrics;
    metrics.step = state_.step - 1;
    metrics.loss = result.loss;
    metrics.learning_rate = learning_rate_at(optimizer, metrics.step);
    metrics.tokens_per_s = static_cast<double>(batch.sequences * batch.sequence_length) / seconds;
    metrics.orthogonality_error = result.cayley.orthogonality_error;
    metrics.tangential_norm = result.cayley.tangential_norm;
    metrics.gradient_norm = result.gradient_norm;
    metrics.seconds = seconds;
    metrics.device = c10::DeviceTypeName(job_.device.type(), /*lower_case=*/true);
    metrics_->write(metrics);
    const double left = estimate_seconds_left(state_.step - first_step_, seconds_since(started_),
                                              optimizer.steps - state_.step);
    progress_->update({state_.step, optimizer.steps, metrics.loss, metrics.learning_rate,
                       metrics.tokens_per_s, left, metrics.orthogonality_error});
    if (result.cayley.retractions > 0) {
      say(fmt::format("step {}: {} rotation(s) made orthogonal again", state_.step,
                      result.cayley.retractions));
    }
  });
}

void Run::evaluate() {
  if (!job_.heldout) return;
  const BatchConfig& batch = job_.config.batch;
  network_.frames =
      model::NetworkFrames(job_.model, state_.rotations, settings_.online, settings_.compute_dtype);
  const double perplexity =
      model::perplexity(comm_, network_, *weights_, *job_.heldout,
                        {batch.sequence_length, job_.config.eval.sequences, batch.micro_batch});
  on_rank_0([&] {
    metrics_->write_heldout(state_.step, perplexity);
    say(fmt::format("held-out perplexity after {} steps: {:.4f}", state_.step, perplexity));
  });
}

void Run::finish() {
  const Config& config = job_.config;
  if (config.eval.channel_magnitudes) {
    write_channel_report(comm_, network_, *weights_, *job_.heldout, config);
  }
  if (config.optimizer.steps > 0) save_result(comm_, config, state_, fingerprint_);
  if (progress_) progress_->finish();
  if (!out_) return;
  if (config.optimizer.steps == 0) {
    *out_ << fmt::format("evaluated, nothing learned (optimizer.steps is 0); metrics in {}/metrics.jsonl\n",
                         config.output_dir);
    return;
  }
  *out_ << fmt::format("wrote {}/rotation.h5{} and metrics.jsonl after {} steps in {}\n", config.output_dir,
                       config.checkpoint.write_rbin ? ", R.bin" : "", state_.step,
                       humanize_duration(seconds_since(started_)));
  *out_ << "next: quantize with it (spq-ptq, rotate.file), or start another run from it (rotation.file)\n";
}

Outcome Run::run() {
  const Config& config = job_.config;
  prepare_output();
  load_weights();
  start();
  // Also when resuming at such a step: the evaluation comes after the checkpoint and may have been cut off.
  if (evaluation_is_due()) evaluate();
  started_ = Clock::now();
  bool stopped = false;
  while (state_.step < config.optimizer.steps && !stopped) {
    const Clock::time_point begin = Clock::now();
    const StepResult result = step();
    report(result, seconds_since(begin));
    stopped = result.stop_requested;
    const bool last = state_.step == config.optimizer.steps;
    if (stopped || is_due(config.checkpoint.every)) {
      save(stopped);
      if (!stopped && !last) stopped = any_rank_is_told_to_stop();
    }
    if ((last || !stopped) && evaluation_is_due()) evaluate();
  }
  if (state_.step < config.optimizer.steps) {
    if (progress_) progress_->finish();
    if (out_) {
      *out_ << fmt::format(
          "stopped by a signal after step {}, which is saved in {}; run the same command to go on\n",
          state_.step, checkpoint_folder(config).string());
    }
    return Outcome::kStopped;
  }
  finish();
  return Outcome::kFinished;
}

}  // namespace

Outcome run_job(dist::Communicator& comm, const Job& job, StopSignal& stop, std::ostream* out,
                Terminal terminal) {
  return Run(comm, job, stop, out, terminal).run();
}

}  // namespace spq::trainer
