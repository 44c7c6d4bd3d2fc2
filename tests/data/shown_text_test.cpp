#include "data/shown_text.h"

#include <gtest/gtest.h>

namespace spq::data {
namespace {

TEST(ShownText, LeavesOrdinaryTextAsItIs) {
  EXPECT_EQ(shown("model.layers.0"), "model.layers.0");
  EXPECT_EQ(shown("\xc3\xa9t\xc3\xa9 \xe2\x82\xac \xf0\x9f\x99\x82"),
            "\xc3\xa9t\xc3\xa9 \xe2\x82\xac \xf0\x9f\x99\x82");
  EXPECT_EQ(shown(""), "");
}

TEST(ShownText, IsOneLineOfPrintableCharacters) {
  EXPECT_EQ(shown("a\nb\tc\x7f"), "a\\x0ab\\x09c\\x7f");
  EXPECT_EQ(shown(std::string_view("\0", 1)), "\\x00");
  EXPECT_EQ(shown("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(shown("\xc2\x85"), "\\xc2\\x85");  // U+0085, next line
}

TEST(ShownText, SaysHowLongALongTextIs) {
  EXPECT_EQ(shown(std::string(5000, 'x')), std::string(200, 'x') + "... (5000 bytes)");
}

}  // namespace
}  // namespace spq::data
