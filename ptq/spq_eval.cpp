// spq-eval: perplexity of a model directory with quantizers and online transforms on.
#include <iostream>
#include <memory>

#include "core/error.h"
#include "data/token_windows.h"
#include "dist/collectives.h"
#include "dist/program.h"
#include "ptq/eval_config.h"
#include "ptq/evaluate.h"

namespace {

using namespace spq;

int run(dist::Communicator& comm, const dist::Arguments& arguments) {
  ptq::EvalConfig config;
  std::unique_ptr<data::TokenFile> tokens;
  model::PerplexityOptions options{};
  dist::collectively(comm, [&] {
    config = ptq::load_eval_config(arguments.config, arguments.overrides);
    const data::LlamaConfig model = data::read_llama_config(config.model);
    model::check_groups(config.quant, model);
    tokens = data::open_token_windows(config.tokens, config.sequence_length, "sequence_length", model,
                                      config.model);
    options = {config.sequence_length, config.sequences, config.micro_batch,
               ptq::window_bos_id(config.model, *tokens, config.bos)};
  });
  dist::set_threads(comm, config.compute.threads);
  comm.set_timeout(config.compute.collective_timeout);
  if (arguments.check_only) {
    if (comm.rank() == 0) std::cout << "configuration, model and tokens are fine\n";
    return 0;
  }
  const double perplexity = ptq::evaluate_model(comm, config.model, *tokens, options, config.quant,
                                                {config.r3_hadamard, config.r4_hadamard},
                                                config.compute.fp32 ? at::kFloat : at::kBFloat16);
  if (comm.rank() == 0) std::cout << fmt::format("perplexity {:.4f} of {}\n", perplexity, config.tokens);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const dist::Program program = {"spq-eval", SPQ_VERSION,
                                 "Perplexity of a LLaMA model, activations, keys and values quantized.",
                                 "docs/configuration-ptq.md"};
  return dist::run_program(program, argc, argv, run);
}
