#include "tests/trainer/step_problem.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

#include <algorithm>

#include "model/quant_config.h"
#include "trainer/rotation_setup.h"

namespace spq::test {

StepProblem::StepProblem(dist::Communicator& comm, const std::string& name, at::ScalarType compute_dtype,
                         c10::Device device)
    : comm_(comm) {
  network.config = data::read_llama_config(fixture(name));
  const data::ModelFiles files(fixture(name));
  weights_ = std::make_unique<model::ShardedWeights>(
      comm, network.config, model::load_shard(files, network.config, comm.rank(), comm.world_size()),
      compute_dtype, device);
  model::QuantConfig quant;
  quant.activation.bits = quant.key.bits = quant.value.bits = 4;
  network.scheme = model::quant_scheme(quant);
  network.rope = model::make_rope_table(network.config, kLength).on(device);
  network.loss_chunk = 7;
  settings.compute_dtype = compute_dtype;
  trainer::RotationConfig rotation;
  rotation.seed = 3;
  state.rotations = trainer::on_device(trainer::start_rotations(rotation, network.config), device);
  state.momentum = trainer::zero_momentum(state.rotations);
}

at::Tensor StepProblem::sequence(int64_t index) const {
  return at::arange(kLength, at::kLong)
      .mul(7 + index)
      .add(3 * index * index)
      .remainder(network.config.vocab_size);
}

std::vector<trainer::StepResult> StepProblem::train(int64_t steps, int64_t sequences, int64_t micro_batch) {
  const dist::RowPartition part(sequences, comm_.world_size());
  std::vector<trainer::StepResult> results;
  for (int64_t i = 0; i < steps; ++i) {
    trainer::StepInput input;
    input.learning_rate = learning_rate;
    input.global_predictions = sequences * (kLength - 1);
    const int64_t first = state.step * sequences + part.begin(comm_.rank());
    for (int64_t begin = 0; begin < part.count(0); begin += micro_batch) {
      std::vector<at::Tensor> rows;
      for (int64_t s = begin; s < std::min(begin + micro_batch, part.count(comm_.rank())); ++s) {
        rows.push_back(sequence(first + s));
      }
      input.micro_batches.push_back(rows.empty() ? at::empty({0, kLength}, at::kLong) : at::stack(rows));
    }
    results.push_back(trainer::train_step(comm_, network, *weights_, state, input, settings));
  }
  return results;
}

}  // namespace spq::test
