#include "trainer/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/error.h"

namespace spq::trainer {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

[[noreturn]] void fail_on(const fs::path& path, const char* what) {
  fail("{}: cannot {} the metrics: {}", path.string(), what, std::strerror(errno));
}

void write_all(int file, std::string_view bytes, const fs::path& path) {
  while (!bytes.empty()) {
    ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_on(path, "write");
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

/// The lines of `path` whose step is before `first_step`.
std::string lines_before(const fs::path& path, int64_t first_step) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail_on(path, "read");
  std::string kept, line;
  for (int64_t number = 1; std::getline(file, line); ++number) {
    // A run that was killed while writing leaves a last line without an end.
    if (file.eof()) break;
    nlohmann::json object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    check(object.is_object(), "{}:{}: not a JSON object, expected one metrics record per line", path.string(),
          number);
    auto step = object.find("step");
    check(step != object.end() && step->is_number_integer(), "{}:{}: no integer \"step\" in this record",
          path.string(), number);
    if (step->get<int64_t>() < first_step) kept += line + '\n';
  }
  if (file.bad()) fail_on(path, "read");
  return kept;
}

void replace_file(const fs::path& path, const std::string& bytes) {
  fs::path temporary = path;
  temporary += ".tmp";
  int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) fail_on(temporary, "write");
  try {
    write_all(file, bytes, temporary);
    if (::fsync(file) != 0) fail_on(temporary, "write");
  } catch (...) {
    ::close(file);
    ::unlink(temporary.c_str());
    throw;
  }
  ::close(file);
  if (::rename(temporary.c_str(), path.c_str()) == 0) return;
  int cause = errno;
  ::unlink(temporary.c_str());
  errno = cause;
  fail_on(path, "replace");
}

}  // namespace

MetricsWriter::MetricsWriter(fs::path path, int64_t first_step) : path_(std::move(path)) {
  std::error_code no_file;
  // Anything but a regular file (a pipe, a terminal) has no earlier lines to drop.
  if (fs::is_regular_file(path_, no_file)) replace_file(path_, lines_before(path_, first_step));
  file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) fail_on(path_, "write");
}

MetricsWriter::~MetricsWriter() {
  if (file_ >= 0) ::close(file_);
}

void MetricsWriter::write(const StepMetrics& metrics) {
  ordered_json line;
  line["step"] = metrics.step;
  line["loss"] = metrics.loss;
  line["learning_rate"] = metrics.learning_rate;
  line["tokens_per_s"] = metrics.tokens_per_s;
  line["orthogonality_error"] = metrics.orthogonality_error;
  line["tangential_norm"] = metrics.tangential_norm;
  line["gradient_norm"] = metrics.gradient_norm;
  line["seconds"] = metrics.seconds;
  line["device"] = metrics.device;
  append(line.dump());
}

void MetricsWriter::write_heldout(int64_t step, double perplexity) {
  ordered_json line;
  line["event"] = "heldout";
  line["step"] = step;
  line["perplexity"] = perplexity;
  append(line.dump());
}

void MetricsWriter::append(const std::string& line) {
  // One write: a reader never sees two records mixed, and nothing waits in a buffer of ours.
  write_all(file_, line + '\n', path_);
}

}  // namespace spq::trainer
