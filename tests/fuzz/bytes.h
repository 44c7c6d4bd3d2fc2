// Mutations of a file as bytes.
#pragma once

#include <string>
#include <vector>

#include "random.h"

namespace spq::fuzz {

/// One to four changes: bits flipped, bytes set, inserted, deleted, repeated, moved, cut off, appended;
/// little-endian numbers of 1 to 8 bytes overwritten by ones at the edge of a type, by neighbours, or by
/// other numbers of the file; the tail of `donor`.
std::string mutate_bytes(std::string bytes, const std::string& donor, Random& random);

/// Overwrites a number that is already small and so probably a size, a count, an offset or a version.
void mutate_small_number(std::string& bytes, Random& random);

/// The blocks that start with one of `signatures` (4 characters each): one is copied over another, cut short,
/// filled with zeros, or one number near its start is changed.
void mutate_block(std::string& bytes, const std::vector<std::string>& signatures, Random& random);

/// A number at the edge of some integer type, or close to `value`.
uint64_t edge_number(uint64_t value, Random& random);

}  // namespace spq::fuzz
