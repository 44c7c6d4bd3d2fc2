#include "core/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <ostream>
#include <vector>

#include "core/text.h"

namespace spq {

double estimate_seconds_left(int64_t steps_done, double elapsed_seconds, int64_t steps_left) {
  if (steps_done <= 0) return -1;
  return elapsed_seconds / static_cast<double>(steps_done) *
         static_cast<double>(std::max<int64_t>(0, steps_left));
}

std::string format_progress(const ProgressState& state, size_t width) {
  // Most wanted first: fields are dropped from the end. The step is padded so that the rest does not jump.
  std::string total = fmt::format("{}", state.total);
  std::vector<std::string> fields = {
      fmt::format("step {:>{}}/{}", state.step, total.size(), total),
      fmt::format("loss {:.4f}", state.loss),
      fmt::format("left {}", humanize_duration(state.seconds_left)),
      fmt::format("{:.0f} tokens/s", state.tokens_per_s),
      fmt::format("rate {:.4g}", state.learning_rate),
      fmt::format("orth {:.1e}", state.orthogonality_error),
  };
  std::string line = fields.front().substr(0, width);
  for (size_t i = 1; i < fields.size(); ++i) {
    if (line.size() + 2 + fields[i].size() > width) break;
    line += "  " + fields[i];
  }
  return line;
}

std::string format_progress_plain(const ProgressState& state) {
  return fmt::format(
      "step {}/{} loss {:.6f} learning_rate {:.6g} tokens_per_s {:.1f} left {} orthogonality_error {:.2e}",
      state.step, state.total, state.loss, state.learning_rate, state.tokens_per_s,
      humanize_duration(state.seconds_left), state.orthogonality_error);
}

Terminal detect_terminal(int file_descriptor) {
  Terminal terminal;
  terminal.interactive = isatty(file_descriptor) == 1;
  winsize size{};
  bool told = terminal.interactive && ioctl(file_descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  if (told) terminal.width = size.ws_col;
  return terminal;
}

Progress::Progress(std::ostream& out, Terminal terminal) : out_(out), terminal_(terminal) {}

void Progress::update(const ProgressState& state) {
  if (!terminal_.interactive) {
    out_ << format_progress_plain(state) << '\n' << std::flush;
    return;
  }
  // A line that fills the last column makes some terminals wrap.
  draw(format_progress(state, terminal_.width - std::min<size_t>(1, terminal_.width)));
}

void Progress::say(std::string_view line) {
  if (drawn_.empty()) {
    out_ << line << '\n' << std::flush;
    return;
  }
  std::string kept = drawn_;
  draw("");
  out_ << '\r' << line << '\n';
  draw(kept);
}

void Progress::finish() {
  if (drawn_.empty()) return;
  out_ << '\n' << std::flush;
  drawn_.clear();
}

void Progress::draw(const std::string& line) {
  // Blanks cover the end of a longer line before.
  size_t blanks = drawn_.size() > line.size() ? drawn_.size() - line.size() : 0;
  out_ << '\r' << line << std::string(blanks, ' ') << std::flush;
  drawn_ = line;
}

}  // namespace spq
