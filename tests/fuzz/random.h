// Random choices that follow from a seed alone.
#pragma once

#include <cstdint>
#include <random>
#include <string_view>
#include <vector>

namespace spq::fuzz {

class Random {
 public:
  /// The stream of input `index` of the target `name`: independent of all other inputs, so that one can be
  /// made again by itself.
  Random(uint64_t seed, std::string_view name, uint64_t index) : engine_(mix(seed, name, index)) {}

  uint64_t bits() { return engine_(); }
  /// 0 to limit - 1; 0 when the limit is 0.
  size_t below(size_t limit) { return limit == 0 ? 0 : static_cast<size_t>(engine_() % limit); }
  bool chance(size_t percent) { return below(100) < percent; }
  template <class T>
  const T& pick(const std::vector<T>& values) {
    return values[below(values.size())];
  }

 private:
  static uint64_t mix(uint64_t seed, std::string_view name, uint64_t index) {
    uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
    const auto add = [&hash](uint64_t byte) { hash = (hash ^ byte) * 0x100000001b3u; };
    for (const char c : name) add(static_cast<unsigned char>(c));
    for (int shift = 0; shift < 64; shift += 8) add((seed >> shift) & 0xff);
    for (int shift = 0; shift < 64; shift += 8) add((index >> shift) & 0xff);
    return hash;
  }
  std::mt19937_64 engine_;
};

}  // namespace spq::fuzz
