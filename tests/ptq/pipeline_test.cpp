// The whole stage on the embedded model and on fixtures: what is written, evaluated and refused.
#include "ptq/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ATen/Parallel.h>
#include <ATen/ops/zeros_like.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <sstream>

#include "core/error.h"
#include "data/model_files.h"
#include "data/rotation_file.h"
#include "data/token_windows.h"
#include "data/transform_manifest.h"
#include "dist/single_communicator.h"
#include "dist/thread_communicator.h"
#include "ptq/evaluate.h"
#include "tests/data/support.h"
#include "tests/support/golden.h"

namespace spq::ptq {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Pipeline : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() / (std::string("spq-pipeline-") + test->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override {
    fs::remove_all(folder_);
    at::set_num_threads(threads_);
  }

  // 4-bit everything behind random Hadamard rotations, a little calibration, part of the held-out text.
  PtqConfig config(const std::string& name, Method method) const {
    const fs::path tiny = fs::path(SPQ_SOURCE_DIR) / "data/tiny-llama";
    PtqConfig c;
    c.model = tiny.string();
    c.output_dir = (folder_ / name).string();
    c.rotate.r1 = c.rotate.r2 = model::RotationSource::kHadamard;
    c.rotate.seed = 1;
    c.weights.method = method;
    c.quant.activation.bits = c.quant.key.bits = c.quant.value.bits = 4;
    c.calibration.tokens = (tiny / "tokens-train.h5").string();
    c.calibration.samples = 8;
    c.calibration.sequence_length = 128;
    c.eval.tokens = (tiny / "tokens-heldout.h5").string();
    c.eval.sequence_length = 128;
    c.eval.sequences = 24;
    c.eval.micro_batch = 8;
    return c;
  }
  double run(const PtqConfig& c) { return run_ptq(single_, c, nullptr).value(); }
  std::string complaint(const PtqConfig& c) {
    try {
      run(c);
    } catch (const AgreedError& error) {
      return error.what();
    }
    return "";
  }

  const int threads_ = at::get_num_threads();
  dist::SingleCommunicator single_;
  fs::path folder_;
};

TEST_F(Pipeline, MethodsRankAsInThePapers) {
  PtqConfig none = config("none", Method::kNone);
  const double sixteen = run(none), rtn = run(config("rtn", Method::kRtn)),
               gptq = run(config("gptq", Method::kGptq)), gptaq = run(config("gptaq", Method::kGptaq));
  EXPECT_LT(sixteen, rtn);
  EXPECT_LT(gptq, rtn);
  EXPECT_LT(gptaq, rtn);
  PtqConfig plain = config("plain", Method::kRtn);
  plain.rotate = RotateConfig();
  plain.rotate.r4_hadamard = plain.rotate.r3_hadamard = false;
  EXPECT_GT(run(plain), 1.5 * rtn) << "without rotation";
}

TEST_F(Pipeline, RanksShareTheWorkAndGiveTheSameModel) {
  for (Method method : {Method::kRtn, Method::kGptaq}) {
    const double alone = run(config("alone", method));
    double together = 0;
    dist::run_ranks(3, [&](dist::Communicator& comm) {
      const double perplexity = run_ptq(comm, config("together", method), nullptr).value();
      if (comm.rank() == 0) together = perplexity;
    });
    // Summation order of the moments moves a code here and there; RTN looks at no moments.
    EXPECT_NEAR(together, alone, method == Method::kRtn ? 1e-4 * alone : 1e-2 * alone);
    fs::remove_all(folder_ / "alone");
    fs::remove_all(folder_ / "together");
  }
}

TEST_F(Pipeline, TransformThenQuantizeInTwoStepsIsTheSameAsInOne) {
  const double one = run(config("one", Method::kRtn));
  PtqConfig first = config("transformed", Method::kNone);
  run(first);
  PtqConfig second = config("two", Method::kRtn);
  second.model = first.output_dir;
  second.rotate = RotateConfig();  // identity: the rotations are in the weights
  EXPECT_NEAR(run(second), one, 1e-6 * one);
  const auto manifest = data::read_manifest(second.output_dir);
  ASSERT_TRUE(manifest.has_value());
  EXPECT_TRUE(manifest->r1_sha256 && manifest->r4 && manifest->weights);
}

TEST_F(Pipeline, RefusesToRotateTwiceToChangeR4AndToQuantizeTwice) {
  PtqConfig first = config("transformed", Method::kNone);
  run(first);
  PtqConfig again = config("again", Method::kRtn);
  again.model = first.output_dir;
  EXPECT_THAT(complaint(again), HasSubstr("cannot be rotated twice"));
  again.rotate = RotateConfig();
  again.rotate.r4_hadamard = false;
  EXPECT_THAT(complaint(again), HasSubstr("the online transform must be the same in both steps"));
  again.rotate.r4_hadamard = true;
  run(again);
  PtqConfig third = config("third", Method::kRtn);
  third.model = again.output_dir;
  third.rotate = RotateConfig();
  EXPECT_THAT(complaint(third), HasSubstr("already quantized"));
}

TEST_F(Pipeline, ManifestNamesOnlyTheRotationThatWasMerged) {
  PtqConfig c = config("r1", Method::kNone);
  c.rotate.r2 = model::RotationSource::kIdentity;
  run(c);
  const auto manifest = data::read_manifest(c.output_dir);
  ASSERT_TRUE(manifest.has_value());
  EXPECT_TRUE(manifest->r1_sha256.has_value());
  EXPECT_FALSE(manifest->r2_sha256.has_value());
  EXPECT_TRUE(fs::exists(fs::path(c.output_dir) / "R.bin"));
}

// Runs until `layers` layers are written, as a killed process leaves it: nothing is cleaned up.
void run_and_die(const PtqConfig& c, int layers) {
  const pid_t child = fork();
  if (child == 0) {
    class DyingBuffer : public std::stringbuf {
     public:
      explicit DyingBuffer(int lines) : left_(lines) {}
      std::streamsize xsputn(const char* text, std::streamsize size) override {
        if (std::string_view(text, static_cast<size_t>(size)).starts_with("layer ") && --left_ == 0) {
          kill(getpid(), SIGKILL);
        }
        return size;
      }

     private:
      int left_;
    };
    DyingBuffer buffer(layers);
    std::ostream out(&buffer);
    dist::SingleCommunicator comm;
    run_ptq(comm, c, &out);
    _exit(1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
}

void expect_same_files(const fs::path& a, const fs::path& b) {
  int64_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(a)) {
    if (entry.path().extension() != ".safetensors") continue;
    const fs::path other = b / fs::relative(entry.path(), a);
    ASSERT_TRUE(fs::exists(other)) << other;
    EXPECT_TRUE(data::read_text(entry.path()) == data::read_text(other)) << other;
    ++files;
  }
  EXPECT_GT(files, 0);
}

TEST_F(Pipeline, GoesOnWhereItWasKilledAndGivesTheSameBits) {
  at::set_num_threads(1);  // a forked process has no others, and their number changes sums
  for (Method method : {Method::kRtn, Method::kGptq, Method::kGptaq}) {
    PtqConfig whole = config("whole", method), killed = config("killed", method);
    for (PtqConfig* c : {&whole, &killed}) {
      c->calibration.quantize_activations = true;
      c->eval.tokens.clear();
    }
    run_ptq(single_, whole, nullptr);
    run_and_die(killed, 2);
    EXPECT_FALSE(fs::exists(fs::path(killed.output_dir) / "config.json"));
    std::ostringstream out;
    run_ptq(single_, killed, &out);
    EXPECT_THAT(out.str(), HasSubstr("layers are in " + killed.output_dir + " already"));
    EXPECT_THAT(out.str(), Not(HasSubstr("layer 1/")));
    expect_same_files(whole.output_dir, killed.output_dir);
    fs::remove_all(folder_ / "whole");
    fs::remove_all(folder_ / "killed");
  }
}

TEST_F(Pipeline, DoesNotGoOnWithOtherRotationsOrBits) {
  at::set_num_threads(1);
  PtqConfig c = config("killed", Method::kRtn);
  run_and_die(c, 1);
  c.rotate.seed = 2;
  EXPECT_THAT(complaint(c), HasSubstr("'rotate.seed: 1' there, 'rotate.seed: 2' now"));
  c.rotate.seed = 1;
  c.weights.bits = 3;
  EXPECT_THAT(complaint(c), HasSubstr("'weights.bits: 4' there, 'weights.bits: 3' now"));
}

TEST_F(Pipeline, SavedIntegersStandForTheSavedWeights) {
  struct Case {
    const char* name;
    Method method;
    bool symmetric, act_order;
    int64_t group_size;
  };
  for (const Case& k :
       {Case{"rtn", Method::kRtn, false, false, 32}, Case{"gptq", Method::kGptq, true, true, 32},
        Case{"gptaq", Method::kGptaq, false, true, -1}}) {
    PtqConfig c = config(k.name, k.method);
    c.eval.tokens.clear();
    c.weights.symmetric = k.symmetric;
    c.weights.group_size = k.group_size;
    c.weights.down_bits = 8;
    c.weights.o_bits = 16;
    c.gptq.act_order = k.act_order;
    run_ptq(single_, c, nullptr);
    const data::ModelFiles model(c.output_dir);
    const test::TensorMap integers =
        test::read_tensors(fs::path(c.output_dir) / "integers/layer-00002.safetensors");
    for (const char* projection : {"self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj", "mlp.down_proj"}) {
      const std::string name = std::string("model.layers.1.") + projection + ".";
      const at::Tensor codes = integers.at(name + "codes"), scale = integers.at(name + "scale");
      const at::Tensor zero =
          k.symmetric ? at::zeros_like(scale, at::kFloat) : integers.at(name + "zero").to(at::kFloat);
      const auto index = integers.find(name + "group_index");
      EXPECT_EQ(index != integers.end(), k.act_order && k.group_size > 0) << name;
      const at::Tensor weight = dequantize(
          {codes, scale, zero}, index == integers.end() ? at::Tensor() : index->second.to(at::kLong),
          scale.scalar_type());
      EXPECT_TRUE(weight.equal(model.read(name + "weight"))) << k.name << " " << name;
    }
    EXPECT_FALSE(integers.contains("model.layers.1.self_attn.o_proj.codes"));
    const auto manifest = data::read_manifest(c.output_dir);
    EXPECT_EQ(manifest->weights->other_bits,
              (std::map<std::string, int64_t>{{"down_proj", 8}, {"o_proj", 16}}));
    EXPECT_TRUE(manifest->weights->integers);
  }
}

TEST_F(Pipeline, SavesItsRotationInBothFormats) {
  const PtqConfig c = config("none", Method::kNone);
  run(c);
  const data::LlamaConfig model = data::read_llama_config(c.output_dir);
  const auto read = [&](const char* name) {
    return data::read_rotations(fs::path(c.output_dir) / name, model.hidden_size, model.num_layers,
                                model.head_dim);
  };
  const data::Rotations a = read("rotation.h5"), b = read("R.bin");
  EXPECT_TRUE(a.r1.equal(b.r1) && a.r2.back().equal(b.r2.back()));
  PtqConfig again = config("again", Method::kNone);
  again.rotate.r1 = again.rotate.r2 = model::RotationSource::kFile;
  again.rotate.file = (fs::path(c.output_dir) / "rotation.h5").string();
  run(again);
  expect_same_files(c.output_dir, again.output_dir);
}

TEST_F(Pipeline, RefusesGroupSizesBeforeWriting) {
  PtqConfig c = config("groups", Method::kRtn);
  c.weights.group_size = 48;
  EXPECT_THAT(complaint(c), HasSubstr("weights.group_size and hidden_size"));
  EXPECT_FALSE(fs::exists(c.output_dir));
}

TEST_F(Pipeline, RefusesAnOutputFolderThatHoldsSomethingElse) {
  const PtqConfig c = config("rtn", Method::kRtn);
  run(c);
  EXPECT_THAT(complaint(c), HasSubstr(c.output_dir));
}

TEST_F(Pipeline, EvaluationWantsTheOnlineTransformThatIsFoldedIn) {
  const PtqConfig c = config("rtn", Method::kRtn);
  const double perplexity = run(c);
  const auto tokens = data::open_token_windows(c.eval.tokens, 128, "eval.sequence_length",
                                               data::read_llama_config(c.output_dir), c.output_dir);
  EXPECT_DOUBLE_EQ(
      evaluate_model(single_, c.output_dir, *tokens, {128, 24, 8}, c.quant, {true, true}, at::kFloat),
      perplexity);
  EXPECT_THROW(
      evaluate_model(single_, c.output_dir, *tokens, {128, 24, 8}, c.quant, {true, false}, at::kFloat),
      AgreedError);
}

TEST_F(Pipeline, Bf16FollowsFp32) {
  PtqConfig wide = config("wide", Method::kGptq), narrow = config("narrow", Method::kGptq);
  narrow.compute.fp32 = false;
  const double a = run(wide), b = run(narrow);
  EXPECT_NEAR(b, a, 0.05 * a);
}

}  // namespace
}  // namespace spq::ptq
