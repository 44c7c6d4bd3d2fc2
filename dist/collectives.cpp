#include "dist/collectives.h"

#include <ATen/ops/empty.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace spq::dist {

void all_reduce_sum(Communicator& comm, at::Tensor& tensor) {
  SPQ_ASSERT(tensor.is_contiguous());
  SPQ_ASSERT(tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kDouble);
  if (comm.world_size() == 1) return;
  const at::Tensor flat = tensor.view({-1});
  const RowPartition parts(flat.numel(), comm.world_size());
  std::vector<at::Tensor> send;
  std::vector<at::Tensor> receive;
  for (int r = 0; r < comm.world_size(); ++r) {
    send.push_back(flat.narrow(0, parts.begin(r), parts.count(r)));
    receive.push_back(at::empty({parts.count(comm.rank())}, flat.options()));
  }
  comm.all_to_all(send, receive);
  at::Tensor sum = receive[0];
  for (size_t r = 1; r < receive.size(); ++r) sum.add_(receive[r]);
  comm.all_gather_rows(sum, flat, parts)->wait();
}

std::vector<std::string> gather_texts(Communicator& comm, std::string_view mine) {
  const int world = comm.world_size();
  at::Tensor my_length = at::empty({1}, at::kLong);
  *my_length.mutable_data_ptr<int64_t>() = static_cast<int64_t>(mine.size());
  at::Tensor lengths = at::empty({world}, at::kLong);
  comm.all_gather_rows(my_length, lengths, RowPartition(world, world))->wait();

  at::Tensor bytes = at::empty({static_cast<int64_t>(mine.size())}, at::kByte);
  std::copy(mine.begin(), mine.end(), bytes.mutable_data_ptr<uint8_t>());
  const std::vector<at::Tensor> send(static_cast<size_t>(world), bytes);
  std::vector<at::Tensor> receive;
  for (int r = 0; r < world; ++r) {
    receive.push_back(at::empty({lengths.const_data_ptr<int64_t>()[r]}, at::kByte));
  }
  comm.all_to_all(send, receive);
  std::vector<std::string> texts;
  for (const at::Tensor& text : receive) {
    const uint8_t* begin = text.const_data_ptr<uint8_t>();
    texts.emplace_back(begin, begin + text.numel());
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
  char name[256] = "";  // longer than any name Linux allows
  const int status = gethostname(name, sizeof(name));
  agree_or_fail(comm, status == 0 ? "" : fmt::format("no host name: {}", std::strerror(errno)));
  const std::vector<std::string> names = gather_texts(comm, name);
  return static_cast<int>(std::count(names.begin(), names.end(), std::string(name)));
}

}  // namespace spq::dist
