// Collectives built from the Communicator's primitives: same result bits on every rank and backend.
#pragma once

#include <ATen/core/Tensor.h>

#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "dist/communicator.h"

namespace spq::dist {

/// Replaces `tensor` (contiguous, float or double, same shape everywhere) by the sum over the ranks, added in
/// rank order:
/// ((r0 + r1) + r2) + ... Every rank receives the same bits, on every backend.
void all_reduce_sum(Communicator& comm, at::Tensor& tensor);

/// Every rank's text, in rank order, on every rank.
std::vector<std::string> gather_texts(Communicator& comm, std::string_view mine);

/// Throws the same AgreedError on every rank when any rank passes a non-empty `problem`: the first such
/// rank's, with its number in front unless all ranks have the same. Returns when nobody has one. Use it after
/// work that can fail on one rank only.
void agree_or_fail(Communicator& comm, std::string_view problem);

/// Runs `body` (no collectives in it) on every rank; when it throws on any, every rank throws the same
/// AgreedError.
template <class Body>
void collectively(Communicator& comm, const Body& body) {
  std::string problem;
  try {
    body();
  } catch (const std::exception& error) {
    problem = error.what();
    if (problem.empty()) problem = "unknown error";
  }
  agree_or_fail(comm, problem);
}

/// How many ranks run on this rank's host, itself included (ranks whose host name is the same).
int local_world_size(Communicator& comm);

/// The place of this rank among them.
int local_rank(Communicator& comm);

}  // namespace spq::dist
