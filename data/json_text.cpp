#include "data/json_text.h"

#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "core/error.h"
#include "data/mapped_file.h"
#include "data/shown_text.h"

namespace spq::data {
namespace {

using Json = nlohmann::json;

constexpr int kMaxDepth = 32;
constexpr size_t kMaxFileSize = size_t{100} << 20;

/// Follows the parser and refuses what the JSON library itself lets through.
class StrictnessCheck {
 public:
  bool operator()(int depth, Json::parse_event_t event, const Json& value) {
    check(depth <= kMaxDepth, "nested more than {} levels deep", kMaxDepth);
    if (event == Json::parse_event_t::object_start) {
      keys_.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      keys_.pop_back();
    } else if (event == Json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      check(keys_.back().insert(key).second, "duplicate key '{}'", shown(key));
    }
    return true;
  }

 private:
  std::vector<std::set<std::string>> keys_;  // of the objects being parsed, outermost first
};

}  // namespace

Json parse_json(std::string_view text, const std::string& place) {
  StrictnessCheck strictness;
  try {
    return Json::parse(text.begin(), text.end(), std::ref(strictness));
  } catch (const Json::exception& error) {
    fail("{}: not valid JSON: {}", place, shown(error.what()));
  } catch (const Error& error) {
    fail("{}: {}", place, error.what());
  }
}

std::string shown_json(const Json& value) {
  return shown(value.dump(-1, ' ', false, Json::error_handler_t::replace));
}

Json read_json_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  check(file.size() <= kMaxFileSize, "{}: {} bytes long, expected at most {}", path.string(), file.size(),
        kMaxFileSize);
  return parse_json({reinterpret_cast<const char*>(file.data()), file.size()}, path.string());
}

}  // namespace spq::data
