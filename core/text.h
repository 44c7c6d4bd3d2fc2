// Words for people: near misses of a name, sizes and times.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace spq {

/// Least number of insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`;
/// counted in bytes.
size_t edit_distance(std::string_view a, std::string_view b);

/// The candidate closest to `word`, the first of equals; none when even that one differs in more than a third
/// of its letters (and in more than two).
std::optional<std::string> nearest(std::string_view word, std::span<const std::string> candidates);

/// "17.6 GiB": binary units, one decimal from KiB upwards.
std::string humanize_bytes(uint64_t bytes);

/// "4.2 s", "3m 05s", "2h 03m", "3d 04h"; "?" for a negative or non-finite time.
std::string humanize_duration(double seconds);

}  // namespace spq
