// What a process states about itself or its files, to be compared with what other processes state.
#pragma once

#include <string>

namespace spq {

/// Both in one line, without control characters; the value is short enough for a message.
struct Fact {
  std::string name;  // "model weights"
  std::string value;

  bool operator==(const Fact&) const = default;
};

}  // namespace spq
