// What can be chosen about NCCL; the defaults are for programs, the rest for tests.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace spq::dist {

struct NcclOptions {
  double timeout = 0;                    // of initialisation and every collective, in seconds; 0: none
  std::string library = "libnccl.so.2";  // for the dynamic loader
  /// A rank that sees the same failure as others (a collective that does not end) speaks so many seconds
  /// later for each rank below it, at most 20 times that: the first one ends the job for all.
  double stagger = 0.25;
  /// An error that NCCL says comes from another rank is left for so many seconds to that rank.
  double grace = 2;
  /// Says what has happened, just before this rank ends the job. Empty: one line on stderr.
  std::function<void(std::string_view)> report = {};
};

}  // namespace spq::dist
