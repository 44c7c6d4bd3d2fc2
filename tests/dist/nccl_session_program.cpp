// One rank's part in a test of how an MPI job over NCCL ends. NCCL is a stand-in that never reaches the other
// processes; the second argument is its file, the first says where that shows.
//   init:   NCCL initialisation does not end.
//   gather: a gather does not end; the ranks compute meanwhile.
#include <ATen/ops/zeros.h>
#include <dlfcn.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <thread>

#include "core/error.h"
#include "dist/device_communicator.h"
#include "dist/mpi_communicator.h"
#include "tests/dist/fake_device.h"

namespace {

using spq::dist::testing::NcclStandin;

void cut_off(const char* library) {
  void* handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  spq::check(handle != nullptr, "{}", dlerror());
  reinterpret_cast<NcclStandin* (*)()>(dlsym(handle, "spq_nccl_standin"))()->be_alone();
}

void take_part(spq::dist::Communicator& host, const std::string& mode, const char* library) {
  if (mode == "gather") cut_off(library);
  const auto device = std::make_shared<spq::dist::testing::FakeDevice>(
      spq::dist::testing::FakeDeviceOptions{.has_compute_stream = true});
  const auto comm = spq::dist::make_device_communicator(
      host, device, {.timeout = 1, .library = library, .stagger = 1}, spq::dist::DeviceLink::kNccl);
  const spq::dist::RowPartition rows(6, comm->world_size());
  const at::Tensor whole = at::zeros({6, 10});
  const auto work = comm->all_gather_rows(at::zeros({rows.count(comm->rank()), 10}), whole, rows);
  work->wait();
  std::this_thread::sleep_for(std::chrono::seconds(30));
  std::fprintf(stderr, "rank %d is through\n", comm->rank());
}

}  // namespace

int main(int argc, char** argv) {
  try {
    spq::check(argc == 3, "usage: mpirun ... {} MODE LIBRARY", argv[0]);
    spq::dist::MpiSession session;
    const auto host = spq::dist::make_mpi_communicator(session);
    try {
      take_part(*host, argv[1], argv[2]);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "error: %s\n", error.what());
      host->abort(error.what());
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
