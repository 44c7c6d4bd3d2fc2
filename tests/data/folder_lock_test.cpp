#include "data/folder_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <optional>

#include "support.h"

namespace spq::data {
namespace {

using ::testing::HasSubstr;

TEST(FolderLock, IsHeldByOneAtATimeAndNamesTheHolder) {
  const TempDir folder;
  std::optional<FolderLock> first(folder.path());
  const std::string message = error_of([&] { const FolderLock second(folder.path()); });
  EXPECT_THAT(message, HasSubstr(folder.path().string() + ": is in use by another run (process " +
                                 std::to_string(getpid()) + " on host "));
  first.reset();
  EXPECT_EQ(count_files(folder.path()), 0u);
  EXPECT_EQ(error_of([&] { const FolderLock again(folder.path()); }), "");
}

TEST(FolderLock, EndsWithAProcessThatIsKilled) {
  const TempDir folder;
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const FolderLock lock(folder.path());
    if (write(ready[1], "x", 1) != 1) _exit(1);
    while (true) pause();
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_THAT(error_of([&] { const FolderLock lock(folder.path()); }),
              HasSubstr("process " + std::to_string(child)));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(error_of([&] { const FolderLock lock(folder.path()); }), "");
  close(ready[0]);
  close(ready[1]);
}

TEST(FolderLock, NamesAFolderThatIsNotThere) {
  const TempDir folder;
  EXPECT_THAT(error_of([&] { const FolderLock lock(folder.path() / "none"); }),
              HasSubstr("none/.spq-lock: cannot make this file (No such file or directory)"));
}

}  // namespace
}  // namespace spq::data
