#include "dist/mpi_channel.h"

#include <mpi.h>

#include <algorithm>
#include <cstddef>
#include <string>

#include "core/error.h"
#include "dist/mpi_check.h"

namespace spq::dist {

namespace {

constexpr int kExchangeTag = 1;

int own_copy_of_world() {
  MPI_Comm comm = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "MPI_Comm_dup");
  return MPI_Comm_c2f(comm);
}

/// Waits for one request; its status is in `status` when the result is MPI_SUCCESS.
int wait_for(MpiWatch& watch, MPI_Request& request, Pace pace, MPI_Status* status) {
  int code = MPI_SUCCESS;
  const auto is_done = [&] {
    int done = 0;
    code = MPI_Test(&request, &done, status);
    return code != MPI_SUCCESS || done != 0;
  };
  watch.wait(is_done, pace);
  return code;
}

/// The messages of one exchange, in pieces; the order of pieces between two ranks is kept by MPI.
class Exchange {
 public:
  Exchange(MPI_Comm comm, MpiWatch& watch, int64_t max_bytes)
      : comm_(comm), watch_(watch), max_bytes_(max_bytes) {}

  void receive(const Message& message) {
    for_pieces("MPI_Irecv", message.tensor, [&](std::byte* data, int size, MPI_Request* request) {
      expected_.push_back(size);
      return MPI_Irecv(data, size, MPI_BYTE, message.rank, kExchangeTag, comm_, request);
    });
  }

  void send(const Message& message) {
    for_pieces("MPI_Isend", message.tensor, [&](std::byte* data, int size, MPI_Request* request) {
      return MPI_Isend(data, size, MPI_BYTE, message.rank, kExchangeTag, comm_, request);
    });
  }

  /// Receives must have been posted before sends. One by one, and all of them even when one has failed: MPI
  /// must not write to tensors that are gone. (Open MPI 4.1.4's MPI_Waitall does not always return after a
  /// failure.)
  void wait(Pace pace) {
    int failure = MPI_SUCCESS;
    for (size_t i = 0; i < requests_.size(); ++i) {
      MPI_Status status;
      const int code = wait_for(watch_, requests_[i], pace, &status);
      if (failure == MPI_SUCCESS) failure = code;
      if (code == MPI_SUCCESS && i < expected_.size()) check_size(status, expected_[i]);
    }
    check_mpi(failure, "MPI_Test");
    check(wrong_size_.empty(), "{}", wrong_size_);
  }

 private:
  template <class Post>
  void for_pieces(const char* call, const at::Tensor& tensor, Post post) {
    auto* data = static_cast<std::byte*>(tensor.data_ptr());
    const int64_t num_bytes = static_cast<int64_t>(tensor.nbytes());
    for (int64_t done = 0; done < num_bytes; done += max_bytes_) {
      const int size = static_cast<int>(std::min(max_bytes_, num_bytes - done));
      MPI_Request request = MPI_REQUEST_NULL;
      check_mpi(post(data + done, size, &request), call);
      requests_.push_back(request);
    }
  }

  void check_size(MPI_Status& status, int expected) {
    int found = 0;
    check_mpi(MPI_Get_count(&status, MPI_BYTE, &found), "MPI_Get_count");
    if (found == expected || !wrong_size_.empty()) return;
    wrong_size_ = fmt::format("message over MPI: {} bytes from rank {} found, {} expected", found,
                              status.MPI_SOURCE, expected);
  }

  MPI_Comm comm_;
  MpiWatch& watch_;
  int64_t max_bytes_;
  std::vector<MPI_Request> requests_;
  std::vector<int> expected_;  // bytes of each receive
  std::string wrong_size_;
};

}  // namespace

MpiChannel::MpiChannel(MpiWatch& watch, int64_t max_message_bytes)
    : MpiChannel(watch, max_message_bytes, own_copy_of_world()) {}

MpiChannel::MpiChannel(MpiWatch& watch, int64_t max_message_bytes, int comm)
    : watch_(&watch), max_message_bytes_(max_message_bytes), comm_(comm) {
  const MPI_Comm mpi = MPI_Comm_f2c(comm_);
  check_mpi(MPI_Comm_set_errhandler(mpi, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_rank(mpi, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(mpi, &size_), "MPI_Comm_size");
}

MpiChannel MpiChannel::node_of(const MpiChannel& world, int ranks_per_node) {
  MPI_Comm node = MPI_COMM_NULL;
  check_mpi(
      MPI_Comm_split_type(MPI_Comm_f2c(world.comm_), MPI_COMM_TYPE_SHARED, world.rank_, MPI_INFO_NULL, &node),
      "MPI_Comm_split_type");
  if (ranks_per_node > 0) {
    const MPI_Comm machine = node;
    check_mpi(MPI_Comm_split(machine, world.rank_ / ranks_per_node, world.rank_, &node), "MPI_Comm_split");
    MPI_Comm unused = machine;
    check_mpi(MPI_Comm_free(&unused), "MPI_Comm_free");
  }
  return MpiChannel(*world.watch_, world.max_message_bytes_, MPI_Comm_c2f(node));
}

void MpiChannel::meet() {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibarrier(MPI_Comm_f2c(comm_), &request), "MPI_Ibarrier");
  check_mpi(wait_for(*watch_, request, Pace::kPolite, MPI_STATUS_IGNORE), "MPI_Test");
}

void MpiChannel::exchange(const std::vector<Message>& receive, const std::vector<Message>& send, Pace pace) {
  Exchange messages(MPI_Comm_f2c(comm_), *watch_, max_message_bytes_);
  for (const Message& message : receive) messages.receive(message);
  for (const Message& message : send) messages.send(message);
  messages.wait(pace);
}

void MpiChannel::broadcast(const at::Tensor& tensor, int root) {
  auto* data = static_cast<std::byte*>(tensor.mutable_data_ptr());
  const int64_t num_bytes = static_cast<int64_t>(tensor.nbytes());
  for (int64_t done = 0; done < num_bytes; done += max_message_bytes_) {
    const int size = static_cast<int>(std::min(max_message_bytes_, num_bytes - done));
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Ibcast(data + done, size, MPI_BYTE, root, MPI_Comm_f2c(comm_), &request), "MPI_Ibcast");
    check_mpi(wait_for(*watch_, request, Pace::kEager, MPI_STATUS_IGNORE), "MPI_Test");
  }
}

void MpiChannel::free() {
  MPI_Comm comm = MPI_Comm_f2c(comm_);
  check_mpi(MPI_Comm_free(&comm), "MPI_Comm_free");
}

}  // namespace spq::dist
