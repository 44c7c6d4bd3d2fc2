#include "dist/mpi_window.h"

#include <mpi.h>
#include <sys/mman.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "core/error.h"
#include "core/text.h"
#include "dist/mpi_check.h"

namespace spq::dist {

namespace {

/// The value of a string setting of the MPI library, or an empty string.
std::string library_setting(const char* name) {
  int provided = 0;
  if (MPI_T_init_thread(MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS) return "";
  std::string value;
  int index = 0;
  int count = 0;
  MPI_T_cvar_handle handle;
  if (MPI_T_cvar_get_index(name, &index) == MPI_SUCCESS &&
      MPI_T_cvar_handle_alloc(index, nullptr, &handle, &count) == MPI_SUCCESS) {
    std::vector<char> text(static_cast<size_t>(std::max(count, 0)) + 4096, '\0');
    if (MPI_T_cvar_read(handle, text.data()) == MPI_SUCCESS) value = text.data();
    MPI_T_cvar_handle_free(&handle);
  }
  MPI_T_finalize();
  return value;
}

/// Where windows are files: Open MPI says, other libraries use POSIX shared memory.
std::string window_folder() {
  const std::string folder = library_setting("osc_sm_backing_directory");
  return folder.empty() ? "/dev/shm" : folder;
}

std::string size_text(int64_t num_bytes) {
  return humanize_bytes(static_cast<uint64_t>(num_bytes));
}

}  // namespace

std::string MpiWindow::problem(int64_t num_bytes, int64_t most) {
  if (num_bytes > most) {
    return fmt::format("{} of shared memory needed, at most {} allowed", size_text(num_bytes),
                       size_text(most));
  }
  const std::string folder = window_folder();
  struct statvfs space {};
  if (statvfs(folder.c_str(), &space) != 0) {
    return fmt::format("{}: its free space is not known: {}", folder, std::strerror(errno));
  }
  const auto available = static_cast<int64_t>(space.f_bavail * space.f_frsize);
  const int64_t needed = num_bytes + num_bytes / 64;  // others use it, too
  if (needed <= available) return "";
  return fmt::format("{}: {} of shared memory needed, {} free", folder, size_text(needed),
                     size_text(available));
}

MpiWindow::MpiWindow(const MpiChannel& node, int64_t num_bytes) {
  const MPI_Aint mine = node.rank() == 0 ? static_cast<MPI_Aint>(num_bytes) : 0;
  MPI_Win window = MPI_WIN_NULL;
  void* base = nullptr;
  check_mpi(MPI_Win_allocate_shared(mine, 1, MPI_INFO_NULL, MPI_Comm_f2c(node.handle()), &base, &window),
            "MPI_Win_allocate_shared");
  MPI_Aint size = 0;
  int unit = 0;
  check_mpi(MPI_Win_shared_query(window, 0, &size, &unit, &base), "MPI_Win_shared_query");
  check_mpi(MPI_Win_lock_all(MPI_MODE_NOCHECK, window), "MPI_Win_lock_all");
  data_ = static_cast<std::byte*>(base);
  window_ = MPI_Win_c2f(window);
}

void MpiWindow::reserve(const at::Tensor& rows) {
  constexpr uintptr_t kPage = 4096;
  if (rows.nbytes() == 0) return;
  const auto first = reinterpret_cast<uintptr_t>(rows.const_data_ptr());
  const uintptr_t begin = first / kPage * kPage;
  auto* place = reinterpret_cast<void*>(begin);
  if (madvise(place, first + rows.nbytes() - begin, MADV_POPULATE_WRITE) == 0) return;
  if (errno == EINVAL) return;  // a kernel before 5.14 cannot say
  fail("{}: no room for {} more of shared memory: {}", window_folder(),
       size_text(static_cast<int64_t>(rows.nbytes())), std::strerror(errno));
}

void MpiWindow::sync() {
  check_mpi(MPI_Win_sync(MPI_Win_f2c(window_)), "MPI_Win_sync");
}

void MpiWindow::free() {
  MPI_Win window = MPI_Win_f2c(window_);
  check_mpi(MPI_Win_unlock_all(window), "MPI_Win_unlock_all");
  check_mpi(MPI_Win_free(&window), "MPI_Win_free");
}

}  // namespace spq::dist
