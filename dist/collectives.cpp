#include "dist/collectives.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "core/error.h"
#include "core/host_name.h"

namespace spq::dist {

namespace {

constexpr size_t kFewBytes = 16 * 1024;  // of all ranks: one message each costs less than two rounds

/// Every rank's `mine` [n], in rank order [world_size, n].
at::Tensor gather_all(Communicator& comm, const at::Tensor& mine) {
  const int world = comm.world_size();
  at::Tensor all = at::empty({world, mine.numel()}, mine.options());
  comm.all_gather_rows(mine.view({1, -1}), all, RowPartition(world, world))->wait();
  return all;
}

void sum_everywhere(Communicator& comm, at::Tensor& flat) {
  const at::Tensor all = gather_all(comm, flat);
  flat.copy_(all[0]);
  for (int r = 1; r < comm.world_size(); ++r) flat.add_(all[r]);
}

/// Each rank sums its part of the elements.
void sum_by_parts(Communicator& comm, at::Tensor& flat) {
  const int rank = comm.rank();
  const RowPartition parts(flat.numel(), comm.world_size());
  const at::Tensor nothing = at::empty({0}, flat.options());
  std::vector<at::Tensor> send;
  std::vector<at::Tensor> receive;
  for (int r = 0; r < comm.world_size(); ++r) {
    send.push_back(r == rank ? nothing : flat.narrow(0, parts.begin(r), parts.count(r)));
    receive.push_back(r == rank ? nothing : at::empty({parts.count(rank)}, flat.options()));
  }
  comm.all_to_all(send, receive);
  // In place in the caller's tensor, without a copy of its part: a + b has the bits of b + a.
  const at::Tensor sum = flat.narrow(0, parts.begin(rank), parts.count(rank));
  if (rank > 0) {
    for (int r = 1; r < rank; ++r) receive[0].add_(receive[static_cast<size_t>(r)]);
    sum.add_(receive[0]);
  }
  for (int r = rank + 1; r < comm.world_size(); ++r) sum.add_(receive[static_cast<size_t>(r)]);
  receive.clear();
  comm.all_gather_rows(sum, flat, parts)->wait();
}

/// Of every rank, in rank order.
std::vector<std::string> host_names(Communicator& comm) {
  std::string name;
  collectively(comm, [&] { name = host_name(); });
  return gather_texts(comm, name);
}

}  // namespace

void all_reduce_sum(Communicator& comm, at::Tensor& tensor) {
  SPQ_ASSERT(tensor.is_contiguous());
  SPQ_ASSERT(tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kDouble);
  if (comm.world_size() == 1) return;
  at::Tensor flat = tensor.view({-1});
  const bool few = flat.nbytes() * static_cast<size_t>(comm.world_size()) <= kFewBytes;
  few ? sum_everywhere(comm, flat) : sum_by_parts(comm, flat);
}

std::vector<std::string> gather_texts(Communicator& comm, std::string_view mine) {
  at::Tensor my_length = at::empty({1}, at::kLong);
  *my_length.mutable_data_ptr<int64_t>() = static_cast<int64_t>(mine.size());
  const at::Tensor lengths = gather_all(comm, my_length);
  const int64_t* length = lengths.const_data_ptr<int64_t>();
  const int64_t longest = *std::max_element(length, length + comm.world_size());

  at::Tensor bytes = at::zeros({longest}, at::kByte);
  std::copy(mine.begin(), mine.end(), bytes.mutable_data_ptr<uint8_t>());
  const at::Tensor all = gather_all(comm, bytes);
  std::vector<std::string> texts;
  for (int r = 0; r < comm.world_size(); ++r) {
    const uint8_t* begin = all.const_data_ptr<uint8_t>() + r * longest;
    texts.emplace_back(begin, begin + length[r]);
  }
  return texts;
}

void agree_or_fail(Communicator& comm, std::string_view problem) {
  const std::vector<std::string> problems = gather_texts(comm, problem);
  for (size_t r = 0; r < problems.size(); ++r) {
    if (problems[r].empty()) continue;
    // Said by every rank alike (a missing file, a bad key): no rank's fault.
    const auto same = std::count(problems.begin(), problems.end(), problems[r]);
    if (same == static_cast<std::ptrdiff_t>(problems.size())) throw AgreedError(problems[r]);
    throw AgreedError(fmt::format("rank {}: {}", r, problems[r]));
  }
}

int local_world_size(Communicator& comm) {
  const std::vector<std::string> names = host_names(comm);
  return static_cast<int>(std::count(names.begin(), names.end(), names.at(static_cast<size_t>(comm.rank()))));
}

int local_rank(Communicator& comm) {
  const std::vector<std::string> names = host_names(comm);
  const auto mine = names.begin() + comm.rank();
  return static_cast<int>(std::count(names.begin(), mine, *mine));
}

}  // namespace spq::dist
