// The run: steps, held-out evaluations, checkpoints, metrics, and what is said about them.
#pragma once

#include <ostream>

#include "core/progress.h"
#include "dist/communicator.h"
#include "trainer/job.h"
#include "trainer/stop_signal.h"

namespace spq::trainer {

enum class Outcome {
  kFinished,  // all steps done, result written
  kStopped,   // a signal arrived: the step was finished and saved
};

/// Runs (or resumes) the job on all ranks. `out` is rank 0's and may be null on the others, which say
/// nothing. Errors are AgreedError where all ranks fail together.
Outcome run_job(dist::Communicator& comm, const Job& job, StopSignal& stop, std::ostream* out,
                Terminal terminal);

}  // namespace spq::trainer
