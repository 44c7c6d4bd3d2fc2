#include "runner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

#include "core/error.h"
#include "memory_watch.h"
#include "tests/data/support.h"

namespace spq::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr int kSecondsPerInput = 10;          // of the processor: the machine may be busy with other things
constexpr unsigned int kSecondsToWait = 300;  // for one input that does nothing
constexpr int64_t kFreeMemory = int64_t{64} << 20;
constexpr int64_t kMemoryPerByte = 16;
constexpr size_t kMaxMessage = 2000;
constexpr size_t kMaxFaults = 5;  // each starts a new process

/// What the reading process tells the testing one; it may end at any moment.
struct Report {
  uint64_t index = 0;  // of the input being read
  uint64_t accepted = 0;
  uint64_t refused = 0;
  int64_t peak = 0;  // bytes, the largest of all inputs
  uint64_t peak_index = 0;
  double slowest = 0;  // seconds
  uint64_t slowest_index = 0;
  char fault[4096] = {};
};

Report* report = nullptr;  // shared memory; also written from inside malloc

void say(const std::string& fault) {
  std::strncpy(report->fault, fault.c_str(), sizeof(report->fault) - 1);
}

void on_excess(int64_t bytes) {
  report->peak = bytes;
  std::strcpy(report->fault, "asks for too much memory");
  _exit(1);
}

uint64_t setting(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

/// The lowest descriptor that is free.
int free_descriptor() {
  const int descriptor = fcntl(STDIN_FILENO, F_DUPFD, 3);
  close(descriptor);
  return descriptor;
}

void write_files(const fs::path& folder, const Files& files) {
  fs::remove_all(folder);
  fs::create_directories(folder);
  for (const auto& [name, bytes] : files) data::write_text(folder / name, bytes);
}

int64_t memory_limit(const Files& files) {
  int64_t bytes = kFreeMemory;
  for (const auto& [name, content] : files) bytes += kMemoryPerByte * std::ssize(content);
  return bytes;
}

/// What is wrong with the text of an error; empty when nothing is.
std::string message_fault(const std::string& message, const fs::path& folder) {
  const auto is_control = [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
  };
  if (message.size() > kMaxMessage) {
    return fmt::format("message of {} characters: {}", message.size(), message.substr(0, 300));
  }
  if (std::ranges::any_of(message, is_control)) return "message with control characters: " + message;
  if (message.find(folder.string()) == std::string::npos) return "message without the file: " + message;
  return "";
}

/// Ends the process by a signal when an input takes too long; a limit of 0 takes that back.
void limit_time(int processor_seconds, unsigned int seconds) {
  const itimerval limit{{0, 0}, {processor_seconds, 0}};
  setitimer(ITIMER_PROF, &limit, nullptr);
  alarm(seconds);
}

/// Reads one input; what was wrong, or nothing.
std::string read_one(const Target& target, const fs::path& folder, int64_t limit) {
  std::string fault;
  const int descriptor = free_descriptor();
  limit_time(kSecondsPerInput, kSecondsToWait);
  const std::clock_t start = std::clock();  // of the processor: other programs do not count
  start_memory_watch(limit, on_excess);
  try {
    target.read(folder);
    ++report->accepted;
  } catch (const Error& error) {
    stop_memory_watch();
    ++report->refused;
    fault = message_fault(error.what(), folder);
    if (std::getenv("SPQ_FUZZ_SHOW") != nullptr) fmt::print("{}: {}\n", report->index, error.what());
  } catch (const std::exception& error) {
    stop_memory_watch();
    fault = std::string("another exception: ") + error.what();
  }
  const int64_t peak = stop_memory_watch();
  limit_time(0, 0);
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  if (seconds > report->slowest) {
    report->slowest = seconds;
    report->slowest_index = report->index;
  }
  if (peak > report->peak) {
    report->peak = peak;
    report->peak_index = report->index;
  }
  if (fault.empty() && free_descriptor() != descriptor) fault = "leaves a file open";
  return fault;
}

/// In the forked process: reads inputs until one is at fault.
[[noreturn]] void read_inputs(const Target& target, uint64_t seed, uint64_t end, const fs::path& folder) {
  for (; report->index < end; ++report->index) {
    Random random(seed, target.name, report->index);
    const Files files = target.make(random);
    write_files(folder, files);
    const std::string fault = read_one(target, folder, memory_limit(files));
    std::fflush(stdout);
    if (fault.empty()) continue;
    say(fault);
    _exit(1);
  }
  _exit(0);
}

std::string describe_end(int status) {
  if (report->fault[0] != '\0') return report->fault;
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF) {
    return fmt::format("computes for longer than {} s", kSecondsPerInput);
  }
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) return "hangs";
  if (WIFSIGNALED(status)) return fmt::format("crashes: {}", strsignal(WTERMSIG(status)));
  return fmt::format("ends the process (status {}; a sanitizer's report is above)", WEXITSTATUS(status));
}

