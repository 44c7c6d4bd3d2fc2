// The programs that torch.save writes for a dict of tensors, run by an interpreter that knows nothing else.
// LibTorch's own believes the sizes that it finds in them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace spq::data {

/// A tensor as the program describes it, before any of its numbers is looked at.
struct PickledTensor {
  std::string storage_type;  // "FloatStorage"
  std::string record;        // name of the record with its numbers
  int64_t offset = 0;        // in elements, like the strides
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;
};

/// Runs a pickle program of protocol 2 that makes a dict of text -> tensor. Error starting with `place` on
/// any other program, with what it has instead. Nothing is called or imported: the few names that such
/// programs use are known.
std::map<std::string, PickledTensor> run_pickle(std::string_view program, const std::string& place);

}  // namespace spq::data
