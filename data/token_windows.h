// A token file opened for a model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "data/llama_config.h"
#include "data/token_file.h"

namespace spq::data {

/// Opens `path` to read windows of `length` tokens for the model in `model_dir`, whose config.json says
/// `config`. Error naming the file on what TokenFile refuses, a tokenizer larger than the model's vocabulary,
/// fewer tokens than one window, windows longer than the model's positions; `length_key` is the configuration
/// key that `length` comes from.
std::unique_ptr<TokenFile> open_token_windows(const std::filesystem::path& path, int64_t length,
                                              const char* length_key, const LlamaConfig& config,
                                              const std::filesystem::path& model_dir);

}  // namespace spq::data
