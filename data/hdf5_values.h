// Attributes of HDF5 objects as values.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>

namespace spq::data {

using AttributeValue = std::variant<int64_t, std::string>;
using AttributeMap = std::map<std::string, AttributeValue>;

// `place` is what an error starts with: the file, and the object inside it where there is one.

/// One value out of them. Error naming the attribute when it is absent or of the other kind.
int64_t int_attribute(const AttributeMap& attributes, const std::string& name, const std::string& place);
const std::string& text_attribute(const AttributeMap& attributes, const std::string& name,
                                  const std::string& place);

}  // namespace spq::data
