// What a run on a GPU checks and says before anything is computed there; none of it needs one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "data/checkpoint.h"
#include "dist/single_communicator.h"
#include "tests/trainer/config_test_tools.h"
#include "trainer/job.h"
#include "trainer/resume.h"
#include "trainer/rotation_setup.h"

namespace spq::trainer {
namespace {

using testing::HasSubstr;

constexpr int64_t kGiga = 1'000'000'000;

Config tiny_config() {
  const std::filesystem::path folder = std::filesystem::path(SPQ_SOURCE_DIR) / "data/tiny-llama";
  Config config = minimal_config();
  config.model = folder;
  config.data.train = folder / "tokens-train.h5";
  config.batch.sequence_length = 64;
  return config;
}

TEST(JobOnGpu, IsPlannedForItsGpuNotForTheHost) {
  const Job job = open_job(tiny_config(), 4, 4, /*fast_bf16=*/true, 80 * kGiga);
  EXPECT_EQ(job.memory.process, kGpuReserve);
  EXPECT_GT(job.memory.gathered, 0) << "ranks with a GPU each gather for themselves";
  EXPECT_EQ(job.memory.load, 0);
  EXPECT_TRUE(job.memory.keeps_activations);
}

TEST(JobOnGpu, ThatDoesNotFitIsRefusedWithTheSizesAndWhatWouldFit) {
  Config config = tiny_config();
  const int64_t needed = open_job(config, 1, 1, true, 80 * kGiga).memory.total();
  config.compute.activations = Activations::kKeep;
  EXPECT_NO_THROW(open_job(config, 1, 1, true, needed));
  const std::string error = error_of([&] { open_job(config, 1, 1, true, needed - 1); });
  EXPECT_THAT(error, HasSubstr("of its GPU's memory"));
  EXPECT_THAT(error, HasSubstr("it fits with compute.activations recompute"));
}

TEST(ResumeOnAnotherDevice, GoesOnAndSaysThatBitsWillDiffer) {
  const TemporaryFolder folder;
  Config config = tiny_config();
  config.output_dir = folder.path();
  const data::LlamaConfig model = data::read_llama_config(config.model);
  dist::SingleCommunicator comm;
  std::ostringstream fresh, same, other;
  TrainState state = start_state(comm, config, model, "fingerprint", at::kCPU, &fresh);
  EXPECT_EQ(fresh.str(), "");
  state.step = 3;
  std::filesystem::create_directories(checkpoint_folder(config));
  save_checkpoint(comm, config, state, "fingerprint");
  const std::filesystem::path path = data::checkpoint_path(checkpoint_folder(config), 3);

  start_state(comm, config, model, "fingerprint", at::kCPU, &same);
  EXPECT_THAT(same.str(), HasSubstr("resuming from"));
  EXPECT_THAT(same.str(), Not(HasSubstr("note")));

  data::Checkpoint checkpoint = data::read_checkpoint(path);
  EXPECT_EQ(checkpoint.versions.at("device"), "cpu");
  checkpoint.versions["device"] = "cuda";
  data::write_checkpoint(path, checkpoint);
  const TrainState found = start_state(comm, config, model, "fingerprint", at::kCPU, &other);
  EXPECT_THAT(other.str(),
              HasSubstr("computed on cuda and goes on on cpu: the run is continued, but not bit for bit"));
  EXPECT_EQ(found.step, 3);
  EXPECT_EQ(rotation_hash(found.rotations), rotation_hash(state.rotations));
}

}  // namespace
}  // namespace spq::trainer