/// Keeps the files of the input; says where.
void add_failure(const Target& target, uint64_t seed, const Fault& fault) {
  const fs::path kept =
      fs::temp_directory_path() / fmt::format("spq-fuzz-{}-{}-{}", target.name, seed, fault.index);
  Random random(seed, target.name, fault.index);
  write_files(kept, target.make(random));
  ADD_FAILURE() << target.name << " input " << fault.index << ": " << fault.what << "\n  files kept in "
                << kept.string() << "\n  again: SPQ_FUZZ_SEED=" << seed << " SPQ_FUZZ_FIRST=" << fault.index
                << " SPQ_FUZZ_INPUTS=1";
}

}  // namespace

void Attempts::operator()(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    if (first_error_.empty()) first_error_ = error.what();
  }
}

void Attempts::finish() const {
  if (!first_error_.empty()) throw Error(first_error_);
}

Outcome run(const Target& target, uint64_t seed, uint64_t first, uint64_t count) {
  const data::TempDir folder;
  void* shared = mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  check(shared != MAP_FAILED, "cannot share memory with the reading process");
  report = new (shared) Report;
  report->index = first;
  Outcome outcome;
  while (report->index < first + count && outcome.faults.size() < kMaxFaults) {
    const pid_t child = fork();
    if (child == 0) read_inputs(target, seed, first + count, folder.path() / "input");
    int status = 0;
    check(child > 0 && waitpid(child, &status, 0) == child, "cannot start the reading process");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) break;
    outcome.faults.push_back({report->index, describe_end(status)});
    report->fault[0] = '\0';
    ++report->index;
  }
  outcome.accepted = report->accepted;
  outcome.refused = report->refused;
  outcome.costs = fmt::format("at most {} KiB (input {}) and {:.0f} ms (input {})", report->peak >> 10,
                              report->peak_index, 1e3 * report->slowest, report->slowest_index);
  munmap(shared, sizeof(Report));
  report = nullptr;
  return outcome;
}

void fuzz(const Target& target) {
  const uint64_t seed = setting("SPQ_FUZZ_SEED", 1);
  const uint64_t count = setting("SPQ_FUZZ_INPUTS", 1000);
  const Outcome outcome = run(target, seed, setting("SPQ_FUZZ_FIRST", 0), count);
  for (const Fault& fault : outcome.faults) add_failure(target, seed, fault);
  fmt::print("{}: {} inputs refused, {} accepted, {}\n", target.name, outcome.refused, outcome.accepted,
             outcome.costs);
  constexpr uint64_t kEnoughForBoth = 500;
  if (count >= kEnoughForBoth) {
    EXPECT_GT(outcome.refused, 0u);
    EXPECT_TRUE(outcome.accepted > 0 || !target.some_are_accepted);
  }
}

}  // namespace spq::fuzz
