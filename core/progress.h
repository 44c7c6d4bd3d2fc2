// How far a run is, on a terminal as one line that is rewritten, elsewhere as one line per step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>

namespace spq {

/// What one progress line says. A negative or non-finite seconds_left is shown as unknown.
struct ProgressState {
  int64_t step = 0;  // steps done
  int64_t total = 0;
  double loss = 0;
  double learning_rate = 0;
  double tokens_per_s = 0;
  double seconds_left = -1;
  double orthogonality_error = 0;  // max |X^T X - I| over all rotations
};

/// Time for the steps left at the mean speed so far; negative when no step is done yet. A resumed run counts
/// only the steps it did itself.
double estimate_seconds_left(int64_t steps_done, double elapsed_seconds, int64_t steps_left);

/// One line without line end, at most `width` characters: the last fields are left out where there is no
/// room.
std::string format_progress(const ProgressState& state, size_t width);

/// One line of `name value` pairs without line end, for log files; nothing is left out.
std::string format_progress_plain(const ProgressState& state);

struct Terminal {
  bool interactive = false;  // false: plain lines
  size_t width = 80;         // characters; used only when interactive
};

/// What stands behind a file descriptor; 80 characters where the width is not told.
Terminal detect_terminal(int file_descriptor);

/// Writes progress to one stream. Make one on rank 0 only. The stream must outlive it.
class Progress {
 public:
  Progress(std::ostream& out, Terminal terminal);

  void update(const ProgressState& state);

  /// A line of its own that stays; on a terminal the progress line is taken away first and drawn again below
  /// it.
  void say(std::string_view line);

  /// Leaves the last progress line on the screen and goes to the next; harmless when repeated.
  void finish();

 private:
  void draw(const std::string& line);

  std::ostream& out_;
  Terminal terminal_;
  std::string drawn_;  // what stands on the current terminal line
};

}  // namespace spq
