#include "data/token_file.h"

#include <ATen/ops/empty.h>

#include <limits>
#include <vector>

#include "core/error.h"
#include "data/hdf5_dataset.h"
#include "data/shown_text.h"

namespace spq::data {
namespace {

constexpr const char* kFormat = "spq-tokens";
constexpr int64_t kVersion = 1;
constexpr int64_t kMaxChunk = int64_t{1} << 24;  // tokens; bounds what one read has to allocate

/// The format and version, before anything else is believed.
void check_kind(const AttributeMap& attributes, const std::string& place) {
  check(text_attribute(attributes, "format", place) == kFormat,
        "{}: attribute 'format' is '{}', expected '{}'", place,
        shown(text_attribute(attributes, "format", place)), kFormat);
  const int64_t version = int_attribute(attributes, "version", place);
  check(version == kVersion, "{}: token file version {}, this program reads {}", place, version, kVersion);
}

/// Number of tokens. A missing chunk would read as zeros, so all have to be there.
int64_t check_layout(const DatasetLayout& layout, const std::string& place) {
  check(layout.shape.size() == 1, "{}: dataset 'tokens' has {} dimensions, expected 1", place,
        layout.shape.size());
  check(layout.has_fletcher32 && layout.chunk.size() == 1 && layout.chunk[0] > 0 &&
            layout.chunk[0] <= kMaxChunk,
        "{}: dataset 'tokens' has to be in chunks of at most {} tokens with Fletcher32 checksums", place,
        kMaxChunk);
  const int64_t size = layout.shape[0];
  check(size > 0, "{}: dataset 'tokens' is empty", place);
  const int64_t chunks = size / layout.chunk[0] + (size % layout.chunk[0] != 0 ? 1 : 0);
  check(layout.stored_chunks == chunks, "{}: damaged: {} chunks of tokens, expected {}", place,
        layout.stored_chunks, chunks);
  return size;
}

}  // namespace

TokenFile::TokenFile(const std::filesystem::path& path)
    : path_(path), file_(std::make_unique<const Hdf5File>(path)) {
  const std::string place = path.string();
  const Hdf5Object root(*file_, file_->root_address(), place);
  const AttributeMap attributes = root.attributes();
  check_kind(attributes, place);
  vocab_size_ = int_attribute(attributes, "vocab_size", place);
  check(vocab_size_ > 0 && vocab_size_ <= std::numeric_limits<uint32_t>::max(),
        "{}: attribute 'vocab_size' is {}, expected a positive number", place, vocab_size_);
  tokenizer_sha256_ = text_attribute(attributes, "tokenizer_sha256", place);
  text_attribute(attributes, "source", place);
  text_attribute(attributes, "layout", place);
  int_attribute(attributes, "bos", place);
  tokens_ = std::make_unique<const Hdf5Dataset>(root, "tokens", ElementType::kUint32);
  size_ = check_layout(tokens_->layout(), place);
}

TokenFile::~TokenFile() = default;

at::Tensor TokenFile::read(int64_t begin, int64_t count, int64_t vocab_limit) const {
  check(begin >= 0 && count >= 0 && begin <= size_ && count <= size_ - begin,
        "{}: {} tokens from {} on are wanted, but the file holds {}", path_.string(), count, begin, size_);
  std::vector<uint32_t> ids(static_cast<size_t>(count));
  check(tokens_->read_rows(begin, count, ids.data()), "{}: damaged: tokens {} to {} cannot be read",
        path_.string(), begin, begin + count);
  at::Tensor tokens = at::empty({count}, at::TensorOptions(at::kLong));
  int64_t* to = tokens.mutable_data_ptr<int64_t>();
  for (int64_t i = 0; i < count; ++i) {
    to[i] = ids[static_cast<size_t>(i)];
    check(to[i] < vocab_limit, "{}: token {} has id {}, outside the vocabulary of {}", path_.string(),
          begin + i, to[i], vocab_limit);
  }
  return tokens;
}

}  // namespace spq::data
