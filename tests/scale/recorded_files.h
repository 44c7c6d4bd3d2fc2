// data::ModelFiles that reads headers, writes down which parts of which tensors are asked for, and reads no
// weight.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace spq::test {

/// Rows or columns [begin, end) of a matrix, or entries of a vector.
struct RecordedRead {
  std::string name;
  bool columns = false;
  int64_t begin = 0;
  int64_t end = 0;
};

/// What has been asked for since the last call.
std::vector<RecordedRead> take_reads();

}  // namespace spq::test
