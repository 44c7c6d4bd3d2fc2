// Which ranks share a machine.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace spq::dist {

/// The ranks in groups, nodes in the order of their lowest ranks, ranks of a node in rising order.
class Nodes {
 public:
  /// names[r]: any number that two ranks share exactly when they share a node.
  explicit Nodes(std::span<const int> names);

  int count() const { return static_cast<int>(ranks_.size()); }
  /// The ranks of a node.
  const std::vector<int>& ranks(int node) const { return ranks_.at(static_cast<size_t>(node)); }
  int node_of(int rank) const { return node_of_.at(static_cast<size_t>(rank)); }
  /// The place of `rank` among the ranks of its node.
  int place_of(int rank) const;
  /// True when all nodes have as many ranks.
  bool are_equal() const;
  /// "2, 1": how many ranks each node has.
  std::string describe() const;

 private:
  std::vector<int> node_of_;
  std::vector<std::vector<int>> ranks_;
};

}  // namespace spq::dist
