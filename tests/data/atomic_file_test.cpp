#include "data/atomic_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "support.h"

namespace spq::data {
namespace {

using ::testing::HasSubstr;

TEST(AtomicFile, ReplacesTheOldFileAndLeavesNothingElse) {
  const TempDir folder;
  const auto path = folder.path() / "out";
  write_text(path, "old");
  write_atomically(path, [&](const std::filesystem::path& temporary) {
    write_text(temporary, "new");
    EXPECT_EQ(temporary.parent_path(), folder.path());
    EXPECT_EQ(read_text(path), "old");
  });
  EXPECT_EQ(read_text(path), "new");
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(AtomicFile, KeepsTheOldFileWhenTheWriterFails) {
  const TempDir folder;
  const auto path = folder.path() / "out";
  write_text(path, "old");
  const auto write = [](const std::filesystem::path& temporary) {
    write_text(temporary, "half");
    fail("disk on fire");
  };
  EXPECT_EQ(error_of([&] { write_atomically(path, write); }), "disk on fire");
  EXPECT_EQ(read_text(path), "old");
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(AtomicFile, FailsWhenTheWriterWroteNothing) {
  const TempDir folder;
  const auto path = folder.path() / "out";
  EXPECT_THAT(error_of([&] { write_atomically(path, [](const auto&) {}); }), HasSubstr(path.string()));
}

TEST(AtomicFile, HoldsTheTextItWasGiven) {
  const TempDir folder;
  const std::string text("a\0b\r\n", 5);
  write_text_atomically(folder.path() / "out", text);
  EXPECT_EQ(read_text(folder.path() / "out"), text);
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(AtomicFile, NamesThePathWhenTheFolderIsMissing) {
  const TempDir folder;
  const auto path = folder.path() / "missing" / "out";
  const auto error = error_of([&] { write_atomically(path, [](const auto&) { FAIL(); }); });
  EXPECT_THAT(error, HasSubstr(path.string() + ": cannot write: no folder"));
}

TEST(AtomicFile, RefusesToReplaceAFolder) {
  const TempDir folder;
  const auto error = error_of([&] { write_atomically(folder.path(), [](const auto&) { FAIL(); }); });
  EXPECT_THAT(error, HasSubstr(folder.path().string() + ": cannot write: it is a folder"));
}

}  // namespace
}  // namespace spq::data
