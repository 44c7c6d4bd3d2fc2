#include "dist/same_everywhere.h"

#include <ATen/Version.h>
#include <mpi.h>

#include <algorithm>
#include <string_view>

#include "core/error.h"
#include "core/host_name.h"
#include "dist/collectives.h"
#include "dist/mpi_check.h"

namespace spq::dist {
namespace {

constexpr size_t kMostListed = 4;  // of sides, hosts and names in one message

// Some items of a list, and how many more there are.
std::string listed(const std::vector<std::string>& items, std::string_view separator) {
  const size_t shown = std::min(items.size(), kMostListed);
  std::string text;
  for (size_t i = 0; i < shown; ++i) text += (i == 0 ? "" : std::string(separator)) + items[i];
  if (items.size() > shown) text += fmt::format(" and {} more", items.size() - shown);
  return text;
}

// "rank 3", "ranks 0-3, 5"; ranks in rising order.
std::string describe_ranks(const std::vector<int>& ranks) {
  std::vector<std::string> runs;
  for (size_t begin = 0, end = 0; begin < ranks.size(); begin = end) {
    for (end = begin + 1; end < ranks.size() && ranks[end] == ranks[end - 1] + 1;) ++end;
    const bool is_one = end == begin + 1;
    runs.push_back(is_one ? fmt::format("{}", ranks[begin])
                          : fmt::format("{}-{}", ranks[begin], ranks[end - 1]));
  }
  return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", listed(runs, ", "));
}

// Ranks that have something in common, in the order in which it is met first.
struct Group {
  std::string key;
  std::vector<int> ranks;
};

void add(std::vector<Group>& groups, const std::string& key, int rank) {
  auto found = std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.key == key; });
  if (found == groups.end()) found = groups.insert(groups.end(), {key, {}});
  found->ranks.push_back(rank);
}

std::string describe_side(const Group& side, std::span<const Statement> statements) {
  std::vector<Group> hosts;
  for (const int rank : side.ranks) add(hosts, statements[static_cast<size_t>(rank)].host, rank);
  std::vector<std::string> places;
  for (const Group& host : hosts) {
    places.push_back(fmt::format("host {} ({})", host.key, describe_ranks(host.ranks)));
  }
  return fmt::format("{} on {}", side.key, listed(places, ", "));
}

// Who states which value for a name.
std::vector<Group> sides_of(const std::string& name, std::span<const Statement> statements) {
  std::vector<Group> sides;
  for (size_t rank = 0; rank < statements.size(); ++rank) {
    const std::vector<Fact>& facts = statements[rank].facts;
    const auto fact = std::find_if(facts.begin(), facts.end(), [&](const Fact& f) { return f.name == name; });
    add(sides, fact == facts.end() ? "nothing" : fact->value, static_cast<int>(rank));
  }
  return sides;
}

// In the order of rank 0's facts; what only others have comes after them.
std::vector<std::string> names_of(std::span<const Statement> statements) {
  std::vector<std::string> names;
  for (const Statement& statement : statements) {
    for (const Fact& fact : statement.facts) {
      if (std::find(names.begin(), names.end(), fact.name) == names.end()) names.push_back(fact.name);
    }
  }
  return names;
}

// A text of parts that each end with a zero: what other versions of this program send can be read too.
std::string encode(const Statement& statement) {
  std::string text = statement.host + '\0';
  for (const Fact& fact : statement.facts) text += fact.name + '\0' + fact.value + '\0';
  return text;
}

Statement decode(std::string_view text) {
  const auto next = [&] {
    const size_t end = std::min(text.find('\0'), text.size());
    std::string part(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    return part;
  };
  Statement statement{next(), {}};
  while (!text.empty()) {
    std::string name = next();
    statement.facts.push_back({std::move(name), next()});
  }
  return statement;
}

// The value of NAME=value in a list with commas.
std::string setting(const std::string& text, const std::string& name) {
  const size_t begin = text.find(name + "=");
  if (begin == std::string::npos) return "unknown";
  const size_t value = begin + name.size() + 1;
  return text.substr(value, text.find_first_of(", \n", value) - value);
}

}  // namespace

std::optional<std::string> first_difference(std::span<const Statement> statements) {
  const auto same = [&](const Statement& s) { return s.facts == statements.front().facts; };
  if (std::all_of(statements.begin(), statements.end(), same)) return std::nullopt;
  std::string first;
  std::vector<std::string> others;
  for (const std::string& name : names_of(statements)) {
    const std::vector<Group> sides = sides_of(name, statements);
    if (sides.size() == 1) continue;
    if (!first.empty()) {
      others.push_back(name);
      continue;
    }
    std::vector<std::string> texts;
    for (const Group& side : sides) texts.push_back(describe_side(side, statements));
    first = fmt::format("not the same on all ranks: {}: {}", name, listed(texts, "; "));
  }
  if (first.empty()) return std::nullopt;  // the same facts in another order
  return others.empty() ? first : fmt::format("{} (nor are: {})", first, listed(others, ", "));
}

void check_same_everywhere(Communicator& comm, const std::function<std::vector<Fact>()>& facts) {
  if (comm.world_size() == 1) return;
  std::string mine;
  collectively(comm, [&] { mine = encode({host_name(), facts()}); });
  std::vector<Statement> statements;
  for (const std::string& text : gather_texts(comm, mine)) statements.push_back(decode(text));
  if (const auto difference = first_difference(statements)) throw AgreedError(*difference);
}

std::vector<Fact> library_facts() {
  const std::string torch = at::show_config();
  char mpi[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  check_mpi(MPI_Get_library_version(mpi, &length), "MPI_Get_library_version");
  const std::string_view text(mpi, static_cast<size_t>(length));
  return {{"LibTorch",
           fmt::format("{} (commit {:.8})", setting(torch, "TORCH_VERSION"), setting(torch, "COMMIT_SHA"))},
          {"MPI library", std::string(text.substr(0, text.find_first_of(",\n")))}};
}

}  // namespace spq::dist
