#include "trainer/config_yaml.h"

#include "data/config_yaml.h"
#include "trainer/config_keys.h"

namespace spq::trainer {

Config load_config(const std::filesystem::path& path, std::span<const std::string> overrides) {
  Config config;
  data::read_config_file(path, overrides, bind_keys(config));
  return config;
}

Config config_from_yaml_text(const std::string& text, const std::string& origin_name) {
  Config config;
  data::read_config_text(text, origin_name, bind_keys(config));
  return config;
}

std::string to_yaml(const Config& config) {
  Config copy = config;  // keys can write, so they bind to no constant
  return data::config_to_yaml(bind_keys(copy));
}

}  // namespace spq::trainer
