// The time plan against arithmetic done by hand, and the table of devices.
#include "trainer/time_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/trainer/config_test_tools.h"
#include "tests/trainer/plan_models.h"
#include "trainer/plan_report.h"

namespace spq::trainer {
namespace {

using testing::HasSubstr;

RunPlan plan_70b(int ranks, int nodes, const Config& config = test::recipe(),
                 const Device& device = read_device(test::device_table(), "h100-80gb")) {
  return plan_run("a.yaml", test::llama3(true), config, {2, 2}, ranks, nodes, device);
}

Config with(Activations activations) {
  Config config = test::recipe();
  config.compute.activations = activations;
  return config;
}

// 2 FLOP per weight and token, forward and for the input gradient; R1 entered and left at two points, and two
// moments: 12 d^2; logits and their gradient.
TEST(TimePlan, Llama70bOnEightRanksDoesTheWorkThatArithmeticSays) {
  const double tokens = 2048, d = 8192, layers = 80;
  const double weights = d * (2 * 8192 + 2 * 1024 + 3 * 28672);
  const double projections = 4 * layers * weights * tokens, r1 = 12 * d * d * layers * tokens;
  EXPECT_NEAR((projections + r1) / 1e12, 692, 1);
  const TimePlan time = plan_70b(8, 1, with(Activations::kRecompute)).time;
  EXPECT_NEAR(time.product_flops, projections + r1 + 4 * d * 128256 * tokens, 0.01 * time.product_flops);
  const double skipped = 2 * d * 28672;  // the last product of a recomputed layer
  EXPECT_NEAR(time.recompute_flops, layers * tokens * (2 * weights + 8 * d * d - skipped),
              0.01 * time.recompute_flops);
  EXPECT_EQ(plan_70b(8, 1, with(Activations::kKeep)).time.recompute_flops, 0);
}

// 79 layers and the head on the way up, 79 layers down, of which seven eighths come from others.
TEST(TimePlan, AWalkReceivesEachLayerTwiceButTheOuterOnes) {
  const double layer = 8192.0 * (2 * 8192 + 2 * 1024 + 3 * 28672) * 2, head = 128256.0 * 8192 * 2;
  EXPECT_NEAR(plan_70b(8, 1).time.gathered_bytes, (158 * layer + head) * 7 / 8, 1e6);
  EXPECT_EQ(plan_70b(1, 1).time.gathered_bytes, 0);
}

TEST(TimePlan, GathersHideBehindComputeUntilTheLinkIsTooSlow) {
  Device device = read_device(test::device_table(), "h100-80gb");
  const TimePlan fast = plan_70b(8, 1, test::recipe(), device).time;
  EXPECT_EQ(fast.exposed_gathers, 0);
  EXPECT_GT(fast.gathers, 0);
  device.link_rate /= 50;
  const TimePlan slow = plan_70b(8, 1, test::recipe(), device).time;
  EXPECT_NEAR(slow.gathers, 50 * fast.gathers, 1e-6 * slow.gathers);
  EXPECT_GT(slow.exposed_gathers, slow.gathers - slow.compute());
  EXPECT_LT(slow.exposed_gathers, slow.gathers);
  EXPECT_STREQ(slow.bound(), "gathering weights");
}

TEST(TimePlan, EachByteEntersAHostOnce) {
  Device device = read_device(test::device_table(), "h100-80gb");
  device.link_rate = 1e30;
  const double two_hosts = plan_70b(16, 2, test::recipe(), device).time.gathers;
  const double eight_hosts = plan_70b(64, 8, test::recipe(), device).time.gathers;
  EXPECT_NEAR(eight_hosts / two_hosts, (7.0 / 8) / (1.0 / 2), 1e-9);
}

TEST(TimePlan, RanksBeyondTheSequencesSaveNothing) {
  EXPECT_EQ(plan_70b(64, 8).time.tokens, plan_70b(8, 1).time.tokens);
  EXPECT_EQ(plan_70b(4, 1).time.tokens, 2 * plan_70b(8, 1).time.tokens);
  EXPECT_THAT(plan_report(plan_70b(64, 8)), HasSubstr("56 rank(s) hold weights but compute nothing"));
}

TEST(PlanReport, SaysWhetherItFitsAndWhatWouldMakeIt) {
  const RunPlan large = plan_70b(8, 1), small = plan_70b(1, 1);
  EXPECT_TRUE(large.fits());
  EXPECT_THAT(plan_report(large), HasSubstr(": fits"));
  EXPECT_FALSE(small.fits());
  EXPECT_THAT(plan_report(small), HasSubstr("does NOT fit"));
  EXPECT_THAT(plan_report(small), HasSubstr("it fits with 4 ranks"));
}

TEST(Devices, TheShippedTableIsCompleteAndSaysWhereItsNumbersAreFrom) {
  for (const char* name : {"a100-40gb", "a100-80gb", "h100-80gb", "h200-141gb", "b200-180gb"}) {
    const Device device = read_device(test::device_table(), name);
    EXPECT_TRUE(device.is_gpu);
    EXPECT_THAT(device.source, HasSubstr("NVIDIA")) << name;
    EXPECT_GT(device.bf16_rate, device.fp32_rate) << name;
    EXPECT_EQ(device.reserved, static_cast<double>(kGpuReserve)) << "spq-train assumes the same";
  }
}

TEST(Devices, UnknownNameIsAnErrorWithTheNearestOne) {
  const std::string error = error_of([] { read_device(test::device_table(), "h100-80g"); });
  EXPECT_THAT(error, HasSubstr("no device 'h100-80g'; did you mean h100-80gb?"));
  EXPECT_THAT(error, HasSubstr("known: cpu, a100-40gb"));
}

TEST(Devices, DamagedTablesAreErrorsThatNameTheFileAndTheKey) {
  const TemporaryFolder folder;
  const std::string table = read_text(test::device_table());
  const auto error_with = [&](const std::string& from, const std::string& to) {
    std::string text = table;
    text.replace(text.find(from), from.size(), to);
    const auto path = folder.write("table.yaml", text);
    return error_of([&] { read_device(path, "h100-80gb"); });
  };
  EXPECT_THAT(error_with("  memory_gb_s: 3350", "  # gone"), HasSubstr("h100-80gb.memory_gb_s is missing"));
  EXPECT_THAT(error_with("  memory_gb_s: 3350", "  memory_gbs: 3350"), HasSubstr("unknown key"));
  EXPECT_THAT(error_with("bf16_tflops: 312", "bf16_tflops: fast"), HasSubstr("is 'fast'"));
  EXPECT_THAT(error_with("matmul_fraction: 0.6", "matmul_fraction: 1.6"), HasSubstr("above 0, at most 1"));
  EXPECT_THAT(error_of([&] { read_device(folder.path() / "none.yaml", "h100-80gb"); }),
              HasSubstr("none.yaml: cannot open"));
}

}  // namespace
}  // namespace spq::trainer
