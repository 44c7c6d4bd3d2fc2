#include "core/progress.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>
#include <string>

namespace {

spq::ProgressState some_state() {
  return {.step = 7,
          .total = 100,
          .loss = 2.34567,
          .learning_rate = 1.25,
          .tokens_per_s = 1234.4,
          .seconds_left = 185,
          .orthogonality_error = 3.14e-7};
}

/// What a terminal shows in the end: a carriage return goes back to the column 0 and later text covers
/// earlier.
std::string screen(const std::string& written) {
  std::string shown, line;
  size_t column = 0;
  for (char c : written) {
    if (c == '\r') {
      column = 0;
    } else if (c == '\n') {
      shown += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
      line.clear();
      column = 0;
    } else {
      if (column == line.size()) line += ' ';
      line[column++] = c;
    }
  }
  return shown + line.substr(0, line.find_last_not_of(' ') + 1);
}

TEST(ProgressLine, ShowsEveryFieldWhereThereIsRoom) {
  EXPECT_EQ(spq::format_progress(some_state(), 200),
            "step   7/100  loss 2.3457  left 3m 05s  1234 tokens/s  rate 1.25  orth 3.1e-07");
}

TEST(ProgressLine, DropsWholeFieldsFromTheEndAndNeverExceedsTheWidth) {
  EXPECT_EQ(spq::format_progress(some_state(), 77),
            "step   7/100  loss 2.3457  left 3m 05s  1234 tokens/s  rate 1.25");
  EXPECT_EQ(spq::format_progress(some_state(), 30), "step   7/100  loss 2.3457");
  for (size_t width = 0; width < 100; ++width) {
    EXPECT_LE(spq::format_progress(some_state(), width).size(), width);
  }
}

TEST(ProgressLine, SaysThatTheTimeLeftIsUnknownBeforeTheFirstStep) {
  spq::ProgressState state = some_state();
  state.seconds_left = spq::estimate_seconds_left(0, 0.0, 100);
  EXPECT_NE(spq::format_progress(state, 200).find("left ?"), std::string::npos);
}

TEST(ProgressLine, EstimatesTheTimeLeftFromTheMeanSpeed) {
  EXPECT_DOUBLE_EQ(spq::estimate_seconds_left(10, 20.0, 90), 180.0);
  EXPECT_DOUBLE_EQ(spq::estimate_seconds_left(10, 20.0, 0), 0.0);
  EXPECT_LT(spq::estimate_seconds_left(0, 3.0, 90), 0.0);
}

TEST(Progress, WritesOnePlainLinePerStepWhereThereIsNoTerminal) {
  std::ostringstream out;
  spq::Progress progress(out, {.interactive = false, .width = 10});
  progress.update(some_state());
  progress.say("held-out perplexity 5.1");
  progress.finish();
  EXPECT_EQ(out.str(),
            "step 7/100 loss 2.345670 learning_rate 1.25 tokens_per_s 1234.4 left 3m 05s orthogonality_error "
            "3.14e-07\n"
            "held-out perplexity 5.1\n");
}

TEST(Progress, RewritesTheLineOnATerminalAndLeavesNoRestOfALongerOne) {
  std::ostringstream out;
  spq::Progress progress(out, {.interactive = true, .width = 60});
  spq::ProgressState state = some_state();
  state.loss = 123456.0;
  progress.update(state);
  state.loss = 1.0;
  progress.update(state);
  EXPECT_EQ(out.str().find('\n'), std::string::npos);
  EXPECT_EQ(screen(out.str()), spq::format_progress(state, 59));
}

TEST(Progress, PutsAMessageAboveTheProgressLine) {
  std::ostringstream out;
  spq::Progress progress(out, {.interactive = true, .width = 60});
  progress.update(some_state());
  progress.say("saved");
  progress.finish();
  progress.finish();
  EXPECT_EQ(screen(out.str()), "saved\n" + spq::format_progress(some_state(), 59) + "\n");
}

TEST(Terminal, APipeIsNotOne) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  EXPECT_FALSE(spq::detect_terminal(ends[1]).interactive);
  close(ends[0]);
  close(ends[1]);
}

TEST(Terminal, APseudoTerminalTellsItsWidth) {
  int leader = posix_openpt(O_RDWR | O_NOCTTY);
  if (leader < 0 || grantpt(leader) != 0 || unlockpt(leader) != 0) GTEST_SKIP() << "no pseudo-terminals here";
  int follower = open(ptsname(leader), O_RDWR | O_NOCTTY);
  ASSERT_GE(follower, 0);
  winsize size{.ws_row = 24, .ws_col = 123, .ws_xpixel = 0, .ws_ypixel = 0};
  ASSERT_EQ(ioctl(leader, TIOCSWINSZ, &size), 0);
  spq::Terminal terminal = spq::detect_terminal(follower);
  EXPECT_TRUE(terminal.interactive);
  EXPECT_EQ(terminal.width, 123u);
  close(follower);
  close(leader);
}

}  // namespace
