#include "data/sealed_file.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/sha256.h"

namespace spq::data {
namespace {

constexpr std::string_view kMagic = "spq-checkpoint sha256 ";
constexpr size_t kReadPiece = size_t{64} << 10;

/// The whole user block for a given digest.
std::string seal_block(const std::string& digest) {
  std::string block = fmt::format("{}{}\n", kMagic, digest);
  block.resize(kSealSize, '\0');
  return block;
}

/// Digest of the rest of the stream.
std::string digest_of_rest(std::istream& stream) {
  std::vector<char> piece(kReadPiece);
  Sha256 hash;
  while (stream.read(piece.data(), static_cast<std::streamsize>(piece.size())) || stream.gcount() > 0) {
    hash.update(piece.data(), static_cast<size_t>(stream.gcount()));
  }
  return hash.finish();
}

}  // namespace

bool looks_sealed(std::string_view first_bytes) {
  return first_bytes.starts_with(kMagic);
}

void seal(std::string& content) {
  SPQ_ASSERT(content.size() > kSealSize);
  content.replace(0, kSealSize,
                  seal_block(sha256_hex(content.data() + kSealSize, content.size() - kSealSize)));
}

void check_seal(const std::filesystem::path& path) {
  std::error_code ignored;
  check(!std::filesystem::is_directory(path, ignored), "{}: is a folder, expected a checkpoint file",
        path.string());
  std::ifstream stream(path, std::ios::binary);
  check(stream.good(), "{}: cannot open ({})", path.string(), std::strerror(errno));
  std::string block(kSealSize, '\0');
  stream.read(block.data(), kSealSize);
  check(static_cast<size_t>(stream.gcount()) == kSealSize && looks_sealed(block),
        "{}: not a spq checkpoint (does not start with '{}')", path.string(), kMagic);
  check(block == seal_block(digest_of_rest(stream)),
        "{}: damaged: its SHA-256 is not the one it was written with", path.string());
}

}  // namespace spq::data
