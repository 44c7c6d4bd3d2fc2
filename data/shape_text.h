// Shapes as text, for messages.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace spq::data {

/// "[2, 3]".
std::string shape_text(std::span<const int64_t> shape);

}  // namespace spq::data
