#include "dist/nodes.h"

#include <algorithm>
#include <cstddef>
#include <map>

namespace spq::dist {

Nodes::Nodes(std::span<const int> names) {
  std::map<int, int> node_of_name;
  for (size_t rank = 0; rank < names.size(); ++rank) {
    const auto [entry, is_new] = node_of_name.try_emplace(names[rank], count());
    if (is_new) ranks_.emplace_back();
    ranks_[static_cast<size_t>(entry->second)].push_back(static_cast<int>(rank));
    node_of_.push_back(entry->second);
  }
}

int Nodes::place_of(int rank) const {
  const std::vector<int>& ranks = this->ranks(node_of(rank));
  return static_cast<int>(std::find(ranks.begin(), ranks.end(), rank) - ranks.begin());
}

bool Nodes::are_equal() const {
  return std::all_of(ranks_.begin(), ranks_.end(),
                     [&](const std::vector<int>& ranks) { return ranks.size() == ranks_[0].size(); });
}

std::string Nodes::describe() const {
  std::string text;
  for (const std::vector<int>& ranks : ranks_) {
    if (!text.empty()) text += ", ";
    text += std::to_string(ranks.size());
  }
  return text;
}

}  // namespace spq::dist
