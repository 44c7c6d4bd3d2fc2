#include "trainer/devices.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <vector>

#include "core/error.h"
#include "core/text.h"
#include "data/config_yaml.h"

namespace spq::trainer {
namespace {

constexpr double kGiga = 1e9;
constexpr double kTera = 1e12;
constexpr const char* kAssumptions = "assumptions";

// One section of the table, as it is written.
struct Row {
  std::string name;
  double memory = 0, memory_rate = 0, bf16 = 0, fp32 = 0, link = 0, network = 0;
  std::string source;
};

struct Assumptions {
  double matmul = 0, attention = 0, transfer = 0, reserved = 0;
};

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("{}: cannot open the table of devices: {}", path.string(), std::strerror(errno));
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Sections stand at the left margin. What is wrong with other lines, the YAML reader says.
std::vector<Row> sections(const std::string& text) {
  std::vector<Row> rows;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t colon = line.find(':');
    if (line.empty() || line[0] == ' ' || line[0] == '#' || colon == std::string::npos) continue;
    const std::string name = line.substr(0, colon);
    if (name != kAssumptions && name.find('.') == std::string::npos) rows.emplace_back().name = name;
  }
  return rows;
}

data::Key number(const std::string& section, const char* name, double& field) {
  return data::number_key({.path = section + "." + name}, field, data::above_zero());
}

data::Key fraction(const char* name, double& field) {
  return data::number_key({.path = fmt::format("{}.{}", kAssumptions, name)}, field,
                          {"above 0, at most 1", [](double x) { return x > 0 && x <= 1; }});
}

// Numbers first.
std::vector<data::Key> keys_of(Row& row) {
  return {number(row.name, "memory_gb", row.memory),
          number(row.name, "memory_gb_s", row.memory_rate),
          number(row.name, "bf16_tflops", row.bf16),
          number(row.name, "fp32_tflops", row.fp32),
          number(row.name, "link_gb_s", row.link),
          number(row.name, "network_gb_s", row.network),
          data::text_key({.path = row.name + ".source"}, row.source, "where the numbers are from")};
}

std::vector<data::Key> keys_of(Assumptions& a) {
  return {fraction("matmul_fraction", a.matmul), fraction("attention_fraction", a.attention),
          fraction("transfer_fraction", a.transfer), number(kAssumptions, "reserved_gb", a.reserved)};
}

void check_complete(const std::vector<data::Key>& keys, const std::string& origin) {
  for (const data::Key& key : keys) {
    const std::string value = key.get();
    check(!value.empty() && value != "0", "{}: {} is missing", origin, key.path);
  }
}

Device device_of(const Row& row, const Assumptions& a) {
  Device d;
  d.name = row.name;
  d.source = row.source;
  d.is_gpu = true;
  d.memory = row.memory * kGiga;
  d.reserved = a.reserved * kGiga;
  d.bf16_rate = row.bf16 * kTera * a.matmul;
  d.fp32_rate = row.fp32 * kTera * a.matmul;
  d.bf16_attention = row.bf16 * kTera * a.attention;
  d.fp32_attention = row.fp32 * kTera * a.attention;
  d.bf16_passes = d.fp32_passes = row.memory_rate * kGiga * a.transfer;
  d.link_rate = row.link * kGiga * a.transfer;
  d.network_rate = row.network * kGiga * a.transfer;
  return d;
}

}  // namespace

Device read_device(const std::filesystem::path& table, const std::string& name) {
  const std::string text = read_text(table);
  std::vector<Row> rows = sections(text);
  Assumptions assumptions;
  std::vector<data::Key> keys = keys_of(assumptions);
  for (Row& row : rows) {
    for (data::Key& key : keys_of(row)) keys.push_back(std::move(key));
  }
  data::read_config_text(text, table.string(), keys);
  check_complete(keys, table.string());
  std::vector<std::string> names = {"cpu"};
  std::string listed;
  for (const Row& row : rows) {
    if (row.name == name) return device_of(row, assumptions);
    names.push_back(row.name);
    listed += ", " + row.name;
  }
  const std::optional<std::string> best = nearest(name, names);
  fail("{}: no device '{}'{}; known: cpu{}", table.string(), name,
       best ? fmt::format("; did you mean {}?", *best) : "", listed);
}

}  // namespace spq::trainer
