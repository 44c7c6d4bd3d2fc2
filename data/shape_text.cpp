#include "data/shape_text.h"

namespace spq::data {

// By hand: fmt::join of fmt 9 sets off a false -Wstringop-overflow in g++ 12.
std::string shape_text(std::span<const int64_t> shape) {
  std::string text = "[";
  for (const int64_t size : shape) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(size);
  }
  return text + "]";
}

}  // namespace spq::data
