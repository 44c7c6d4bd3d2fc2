// metrics.jsonl: what a run measured, one JSON object per line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace spq::trainer {

/// One training step. Non-finite numbers are written as null.
struct StepMetrics {
  int64_t step = 0;  // from 0: the index of the step, which is also the number of steps done before it
  double loss = 0;   // mean over the tokens of the global batch
  double learning_rate = 0;
  double tokens_per_s = 0;         // over all ranks
  double orthogonality_error = 0;  // max |X^T X - I| after the step
  double tangential_norm = 0;      // Frobenius norm of all descent directions W jointly, before a clip
  double gradient_norm = 0;        // the same of the accumulated M, symmetric parts included
  double seconds = 0;              // wall time of the step
  std::string device = "cpu";      // kind of device that computed it: "cpu" or "cuda"
};

/// Appends to a file, each line on disk's side of the process when a call returns. One process only (rank 0).
/// Every function throws Error naming the file when it cannot be read or written.
class MetricsWriter {
 public:
  /// Opens `path` for a run that goes on with step `first_step`, in an existing folder. Lines of that step
  /// and later ones, and a last line that was cut off, are removed first: the file is replaced as a whole or
  /// not at all. Error with the line number when another line is no JSON object.
  MetricsWriter(std::filesystem::path path, int64_t first_step);
  ~MetricsWriter();
  MetricsWriter(const MetricsWriter&) = delete;
  MetricsWriter& operator=(const MetricsWriter&) = delete;

  void write(const StepMetrics& metrics);

  /// `step`: number of steps done before this evaluation.
  void write_heldout(int64_t step, double perplexity);

 private:
  void append(const std::string& line);

  std::filesystem::path path_;
  int file_ = -1;
};

}  // namespace spq::trainer
