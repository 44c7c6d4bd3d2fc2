#include "dist/mpi_watch.h"

#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <thread>

#include "core/error.h"
#include "dist/mpi_check.h"

namespace spq::dist {

namespace {

constexpr int kQuestionTag = 1;
constexpr int kAnswerTag = 2;
constexpr std::chrono::milliseconds kAnswerEvery{10};
constexpr double kListenSeconds = 3;  // more than an idle rank takes to look at its messages
constexpr double kLeastListenSeconds =
    1;                               // so that ranks that give up at about the same time find each other
constexpr double kDeferSeconds = 5;  // for a lower rank to speak and end the job
constexpr size_t kMostNamed = 8;

std::vector<std::string> host_names(MPI_Comm comm) {
  std::array<char, MPI_MAX_PROCESSOR_NAME> mine{};
  int length = 0;
  check_mpi(MPI_Get_processor_name(mine.data(), &length), "MPI_Get_processor_name");
  int size = 0;
  check_mpi(MPI_Comm_size(comm, &size), "MPI_Comm_size");
  std::vector<char> all(static_cast<size_t>(size) * mine.size());
  check_mpi(MPI_Allgather(mine.data(), MPI_MAX_PROCESSOR_NAME, MPI_CHAR, all.data(), MPI_MAX_PROCESSOR_NAME,
                          MPI_CHAR, comm),
            "MPI_Allgather");
  std::vector<std::string> names;
  for (size_t r = 0; r < static_cast<size_t>(size); ++r) names.emplace_back(&all[r * mine.size()]);
  return names;
}

/// "a, b, c", the first few.
std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (size_t i = 0; i < std::min(words.size(), kMostNamed); ++i) {
    if (i > 0) text += ", ";
    text += words[i];
  }
  if (words.size() > kMostNamed) text += fmt::format(" and {} more", words.size() - kMostNamed);
  return text;
}

}  // namespace

/// What one rank says to another: a question carries its number, the answer that and where its sender is.
struct MpiWatch::Report {
  int64_t question = 0;
  int64_t started = 0;
};

MpiWatch::MpiWatch(double timeout) : timeout_(timeout) {
  MPI_Comm comm = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "MPI_Comm_dup");
  check_mpi(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_rank(comm, &rank_), "MPI_Comm_rank");
  hosts_ = host_names(comm);
  comm_ = MPI_Comm_c2f(comm);
}

void MpiWatch::free() {
  MPI_Comm comm = MPI_Comm_f2c(comm_);
  check_mpi(MPI_Comm_free(&comm), "MPI_Comm_free");
}

void MpiWatch::begin(std::string_view kind) {
  kind_ = kind;
  ++started_;
  running_ = true;
  began_ = Clock::now();
  lower_rank_asks_ = false;
}

void MpiWatch::wait(const std::function<bool()>& is_done, Pace pace) {
  Backoff backoff(pace);
  Clock::duration answer_at = kAnswerEvery;
  while (!is_done()) {
    backoff.pause();
    if (timeout_ <= 0 || backoff.waited() < answer_at) continue;
    answer();
    answer_at = backoff.waited() + kAnswerEvery;
    if (Clock::now() - began_ < std::chrono::duration<double>(timeout_)) continue;
    ask();
    if (listen(is_done, kLeastListenSeconds, kListenSeconds)) return;
    if (lower_rank_asks_ && listen(is_done, kDeferSeconds, kDeferSeconds)) return;
    fail("{}", describe_missing());
  }
}

void MpiWatch::ask() {
  ++question_;
  answers_.assign(hosts_.size(), std::nullopt);
  answers_[static_cast<size_t>(rank_)] = started_;
  in_transit_.push_back({question_, started_});
  for (int r = 0; r < static_cast<int>(hosts_.size()); ++r) {
    if (r == rank_) continue;
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(
        MPI_Isend(in_transit_.back().data(), 2, MPI_INT64_T, r, kQuestionTag, MPI_Comm_f2c(comm_), &request),
        "MPI_Isend");
    check_mpi(MPI_Request_free(&request), "MPI_Request_free");  // a stopped rank never completes it
  }
}

/// True when the collective ended after all. Otherwise it returns after `most` seconds, or after `least` when
/// all have answered.
bool MpiWatch::listen(const std::function<bool()>& is_done, double least, double most) {
  const Clock::time_point start = Clock::now();
  for (;;) {
    if (is_done()) return true;
    answer();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (seconds >= most || (seconds >= least && everybody_answered())) return false;
    std::this_thread::sleep_for(kAnswerEvery);
  }
}

void MpiWatch::answer() {
  if (timeout_ <= 0) return;
  const MPI_Comm comm = MPI_Comm_f2c(comm_);
  for (;;) {
    int found = 0;
    MPI_Status status;
    check_mpi(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm, &found, &status), "MPI_Iprobe");
    if (!found) return;
    Report report;
    check_mpi(MPI_Recv(&report, 2, MPI_INT64_T, status.MPI_SOURCE, status.MPI_TAG, comm, MPI_STATUS_IGNORE),
              "MPI_Recv");
    if (status.MPI_TAG == kQuestionTag) {
      if (status.MPI_SOURCE < rank_) lower_rank_asks_ = true;
      report.started = started_;
      check_mpi(MPI_Send(&report, 2, MPI_INT64_T, status.MPI_SOURCE, kAnswerTag, comm), "MPI_Send");
    } else if (report.question == question_) {
      answers_[static_cast<size_t>(status.MPI_SOURCE)] = report.started;
    }
  }
}

bool MpiWatch::everybody_answered() const {
  return std::all_of(answers_.begin(), answers_.end(), [](const auto& answer) { return answer.has_value(); });
}

std::string MpiWatch::describe_missing() const {
  std::vector<std::string> missing;
  std::vector<std::string> silent;
  for (size_t r = 0; r < answers_.size(); ++r) {
    if (answers_[r] && *answers_[r] >= started_) continue;
    missing.push_back(fmt::format("rank {} (host {})", r, hosts_[r]));
    if (!answers_[r]) silent.push_back(std::to_string(r));
  }
  const std::string what = fmt::format("{} number {}", kind_, started_);
  if (missing.empty()) {
    return fmt::format("{} did not end within {} seconds although every rank takes part", what, timeout_);
  }
  std::string text =
      fmt::format("{} did not take part in {} within {} seconds", joined(missing), what, timeout_);
  if (!silent.empty()) text += "; no answer from rank " + joined(silent);
  return text;
}

}  // namespace spq::dist
