#include "data/hdf5_values.h"

#include "core/error.h"
#include "data/shown_text.h"

namespace spq::data {

int64_t int_attribute(const AttributeMap& attributes, const std::string& name, const std::string& place) {
  const auto found = attributes.find(name);
  check(found != attributes.end(), "{}: no attribute '{}', expected an integer", place, name);
  const auto* value = std::get_if<int64_t>(&found->second);
  check(value != nullptr, "{}: attribute '{}' is a string, expected an integer", place, shown(name));
  return *value;
}

const std::string& text_attribute(const AttributeMap& attributes, const std::string& name,
                                  const std::string& place) {
  const auto found = attributes.find(name);
  check(found != attributes.end(), "{}: no attribute '{}', expected a string", place, name);
  const auto* value = std::get_if<std::string>(&found->second);
  check(value != nullptr, "{}: attribute '{}' is an integer, expected a string", place, shown(name));
  return *value;
}

}  // namespace spq::data
