// Memory that the processes of one node share.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "dist/mpi_channel.h"

namespace spq::dist {

/// An MPI shared-memory window, one block for all ranks of a node. Its end is collective, so it ends by
/// free() and not by going out of scope: a window that is never freed lasts until the process ends.
class MpiWindow {
 public:
  /// Why `num_bytes` cannot be shared on this machine, in words; empty when they can. Asks the file system
  /// that holds windows: taking more from it than it has would be a SIGBUS at first use. `most` bounds what
  /// may be taken besides.
  static std::string problem(int64_t num_bytes, int64_t most);

  /// Collective over `node`, whose ranks must all be on this machine.
  MpiWindow(const MpiChannel& node, int64_t num_bytes);

  std::byte* data() const { return data_; }

  /// Takes the pages of `rows`, which lie in the window, or throws Error when there are no more: others may
  /// have used them up since problem() was asked.
  static void reserve(const at::Tensor& rows);

  /// Makes what this rank wrote visible to the others and their writes to it: before and after a meeting.
  void sync();

  void free();

 private:
  int window_ = 0;  // MPI_Win_c2f
  std::byte* data_ = nullptr;
};

}  // namespace spq::dist
