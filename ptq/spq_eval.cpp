// spq-eval: perplexity of a model directory with quantizers and online transforms on.
#include <filesystem>
#include <iostream>
#include <memory>
#include <vector>

#include "core/error.h"
#include "data/facts.h"
#include "data/token_windows.h"
#include "data/transform_manifest.h"
#include "dist/collectives.h"
#include "dist/program.h"
#include "dist/same_everywhere.h"
#include "model/sharded_device.h"
#include "ptq/eval_config.h"
#include "ptq/evaluate.h"

namespace {

using namespace spq;

int run(dist::Communicator& comm, const dist::Arguments& arguments) {
  ptq::EvalConfig config;
  std::unique_ptr<data::TokenFile> tokens;
  model::PerplexityOptions options{};
  dist::collectively(comm, [&] { config = ptq::load_eval_config(arguments.config, arguments.overrides); });
  dist::check_same_everywhere(
      comm, [&] { return data::config_facts(ptq::bind_keys(config), arguments.config, config.model); });
  model::RunDevice device(comm, config.compute.device);
  dist::collectively(comm, [&] {
    const data::LlamaConfig model = data::read_llama_config(config.model);
    model::check_groups(config.quant, model);
    tokens = data::open_token_windows(config.tokens, config.sequence_length, "sequence_length", model,
                                      config.model);
    options = {config.sequence_length, config.sequences, config.micro_batch,
               ptq::window_bos_id(config.model, *tokens, config.bos)};
  });
  dist::check_same_everywhere(comm, [&] {
    const std::filesystem::path model = config.model;
    return std::vector<Fact>{data::weights_fact(data::ModelFiles(model)),
                             data::sampled_fact(data::kManifestFile, model / data::kManifestFile),
                             data::sampled_fact("tokens", config.tokens)};
  });
  dist::set_threads(comm, config.compute.threads);
  comm.set_timeout(config.compute.collective_timeout);
  if (arguments.check_only) {
    if (comm.rank() == 0) std::cout << "configuration, model and tokens are fine\n";
    return 0;
  }
  if (comm.rank() == 0) std::cout << fmt::format("device: {}\n", device.describe());
  dist::Communicator& connected = device.connect(config.compute.collective_timeout);
  const double perplexity = ptq::evaluate_model(
      connected, config.model, *tokens, options, config.quant, {config.r3_hadamard, config.r4_hadamard},
      config.compute.fp32 ? at::kFloat : at::kBFloat16, device.device());
  if (comm.rank() == 0) std::cout << fmt::format("perplexity {:.4f} of {}\n", perplexity, config.tokens);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const dist::Program program = {
      "spq-eval", SPQ_VERSION, "Perplexity of a LLaMA model, activations, keys and values quantized.",
      "docs/configuration-ptq.md", [] { return data::program_facts(SPQ_VERSION); }};
  return dist::run_program(program, argc, argv, run);
}
