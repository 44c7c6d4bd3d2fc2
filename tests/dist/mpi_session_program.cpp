// One rank's part in a test of how an MPI job ends; the argument says how.
//   clean:    a collective, then the end of the scope.
//   abort:    the last rank reports a failure while the others wait for it.
//   unwind:   the last rank leaves the session's scope with an exception while the others wait for it.
//   truncate: the last rank sends more than the others expect; their failure ends the job.
//   late:     rank 1 comes after a while, but within the timeout.
//   absent:   rank 1 lives on but never comes to a gather.
//   stop:     rank 1 stops itself before a gather.
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "dist/collectives.h"
#include "dist/mpi_communicator.h"

namespace {

using spq::dist::Communicator;

void say(const Communicator& comm, const std::string& text) {
  std::fprintf(stderr, "rank %d %s\n", comm.rank(), text.c_str());
}

void send_too_much(Communicator& comm, bool last) {
  const auto world = static_cast<size_t>(comm.world_size());
  const auto self = static_cast<size_t>(comm.rank());
  std::vector<at::Tensor> send(world, at::zeros({last ? 6 : 4}, at::kFloat));
  std::vector<at::Tensor> receive(world);
  for (at::Tensor& tensor : receive) tensor = at::zeros({4}, at::kFloat);
  receive[self] = at::zeros_like(send[self]);
  comm.all_to_all(send, receive);
}

void gather_without_rank_1(Communicator& comm, const std::string& mode) {
  comm.set_timeout(mode == "late" ? 30 : 1);
  if (comm.rank() == 1 && mode == "stop") raise(SIGSTOP);
  if (comm.rank() == 1) std::this_thread::sleep_for(std::chrono::seconds(mode == "late" ? 1 : 600));
  const spq::dist::RowPartition rows(6, comm.world_size());
  const at::Tensor whole = at::zeros({6, 100}, at::kFloat);
  comm.all_gather_rows(at::zeros({rows.count(comm.rank()), 100}, at::kFloat), whole, rows)->wait();
}

void take_part(Communicator& comm, const std::string& mode) {
  const bool last = comm.rank() == comm.world_size() - 1;
  const auto texts = spq::dist::gather_texts(comm, mode);
  spq::check(texts.front() == mode, "found {}, expected {}", texts.front(), mode);
  if (mode == "truncate") send_too_much(comm, last);
  if (mode == "late" || mode == "absent" || mode == "stop") {
    gather_without_rank_1(comm, mode);
  } else if (last && mode != "clean") {
    say(comm, "fails");
    if (mode == "abort") comm.abort("told to");
    if (mode == "unwind") spq::fail("told to");
  }
  comm.barrier();
  say(comm, "is through");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    spq::check(argc == 2 && spq::dist::launched_by_mpi(), "usage: mpirun ... {} MODE", argv[0]);
    const std::string mode = argv[1];
    spq::dist::MpiSession session;
    const auto comm = spq::dist::make_mpi_communicator(session);
    if (mode == "unwind") {
      take_part(*comm, mode);
      return 0;
    }
    try {
      take_part(*comm, mode);
    } catch (const std::exception& error) {
      say(*comm, error.what());
      comm->abort(error.what());
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
