#include "data/shown_text.h"

#include <fmt/format.h>

#include <cstddef>

namespace spq::data {
namespace {

constexpr size_t kMaxShown = 200;

unsigned char byte_at(std::string_view text, size_t i) {
  return static_cast<unsigned char>(text[i]);
}

/// Bytes of the printable character at `i`; 0 when there is none.
size_t character_size(std::string_view text, size_t i) {
  const unsigned char lead = byte_at(text, i);
  if (lead < 0x80) return lead >= 0x20 && lead != 0x7f ? 1 : 0;
  const size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || i + size > text.size()) return 0;
  for (size_t k = 1; k < size; ++k) {
    if ((byte_at(text, i + k) & 0xc0) != 0x80) return 0;
  }
  // U+0080 to U+009f are control characters, too.
  return lead == 0xc2 && byte_at(text, i + 1) < 0xa0 ? 0 : size;
}

}  // namespace

std::string shown(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size();) {
    if (i >= kMaxShown) return fmt::format("{}... ({} bytes)", result, text.size());
    const size_t size = character_size(text, i);
    result += size > 0 ? std::string(text.substr(i, size)) : fmt::format("\\x{:02x}", byte_at(text, i));
    i += size > 0 ? size : 1;
  }
  return result;
}

}  // namespace spq::data
