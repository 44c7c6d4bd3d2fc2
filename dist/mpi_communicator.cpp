#include "dist/mpi_communicator.h"

#include <mpi.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "dist/arguments.h"
#include "dist/mpi_check.h"
#include "dist/worker_thread.h"

namespace spq::dist {

namespace {

constexpr int kExchangeTag = 1;

/// A type of `num_bytes` bytes: counts are then in rows, and an int is enough for matrices beyond 2 GiB.
class RowType {
 public:
  explicit RowType(int64_t num_bytes) {
    check(num_bytes <= std::numeric_limits<int>::max(),
          "gather over MPI: row of {} bytes found, at most {} possible", num_bytes,
          std::numeric_limits<int>::max());
    check_mpi(MPI_Type_contiguous(static_cast<int>(num_bytes), MPI_BYTE, &type_), "MPI_Type_contiguous");
    check_mpi(MPI_Type_commit(&type_), "MPI_Type_commit");
  }
  ~RowType() { MPI_Type_free(&type_); }
  RowType(const RowType&) = delete;
  RowType& operator=(const RowType&) = delete;
  MPI_Datatype get() const { return type_; }

 private:
  MPI_Datatype type_ = MPI_DATATYPE_NULL;
};

void gather(MPI_Comm comm, int rank, const at::Tensor& shard, const at::Tensor& whole,
            const RowPartition& rows) {
  const int64_t num_bytes = static_cast<int64_t>(whole.nbytes());
  if (num_bytes == 0) return;
  check(rows.num_rows() <= std::numeric_limits<int>::max(),
        "gather over MPI: {} rows found, at most {} possible", rows.num_rows(),
        std::numeric_limits<int>::max());
  copy_bytes(shard, whole.narrow(0, rows.begin(rank), rows.count(rank)));
  const RowType row_type(num_bytes / rows.num_rows());
  std::vector<int> counts;
  std::vector<int> offsets;
  for (int r = 0; r < rows.world_size(); ++r) {
    counts.push_back(static_cast<int>(rows.count(r)));
    offsets.push_back(static_cast<int>(rows.begin(r)));
  }
  check_mpi(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, whole.mutable_data_ptr(), counts.data(),
                           offsets.data(), row_type.get(), comm),
            "MPI_Allgatherv");
}

/// The messages of one all_to_all, in pieces of at most `max_bytes`; the order of pieces between two ranks is
/// kept by MPI.
class Exchange {
 public:
  Exchange(MPI_Comm comm, int64_t max_bytes) : comm_(comm), max_bytes_(max_bytes) {}

  void receive(const at::Tensor& tensor, int source) {
    for_pieces("MPI_Irecv", tensor, [&](std::byte* data, int size, MPI_Request* request) {
      expected_.push_back(size);
      return MPI_Irecv(data, size, MPI_BYTE, source, kExchangeTag, comm_, request);
    });
  }

  void send(const at::Tensor& tensor, int target) {
    for_pieces("MPI_Isend", tensor, [&](std::byte* data, int size, MPI_Request* request) {
      return MPI_Isend(data, size, MPI_BYTE, target, kExchangeTag, comm_, request);
    });
  }

  /// Receives must have been posted before sends. One by one, and all of them even when one has failed: MPI
  /// must not write to tensors that are gone. (Open MPI 4.1.4's MPI_Waitall does not always return after a
  /// failure.)
  void wait() {
    int failure = MPI_SUCCESS;
    for (size_t i = 0; i < requests_.size(); ++i) {
      MPI_Status status;
      const int code = MPI_Wait(&requests_[i], &status);
      if (failure == MPI_SUCCESS) failure = code;
      if (code == MPI_SUCCESS && i < expected_.size()) check_size(status, expected_[i]);
    }
    check_mpi(failure, "MPI_Wait");
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
    wrong_size_ = fmt::format("all_to_all over MPI: {} bytes from rank {} found, {} expected", found,
                              status.MPI_SOURCE, expected);
  }

  MPI_Comm comm_;
  int64_t max_bytes_;
  std::vector<MPI_Request> requests_;
  std::vector<int> expected_;  // bytes of each receive
  std::string wrong_size_;
};

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(MPI_Comm comm, int rank, int world_size, int64_t max_message_bytes)
      : comm_(comm), rank_(rank), world_size_(world_size), max_message_bytes_(max_message_bytes) {}

  ~MpiCommunicator() override {
    // As a job: freed after all else that is queued, and not at all when something has failed.
    worker_.run([this] { check_mpi(MPI_Comm_free(&comm_), "MPI_Comm_free"); });
  }

  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }
  std::string_view backend() const override { return "mpi"; }

  void barrier() override {
    worker_.run([this] { check_mpi(MPI_Barrier(comm_), "MPI_Barrier"); })->wait();
  }

  std::unique_ptr<Work> all_gather_rows(const at::Tensor& shard, const at::Tensor& whole,
                                        const RowPartition& rows) override {
    assert_gather_arguments(*this, shard, whole, rows);
    return worker_.run([this, shard, whole, rows] { gather(comm_, rank_, shard, whole, rows); });
  }

  void all_to_all(std::span<const at::Tensor> send, std::span<at::Tensor> receive) override {
    assert_exchange_arguments(*this, send, receive);
    worker_.run([&] { exchange(send, receive); })->wait();
  }

  void broadcast(at::Tensor& tensor, int root) override {
    assert_broadcast_arguments(*this, tensor, root);
    worker_.run([&] { broadcast_pieces(tensor, root); })->wait();
  }

  void abort(std::string_view) noexcept override {
    MPI_Abort(comm_, 1);
    std::_Exit(1);
  }

 private:
  void exchange(std::span<const at::Tensor> send, std::span<at::Tensor> receive) {
    Exchange messages(comm_, max_message_bytes_);
    // Each rank starts with its neighbour, so that not all of them talk to the same one at once.
    for (int step = 1; step < world_size_; ++step) {
      const int source = (rank_ - step + world_size_) % world_size_;
      messages.receive(receive[static_cast<size_t>(source)], source);
    }
    for (int step = 1; step < world_size_; ++step) {
      const int target = (rank_ + step) % world_size_;
      messages.send(send[static_cast<size_t>(target)], target);
    }
    const auto self = static_cast<size_t>(rank_);
    copy_bytes(send[self], receive[self]);
    messages.wait();
  }

  void broadcast_pieces(const at::Tensor& tensor, int root) {
    auto* data = static_cast<std::byte*>(tensor.mutable_data_ptr());
    const int64_t num_bytes = static_cast<int64_t>(tensor.nbytes());
    for (int64_t done = 0; done < num_bytes; done += max_message_bytes_) {
      const int size = static_cast<int>(std::min(max_message_bytes_, num_bytes - done));
      check_mpi(MPI_Bcast(data + done, size, MPI_BYTE, root, comm_), "MPI_Bcast");
    }
  }

  MPI_Comm comm_;
  int rank_;
  int world_size_;
  int64_t max_message_bytes_;
  WorkerThread worker_;  // last: its destructor runs the queue, which uses the rest
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(MpiSession&, int64_t max_message_bytes) {
  SPQ_ASSERT(max_message_bytes >= 1 && max_message_bytes <= std::numeric_limits<int>::max());
  MPI_Comm comm = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "MPI_Comm_dup");
  check_mpi(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  int rank = 0;
  int world_size = 0;
  check_mpi(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(comm, &world_size), "MPI_Comm_size");
  return std::make_unique<MpiCommunicator>(comm, rank, world_size, max_message_bytes);
}

}  // namespace spq::dist
