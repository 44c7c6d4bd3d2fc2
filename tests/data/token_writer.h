// Token files as tools/tokenize.py writes them, and spoilt ones.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace spq::data {

struct TokenFileRecipe {
  std::vector<uint32_t> tokens;
  int64_t vocab_size = 100;
  int64_t version = 1;
  std::string format = "spq-tokens";
  std::string left_out;        // name of an attribute that is not written
  bool fixed_strings = false;  // instead of variable-length ones
  bool gzip = true;
  bool fletcher32 = true;
  bool signed_tokens = false;     // int32 instead of uint32
  bool leave_last_chunk = false;  // unwritten
};

inline constexpr int64_t kTestChunk = 8;  // tokens per chunk

void write_token_file(const std::filesystem::path& path, const TokenFileRecipe& recipe);

}  // namespace spq::data
