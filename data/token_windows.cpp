#include "data/token_windows.h"

#include "core/error.h"

namespace spq::data {

std::unique_ptr<TokenFile> open_token_windows(const std::filesystem::path& path, int64_t length,
                                              const char* length_key, const LlamaConfig& config,
                                              const std::filesystem::path& model_dir) {
  auto tokens = std::make_unique<TokenFile>(path);
  check(tokens->vocab_size() <= config.vocab_size,
        "{}: written with a tokenizer of {} tokens, but the model {} has a vocabulary of {}: make the tokens "
        "with the model's own tokenizer.json (tools/tokenize.py)",
        path.string(), tokens->vocab_size(), model_dir.string(), config.vocab_size);
  check(tokens->size() >= length, "{}: {} tokens are fewer than one window ({} is {})", path.string(),
        tokens->size(), length_key, length);
  check(length <= config.max_position,
        "{}: {} is {}, but the model {} has positions for {} (max_position_embeddings)", path.string(),
        length_key, length, model_dir.string(), config.max_position);
  return tokens;
}

}  // namespace spq::data
