// What lies on the stack of a pickle program.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "data/pickle_reader.h"

namespace spq::data {

struct Global {
  std::string name;  // "torch FloatStorage"
};
struct Storage {
  std::string type;
  std::string record;
};
struct Nothing {};
struct Mark {};
struct Tuple;
using TablePointer = std::shared_ptr<std::map<std::string, PickledTensor>>;
/// Tuples, tables and tensors are shared, as the program may put them on its stack many times.
using Value = std::variant<Nothing, Mark, bool, int64_t, std::string, Global, std::shared_ptr<const Storage>,
                           std::shared_ptr<const Tuple>, TablePointer, std::shared_ptr<const PickledTensor>>;

struct Tuple {
  std::vector<Value> items;
  size_t depth = 1;  // of tuples in it, itself included
};

inline const char* kind_of(const Value& value) {
  static constexpr const char* kKinds[] = {"None",   "mark",    "Bool",  "Int",  "String",
                                           "Global", "Storage", "Tuple", "Dict", "Tensor"};
  static_assert(std::size(kKinds) == std::variant_size_v<Value>);
  return kKinds[value.index()];
}

}  // namespace spq::data
