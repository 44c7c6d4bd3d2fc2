// spq-plan: what a run will need and how long it will take, from the model's config.json alone.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "data/json_text.h"
#include "trainer/config_check.h"
#include "trainer/config_yaml.h"
#include "trainer/plan_report.h"

namespace {

using namespace spq;

constexpr int kExitError = 1;  // also: does not fit
constexpr int kExitUsage = 2;
constexpr int kMostRanks = 1 << 20;
constexpr double kGiga = 1e9;

struct Arguments {
  std::string config;
  std::vector<std::string> overrides;
  std::string device;
  std::string devices = "configs/devices.yaml";
  int world_size = 1;
  int nodes = 1;
  bool calibrate = false;
  trainer::Device cpu;  // as given by options, in units of 10^9
};

// "torch_dtype" of the model or, as newer files have it, "dtype".
std::string weight_dtype(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "config.json";
  const nlohmann::json json = data::read_json_file(path);
  for (const char* key : {"torch_dtype", "dtype"}) {
    if (!json.contains(key)) continue;
    for (const char* known : {"float32", "float16", "bfloat16"}) {
      if (json[key] == known) return known;
    }
    fail("{}: {} is {}, expected float32, float16 or bfloat16", path.string(), key,
         data::shown_json(json[key]));
  }
  fail("{}: no torch_dtype in it, which says how large a weight is", path.string());
}

// As spq-train chooses compute.dtype on this device.
trainer::ElementSizes element_sizes(const trainer::Config& config, const std::string& weights,
                                    const trainer::Device& device) {
  const int64_t storage = weights == "float32" ? 4 : 2;
  const bool bf16_is_fast = device.bf16_rate > device.fp32_rate;
  const bool bf16 = config.compute.dtype == trainer::ComputeDtype::kAuto
                        ? weights == "bfloat16" && bf16_is_fast
                        : config.compute.dtype == trainer::ComputeDtype::kBf16;
  return {storage, bf16 ? 2 : 4};
}

trainer::Device cpu_device(const Arguments& arguments, const trainer::Config& config,
                           const data::LlamaConfig& model) {
  const int local = arguments.world_size / arguments.nodes;
  trainer::Device cpu;
  cpu.name = "cpu";
  cpu.source = "options";
  if (arguments.calibrate) {
    const int share = std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / local);
    const int threads = config.compute.threads > 0 ? static_cast<int>(config.compute.threads) : share;
    cpu = trainer::measure_cpu(model, config.batch, threads);
  }
  const auto take = [](double& field, double given) {
    if (given > 0) field = given * kGiga;
  };
  const trainer::Device& given = arguments.cpu;
  take(cpu.bf16_rate, given.bf16_rate);
  take(cpu.fp32_rate, given.fp32_rate);
  take(cpu.bf16_passes, given.bf16_passes);
  take(cpu.fp32_passes, given.bf16_passes);
  take(cpu.link_rate, given.bf16_passes / 2);
  take(cpu.memory, given.memory);
  if (cpu.bf16_attention == 0) cpu.bf16_attention = cpu.bf16_rate / 2;
  if (cpu.fp32_attention == 0) cpu.fp32_attention = cpu.fp32_rate / 2;
  cpu.network_rate = given.network_rate * kGiga / local;
  if (cpu.memory == 0) cpu.memory = static_cast<double>(trainer::available_memory());
  check(cpu.bf16_rate > 0 && cpu.fp32_rate > 0 && cpu.fp32_passes > 0,
        "--device cpu: its rates are not known: measure them here with --calibrate, or give --bf16-gflops, "
        "--fp32-gflops and --memory-gb-s");
  check(cpu.memory > 0, "--device cpu: the memory of this host is not known: give --memory-gb");
  check(arguments.nodes == 1 || cpu.network_rate > 0,
        "--device cpu: {} hosts, but the network between them is not known: give --network-gb-s",
        arguments.nodes);
  return cpu;
}

int run(const Arguments& arguments) {
  check(arguments.world_size % arguments.nodes == 0,
        "--world-size {} on --nodes {}: expected equally many ranks on each", arguments.world_size,
        arguments.nodes);
  const trainer::Config config = trainer::load_config(arguments.config, arguments.overrides);
  trainer::validate(config);
  const bool is_cpu = arguments.device == "cpu";
  trainer::Device device;
  if (!is_cpu) device = trainer::read_device(arguments.devices, arguments.device);
  const data::LlamaConfig model = data::read_llama_config(config.model);
  const std::string weights = weight_dtype(config.model);
  model::check_groups(config.quant, model);
  check(config.batch.sequence_length <= model.max_position,
        "batch.sequence_length is {}, but the model has positions for {}", config.batch.sequence_length,
        model.max_position);
  if (is_cpu) device = cpu_device(arguments, config, model);
  const trainer::RunPlan plan =
      trainer::plan_run(arguments.config, model, config, element_sizes(config, weights, device),
                        arguments.world_size, arguments.nodes, device);
  std::fputs(trainer::plan_report(plan).c_str(), stdout);
  return plan.fits() ? 0 : kExitError;
}

void add_options(CLI::App& app, Arguments& a) {
  app.add_option("config", a.config, "YAML configuration of spq-train (docs/configuration.md)")->required();
  app.add_option("--set", a.overrides, "Override one key: --set key=value")->allow_extra_args(false);
  app.add_option("--world-size", a.world_size, "Number of ranks")->check(CLI::Range(1, kMostRanks));
  app.add_option("--nodes", a.nodes, "Hosts, with equally many ranks each")->check(CLI::Range(1, kMostRanks));
  app.add_option("--device", a.device, "A device of the table, or cpu")->required();
  app.add_option("--devices", a.devices, "Table of devices")->capture_default_str();
  app.add_flag("--calibrate", a.calibrate,
               "cpu: measure matrix products, attention and passes over memory here");
  const auto positive = CLI::PositiveNumber;
  app.add_option("--bf16-gflops", a.cpu.bf16_rate, "cpu: bf16 products of one rank")->check(positive);
  app.add_option("--fp32-gflops", a.cpu.fp32_rate, "cpu: fp32 products of one rank")->check(positive);
  app.add_option("--memory-gb-s", a.cpu.bf16_passes, "cpu: reads and writes of one rank")->check(positive);
  app.add_option("--network-gb-s", a.cpu.network_rate, "cpu: into one host")->check(positive);
  app.add_option("--memory-gb", a.cpu.memory, "cpu: memory of a host; else what is available here")
      ->check(positive);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "Predicts memory and time of a run of spq-train. Reads the model's config.json, no weights.\n"
      "Exit status: 0 it fits, 1 it does not or an error, 2 a wrong command line.",
      "spq-plan");
  add_options(app, arguments);
  app.set_version_flag("--version", std::string("spq-plan ") + SPQ_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  try {
    return run(arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "spq-plan: error: %s\n", error.what());
    return kExitError;
  }
}
