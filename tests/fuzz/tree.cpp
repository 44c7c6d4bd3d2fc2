#include "tree.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace spq::fuzz {
namespace {

using Json = nlohmann::ordered_json;

Tree from_json(const Json& json) {
  Tree tree;
  if (json.is_object()) {
    tree.kind = Tree::Kind::kMap;
    for (const auto& [name, value] : json.items()) {
      tree.names.push_back(name);
      tree.children.push_back(from_json(value));
    }
  } else if (json.is_array()) {
    tree.kind = Tree::Kind::kList;
    for (const Json& value : json) tree.children.push_back(from_json(value));
  } else {
    tree.scalar = json.dump();
  }
  return tree;
}

void write_json(const Tree& tree, std::string& to) {
  if (tree.kind == Tree::Kind::kScalar) {
    to += tree.scalar;
    return;
  }
  const bool is_map = tree.kind == Tree::Kind::kMap;
  to += is_map ? '{' : '[';
  for (size_t i = 0; i < tree.children.size(); ++i) {
    if (i > 0) to += ',';
    if (is_map) to.append("\"").append(tree.names[i]).append("\":");
    write_json(tree.children[i], to);
  }
  to += is_map ? '}' : ']';
}

void write_yaml(const Tree& tree, size_t depth, std::string& to) {
  if (tree.kind == Tree::Kind::kScalar) {
    to.append(" ").append(tree.scalar).append("\n");
    return;
  }
  if (tree.children.empty()) {
    to += tree.kind == Tree::Kind::kMap ? " {}\n" : " []\n";
    return;
  }
  if (depth > 0) to += '\n';
  const std::string indent(2 * std::min<size_t>(depth, 100), ' ');
  for (size_t i = 0; i < tree.children.size(); ++i) {
    to += indent;
    to += tree.kind == Tree::Kind::kMap ? tree.names[i] + ":" : "-";
    write_yaml(tree.children[i], depth + 1, to);
  }
}

/// All nodes below and including `tree`.
void collect(Tree& tree, std::vector<Tree*>& nodes) {
  nodes.push_back(&tree);
  for (Tree& child : tree.children) collect(child, nodes);
}

Tree scalar(std::string text) {
  return {Tree::Kind::kScalar, std::move(text), {}, {}};
}

Tree nested(Tree core, size_t depth, Random& random) {
  const bool as_list = random.chance(50);
  // As text: a tree this deep would overflow the stack of this program, not of the one under test.
  std::string text = to_json(core);
  std::string open, close;
  for (size_t i = 0; i < depth; ++i) {
    open += as_list ? "[" : R"({"a":)";
    close += as_list ? ']' : '}';
  }
  return scalar(open + text + close);
}

std::string odd_name(Random& random) {
  static const std::vector<std::string> kNames = {
      "",    "a",  "..", "../x", "/etc/passwd", "\\u0000", "a\\nb", "\\",     "\xff", "__metadata__",
      "a.b", "&a", "*a", "<<",   "?",           "- ",      "\t",    "\\ud800"};
  return random.chance(10) ? std::string(size_t{1} << (10 + random.below(7)), 'n') : random.pick(kNames);
}

const std::string& odd_number(Random& random) {
  static const std::vector<std::string> kNumbers = {"0",
                                                    "1",
                                                    "-1",
                                                    "2",
                                                    "3",
                                                    "16",
                                                    "127",
                                                    "1e3",
                                                    "2147483647",
                                                    "2147483648",
                                                    "-2147483648",
                                                    "4294967296",
                                                    "9223372036854775807",
                                                    "9223372036854775808",
                                                    "-9223372036854775808",
                                                    "-9223372036854775809",
                                                    "18446744073709551615",
                                                    "18446744073709551616",
                                                    "1e308",
                                                    "1e999",
                                                    "-1e999",
                                                    "5e-324",
                                                    "-0.0",
                                                    "0.5",
                                                    "1.0",
                                                    "00",
                                                    "0x10",
                                                    ".inf",
                                                    ".nan",
                                                    "NaN"};
  return random.pick(kNumbers);
}

/// Legal and illegal, in JSON or only in YAML.
const std::string& odd_text(Random& random) {
  static const std::vector<std::string> kTexts = {"null",
                                                  "~",
                                                  "true",
                                                  "false",
                                                  "yes",
                                                  "{}",
                                                  "[]",
                                                  "[0]",
                                                  "[[[]]]",
                                                  R"("")",
                                                  R"("text")",
                                                  R"("a\nb")",
                                                  R"("\u0000")",
                                                  R"("\ud800")",
                                                  "\"\xff\xfe\"",
                                                  "\"\xc3\xa9\"",
                                                  "'a\nb'",
                                                  "\"open",
                                                  "{\"a\":1,\"a\":2}",
                                                  "!!binary aa",
                                                  "!tag x",
                                                  "&a 1",
                                                  "*a",
                                                  "|\n  text",
                                                  ">\n text",
                                                  "@",
                                                  "`",
                                                  "%",
                                                  "# comment",
                                                  "",
                                                  " "};
  return random.pick(kTexts);
}

/// Deletes, doubles, swaps or renames a child.
void change_children(Tree& tree, Random& random) {
  if (tree.children.empty()) return;
  const bool is_map = tree.kind == Tree::Kind::kMap;
  const size_t i = random.below(tree.children.size());
  const size_t j = random.below(tree.children.size());
  switch (random.below(is_map ? 6 : 3)) {
    case 0:
      tree.children.erase(tree.children.begin() + static_cast<std::ptrdiff_t>(i));
      if (is_map) tree.names.erase(tree.names.begin() + static_cast<std::ptrdiff_t>(i));
      break;
    case 1:
      tree.children.push_back(Tree(tree.children[i]));
      if (is_map) tree.names.push_back(std::string(tree.names[random.chance(70) ? i : j]));
      break;
    case 2:
      std::swap(tree.children[i], tree.children[j]);
      break;
    case 3:
      tree.names[i] = tree.names[j];
      break;
    case 4:
      tree.names[i] = odd_name(random);
      break;
    default:
      if (!tree.names[i].empty()) tree.names[i][random.below(tree.names[i].size())] ^= 1;
  }
}

void mutate_scalar(Tree& tree, const std::vector<Tree*>& nodes, Random& random) {
  if (random.chance(25)) {
    const Tree& other = *nodes[random.below(nodes.size())];
    if (other.kind == Tree::Kind::kScalar) tree.scalar = std::string(other.scalar);
  } else if (random.chance(30) && !tree.scalar.empty()) {
    const size_t i = random.below(tree.scalar.size());
    if (random.chance(50)) {
      tree.scalar[i] = static_cast<char>(tree.scalar[i] ^ (1 << random.below(8)));
    } else {
      tree.scalar.insert(i, 1, tree.scalar[random.below(tree.scalar.size())]);
    }
  } else {
    tree.scalar = odd_scalar(random);
  }
}

void mutate_once(Tree& tree, Tree& donor, Random& random) {
  std::vector<Tree*> nodes, parts;
  collect(tree, nodes);
  collect(donor, parts);
  Tree& node = *nodes[random.below(nodes.size())];
  const size_t kind = random.below(100);
  if (kind < 6) {
    node = Tree(*parts[random.below(parts.size())]);
  } else if (kind < 9) {
    node = nested(Tree(node), 1 + random.below(random.chance(50) ? 40 : 3000), random);
  } else if (kind < 12) {
    node = scalar(odd_scalar(random));
  } else if (node.kind == Tree::Kind::kScalar) {
    mutate_scalar(node, nodes, random);
  } else {
    change_children(node, random);
  }
}

}  // namespace

Tree parse_tree(const std::string& json) {
  return from_json(Json::parse(json));
}

std::string to_json(const Tree& tree) {
  std::string text;
  write_json(tree, text);
  return text;
}

std::string to_yaml(const Tree& tree) {
  std::string text;
  write_yaml(tree, 0, text);
  return text;
}

Tree mutate_tree(Tree tree, const Tree& donor, Random& random) {
  Tree parts = donor;
  for (size_t times = 1 + random.below(3); times > 0; --times) mutate_once(tree, parts, random);
  return tree;
}

std::string odd_scalar(Random& random) {
  if (random.chance(10)) {
    static const std::string kFillers = "a9[{ \n\"\\:-";
    const std::string huge(size_t{1} << (6 + random.below(12)), kFillers[random.below(kFillers.size())]);
    return random.chance(50) ? "\"" + huge + "\"" : huge;
  }
  if (random.chance(20)) return std::to_string(random.below(size_t{1} << random.below(40)));
  return random.chance(50) ? odd_number(random) : odd_text(random);
}

}  // namespace spq::fuzz
