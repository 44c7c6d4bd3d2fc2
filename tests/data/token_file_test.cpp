#include "data/token_file.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "support.h"
#include "token_writer.h"

namespace spq::data {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class TokenFileTest : public ::testing::Test {
 protected:
  TokenFileTest() {
    recipe_.tokens.resize(50);
    std::iota(recipe_.tokens.begin(), recipe_.tokens.end(), 10u);  // ids 10 to 59
  }
  void write() const { write_token_file(path_, recipe_); }
  std::string opening_error() const {
    return error_of([&] { const TokenFile file(path_); });
  }
  static at::Tensor ids(int64_t begin, int64_t count) {
    return at::arange(begin + 10, begin + 10 + count, at::TensorOptions(at::kLong));
  }
  const TempDir folder_;
  const std::filesystem::path path_ = folder_.path() / "tokens.h5";
  TokenFileRecipe recipe_;
};

TEST_F(TokenFileTest, ReadsAnyWindow) {
  for (const bool fixed : {false, true}) {
    recipe_.fixed_strings = fixed;
    recipe_.gzip = fixed;
    write();
    const TokenFile file(path_);
    EXPECT_EQ(file.size(), 50);
    EXPECT_EQ(file.vocab_size(), 100);
    EXPECT_EQ(file.tokenizer_sha256(), std::string(64, 'c'));
    EXPECT_EQ(file.path(), path_);
    for (const auto& [begin, count] : {std::pair(0, 50), {0, 1}, {7, 2}, {8, 8}, {49, 1}, {50, 0}, {3, 0}}) {
      EXPECT_TRUE(at::equal(file.read(begin, count, 60), ids(begin, count))) << begin;
    }
  }
}

TEST_F(TokenFileTest, RefusesARangeOutsideTheFile) {
  write();
  const TokenFile file(path_);
  for (const auto& [begin, count] : {std::pair<int64_t, int64_t>(-1, 2),
                                     {49, 2},
                                     {51, 0},
                                     {0, -1},
                                     {50, INT64_MAX},
                                     {INT64_MAX, INT64_MAX}}) {
    EXPECT_THAT(error_of([&, b = begin, c = count] { file.read(b, c, 100); }),
                HasSubstr("the file holds 50"));
  }
}

TEST_F(TokenFileTest, NamesTheTokenOutsideTheVocabulary) {
  write();
  const TokenFile file(path_);
  EXPECT_EQ(error_of([&] { file.read(5, 20, 30); }),
            path_.string() + ": token 20 has id 30, outside the vocabulary of 30");
}

TEST_F(TokenFileTest, NamesTheDamagedWindowAndReadsTheOthers) {
  recipe_.gzip = false;
  write();
  const std::string bytes = read_text(path_);
  const uint32_t token = recipe_.tokens[20];  // in the third chunk
  const std::string needle(reinterpret_cast<const char*>(&token), sizeof(token));
  const std::string chunk_bytes(reinterpret_cast<const char*>(&recipe_.tokens[16]),
                                kTestChunk * sizeof(token));
  const size_t chunk = bytes.find(chunk_bytes);
  ASSERT_NE(chunk, std::string::npos);
  flip_byte(path_, chunk + chunk_bytes.find(needle), 0x01);
  const TokenFile file(path_);
  EXPECT_TRUE(at::equal(file.read(0, 16, 100), ids(0, 16)));
  EXPECT_TRUE(at::equal(file.read(24, 26, 100), ids(24, 26)));
  EXPECT_EQ(error_of([&] { file.read(15, 4, 100); }),
            path_.string() + ": damaged: tokens 15 to 19 cannot be read");
}

TEST_F(TokenFileTest, RefusesAMissingChunk) {
  recipe_.leave_last_chunk = true;
  write();
  EXPECT_THAT(opening_error(), HasSubstr("damaged: 6 chunks of tokens, expected 7"));
}

TEST_F(TokenFileTest, RefusesAnotherVersion) {
  recipe_.version = 2;
  write();
  EXPECT_EQ(opening_error(), path_.string() + ": token file version 2, this program reads 1");
}

TEST_F(TokenFileTest, RefusesAnotherFormat) {
  recipe_.format = "spq-checkpoint";
  write();
  EXPECT_THAT(opening_error(), HasSubstr("'format' is 'spq-checkpoint', expected 'spq-tokens'"));
}

TEST_F(TokenFileTest, NamesWhatIsMissing) {
  for (const char* name :
       {"format", "version", "tokenizer_sha256", "vocab_size", "source", "layout", "bos"}) {
    recipe_.left_out = name;
    write();
    EXPECT_THAT(opening_error(), StartsWith(path_.string() + ": no attribute '" + name + "'"));
  }
  recipe_.left_out = "tokens";
  write();
  EXPECT_THAT(opening_error(), HasSubstr("no dataset 'tokens'"));
}

TEST_F(TokenFileTest, RefusesTokensItCannotTrust) {
  recipe_.fletcher32 = false;
  write();
  EXPECT_THAT(opening_error(), HasSubstr("with Fletcher32 checksums"));
  recipe_.fletcher32 = true;
  recipe_.signed_tokens = true;
  write();
  EXPECT_THAT(opening_error(), HasSubstr("expected uint32"));
  recipe_.signed_tokens = false;
  recipe_.vocab_size = 0;
  write();
  EXPECT_THAT(opening_error(), HasSubstr("'vocab_size' is 0"));
  recipe_.vocab_size = 100;
  recipe_.tokens.clear();
  write();
  EXPECT_THAT(opening_error(), HasSubstr("dataset 'tokens' is empty"));
}

TEST_F(TokenFileTest, RefusesWhatIsNotHdf5) {
  EXPECT_EQ(opening_error(), path_.string() + ": no such file");
  write_text(path_, "text, not tokens");
  EXPECT_THAT(opening_error(), HasSubstr("cannot be read as HDF5"));
  write();
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) / 2);
  EXPECT_THAT(opening_error(), HasSubstr("cannot be read as HDF5"));
  EXPECT_THAT(error_of([&] { const TokenFile file(folder_.path()); }), HasSubstr("not a regular file"));
}

TEST(PythonTokenFile, IsRead) {
  const TokenFile file(source_folder() / "python_tokens.h5");
  EXPECT_EQ(file.size(), 1000);
  EXPECT_EQ(file.vocab_size(), 300);
  EXPECT_EQ(file.tokenizer_sha256(), std::string(64, '0'));
  const at::Tensor expected = at::arange(1000, at::TensorOptions(at::kLong)).mul(7).remainder(300);
  EXPECT_TRUE(at::equal(file.read(0, 1000, 300), expected));
}

}  // namespace
}  // namespace spq::data
