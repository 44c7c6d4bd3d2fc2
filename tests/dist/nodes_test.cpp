#include "dist/nodes.h"

#include <gtest/gtest.h>

#include <array>

namespace spq::dist {
namespace {

TEST(Nodes, AreInTheOrderOfTheirLowestRanks) {
  const std::array names{7, 2, 7, 2, 5};
  const Nodes nodes(names);
  EXPECT_EQ(nodes.count(), 3);
  EXPECT_EQ(nodes.ranks(0), (std::vector<int>{0, 2}));
  EXPECT_EQ(nodes.ranks(1), (std::vector<int>{1, 3}));
  EXPECT_EQ(nodes.ranks(2), (std::vector<int>{4}));
  EXPECT_EQ(nodes.node_of(3), 1);
  EXPECT_EQ(nodes.place_of(3), 1);
  EXPECT_EQ(nodes.place_of(4), 0);
}

TEST(Nodes, AreEqualOnlyWithTheSameNumberOfRanks) {
  EXPECT_TRUE(Nodes(std::array{0, 1, 0, 1}).are_equal());
  const Nodes uneven(std::array{0, 0, 2});
  EXPECT_FALSE(uneven.are_equal());
  EXPECT_EQ(uneven.describe(), "2, 1");
}

}  // namespace
}  // namespace spq::dist
