// Which device each rank computes on.
#pragma once

#include <c10/core/Device.h>

#include <string>

#include "core/compute_device.h"
#include "dist/communicator.h"

namespace spq::dist {

struct RankDevice {
  c10::Device device;
  std::string note;  // why it is the CPU although a GPU was looked for; otherwise empty. Same on every rank
};

/// Collective over the host communicator. For a GPU: cuda:n with n the rank's place among the ranks of its
/// host, modulo the devices it sees; loads LibTorch's CUDA operators and makes the device current for the
/// calling thread. All ranks get a GPU or none does: kAuto then gives the CPU with a note, kCuda is an
/// AgreedError that says why. Call it before anything asks LibTorch about CUDA (seeding random numbers does):
/// the answer is kept for good.
RankDevice open_device(Communicator& host, ComputeDevice choice);

}  // namespace spq::dist
