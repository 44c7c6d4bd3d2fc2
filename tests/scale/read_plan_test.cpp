// What each rank reads of a model with the layers and rows of LLaMA-3-70B, in rows of 64 numbers: holes on
// disk.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "model/sharded_load.h"
#include "tests/scale/recorded_files.h"

namespace spq::model {
namespace {

using test::RecordedRead;

const std::filesystem::path kModel = SPQ_SCALE_MODEL;
constexpr int64_t kWidth = 64, kTrueWidth = 8192;

int64_t bytes_of(const data::ModelFiles& files, const RecordedRead& read) {
  const std::vector<int64_t> shape = files.shape(read.name);
  const int64_t other = shape.size() == 1 ? 1 : shape.at(read.columns ? 0 : 1);
  return (read.end - read.begin) * other * 2;
}

struct Reading {
  std::map<std::string, std::vector<RecordedRead>> matrices;  // of all ranks
  std::vector<int64_t> matrix_bytes, norm_bytes;              // by rank
};

Reading read_as_ranks(const data::ModelFiles& files, const data::LlamaConfig& config, int world_size) {
  Reading reading;
  for (int rank = 0; rank < world_size; ++rank) {
    test::take_reads();
    load_shard(files, config, rank, world_size);
    int64_t& matrices = reading.matrix_bytes.emplace_back();
    int64_t& norms = reading.norm_bytes.emplace_back();
    for (const RecordedRead& read : test::take_reads()) {
      const bool is_matrix = files.shape(read.name).size() == 2;
      (is_matrix ? matrices : norms) += bytes_of(files, read);
      if (is_matrix) reading.matrices[read.name].push_back(read);
    }
  }
  return reading;
}

// The parts, put in order, follow one another from the first row (or column) to the last.
void expect_covered_once(const data::ModelFiles& files, const std::string& name,
                         std::vector<RecordedRead> reads) {
  std::sort(reads.begin(), reads.end(), [](const RecordedRead& a, const RecordedRead& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  int64_t covered = 0;
  for (const RecordedRead& read : reads) {
    ASSERT_EQ(read.columns, reads[0].columns) << name;
    ASSERT_EQ(read.begin, covered) << name;
    covered = read.end;
  }
  EXPECT_EQ(covered, files.shape(name).at(reads[0].columns ? 1 : 0)) << name;
}

class ReadPlan : public testing::TestWithParam<int> {
 protected:
  data::ModelFiles files_{kModel};
  data::LlamaConfig config_ = data::read_llama_config(kModel);
};

TEST_P(ReadPlan, RanksTogetherReadEveryByteOfEveryMatrixOnce) {
  ASSERT_EQ(config_.num_layers, 80);
  const Reading reading = read_as_ranks(files_, config_, GetParam());
  size_t matrices = 0;
  for (const std::string& name : files_.names()) {
    if (files_.shape(name).size() != 2) continue;
    ++matrices;
    ASSERT_TRUE(reading.matrices.contains(name)) << "nobody reads " << name;
    expect_covered_once(files_, name, reading.matrices.at(name));
  }
  EXPECT_EQ(matrices, 80u * 7 + 2);
}

TEST_P(ReadPlan, NoRankReadsMoreThanItsShare) {
  const int world_size = GetParam();
  const Reading reading = read_as_ranks(files_, config_, world_size);
  int64_t whole = 0;
  for (const std::string& name : files_.names()) {
    const std::vector<int64_t> shape = files_.shape(name);
    if (shape.size() == 2) whole += 2 * shape[0] * shape[1];
  }
  EXPECT_GT(whole / kWidth * kTrueWidth, int64_t{141'000'000'000}) << "the true model's bytes";
  for (size_t rank = 0; rank < reading.matrix_bytes.size(); ++rank) {
    // Where rows do not divide evenly, the first ranks have one more of each matrix.
    EXPECT_LE(reading.matrix_bytes[rank], whole / world_size + 562 * kWidth * 2) << rank;
    EXPECT_EQ(reading.norm_bytes[rank], (2 * 80 + 1) * kWidth * 2) << "norms are every rank's";
  }
}

INSTANTIATE_TEST_SUITE_P(WorldSize, ReadPlan, testing::Values(1, 2, 3, 8, 64),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace spq::model
