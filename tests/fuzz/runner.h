// Runs a reader over many mutated inputs, each guarded against everything a reader must not do.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "random.h"

namespace spq::fuzz {

/// Name in the folder -> bytes.
using Files = std::map<std::string, std::string>;

struct Target {
  std::string name;
  /// An input, from its random stream alone.
  std::function<Files(Random&)> make;
  /// Reads all there is to read of the files in `folder`. Throws spq::Error when they are refused, anything
  /// else when something is wrong.
  std::function<void(const std::filesystem::path& folder)> read;
  /// Whether any input is expected to be good enough to be read.
  bool some_are_accepted = true;
};

/// An input whose reading went wrong.
struct Fault {
  uint64_t index = 0;
  std::string what;
};

struct Outcome {
  uint64_t accepted = 0;
  uint64_t refused = 0;
  std::vector<Fault> faults;
  std::string costs;  // the most memory and processor time that one input took
};

/// Reads inputs `first` to `first + count - 1` of the random stream of `seed`, in forked processes; stops
/// after 5 faults. It is a fault when the reading of an input
/// - ends in another exception than spq::Error, or in one whose text is longer than 2000 characters or more
///   than a line, or does not contain the folder's path,
/// - crashes, is found at fault by a sanitizer, or takes more than 10 s of the processor's time,
/// - holds more memory than 64 MiB plus 16 times the files,
/// - leaves a file open.
Outcome run(const Target& target, uint64_t seed, uint64_t first, uint64_t count);

/// Runs SPQ_FUZZ_INPUTS inputs (1000 unless set) from SPQ_FUZZ_SEED (1), beginning with number SPQ_FUZZ_FIRST
/// (0). Every fault is a test failure that names the folder where the input's files are kept. Failure, too,
/// when no input was refused or none accepted. With SPQ_FUZZ_SHOW set, prints the message of every refusal.
void fuzz(const Target& target);

/// Calls several readers although one of them refuses: each time with a function that may throw spq::Error.
class Attempts {
 public:
  void operator()(const std::function<void()>& action);
  /// Throws the first spq::Error there was.
  void finish() const;

 private:
  std::string first_error_;
};

}  // namespace spq::fuzz
