// JSON and YAML documents as trees that need not be legal: a name may occur twice, a number may be any text.
#pragma once

#include <string>
#include <vector>

#include "random.h"

namespace spq::fuzz {

struct Tree {
  enum class Kind { kScalar, kList, kMap };
  Kind kind = Kind::kScalar;
  std::string scalar;              // as it is written: 12, true, "text"
  std::vector<std::string> names;  // of the children of a map, without quotes
  std::vector<Tree> children;
};

/// The tree of a legal JSON text.
Tree parse_tree(const std::string& json);

std::string to_json(const Tree& tree);
/// The same in YAML's block style, so that lines and indentation are there to be damaged.
std::string to_yaml(const Tree& tree);

/// One to three changes: numbers at the edges of types, values of another kind, huge and ill-formed text,
/// children deleted, given twice, swapped, renamed, replaced by parts of `donor`, nested up to 3000 deep.
Tree mutate_tree(Tree tree, const Tree& donor, Random& random);

/// A number, a word or a text as an attacker would write it.
std::string odd_scalar(Random& random);

}  // namespace spq::fuzz
