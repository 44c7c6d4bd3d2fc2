#include "trainer/cayley.h"

#include <ATen/ops/add.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sub.h>

#include <algorithm>
#include <cmath>
#include <memory>

namespace spq::trainer {
namespace {

// The columns of an [n, n] matrix that this rank computes.
struct Columns {
  Columns(dist::Communicator& comm, int64_t n) : partition(n, comm.world_size()), rank(comm.rank()) {}
  at::Tensor of(const at::Tensor& x) const {
    return x.narrow(1, partition.begin(rank), partition.count(rank));
  }
  dist::RowPartition partition;
  int rank;
};

double frobenius_squared(const at::Tensor& w) {
  return w.square().sum(at::kDouble).item<double>();
}

// Directions of all matrices; updates the momentum.
std::vector<at::Tensor> directions(const std::vector<at::Tensor>& moments, std::vector<at::Tensor>& momentum,
                                   double factor) {
  std::vector<at::Tensor> result;
  for (size_t i = 0; i < moments.size(); ++i) {
    at::Tensor w = descent_direction(moments[i]);
    if (factor > 0) {
      momentum[i].mul_(factor).sub_(w);
      w = momentum[i].neg();
    }
    result.push_back(w);
  }
  return result;
}

// My columns of the updated matrix, transposed so that ranks' parts are rows.
at::Tensor updated_columns(const Columns& columns, const at::Tensor& x, const at::Tensor& w, double step,
                           int64_t iterations) {
  const at::Tensor mine = columns.of(x);
  const at::Tensor start = at::add(mine, at::mm(w, mine), step);
  return cayley_iterate(mine, w, step, start, iterations).t().contiguous();
}

}  // namespace

at::Tensor descent_direction(const at::Tensor& moment) {
  return at::sub(moment.t(), moment).mul_(0.5);
}

double clamped_step(const at::Tensor& direction, double learning_rate) {
  const double norm = direction.abs().sum(0).max().item<double>();
  return std::min(learning_rate, 1.0 / (norm + 1e-8));
}

at::Tensor cayley_iterate(const at::Tensor& x, const at::Tensor& direction, double step, at::Tensor start,
                          int64_t iterations) {
  at::Tensor y = std::move(start);
  for (int64_t i = 0; i < iterations; ++i) y = at::add(x, at::mm(direction, at::add(x, y)), step / 2);
  return y;
}

at::Tensor retract(const at::Tensor& x) {
  at::Tensor y = x;
  const at::Tensor three = at::eye(x.size(0), x.options()).mul_(3);
  for (int i = 0; i < 3; ++i) y = at::mm(y, at::sub(three, at::mm(y.t(), y))).mul_(0.5);
  return y;
}

double orthogonality_error(dist::Communicator& comm, const at::Tensor& x) {
  const Columns columns(comm, x.size(0));
  const at::Tensor eye = at::eye(x.size(0), x.options());
  const at::Tensor mine = columns.of(x);
  at::Tensor error = at::empty({1}, at::kDouble);
  error[0] = mine.size(1) == 0 ? 0.0 : at::mm(x.t(), mine).sub_(columns.of(eye)).abs().max().item<double>();
  at::Tensor all = at::empty({comm.world_size()}, at::kDouble);
  comm.all_gather_rows(error, all, dist::RowPartition(comm.world_size(), comm.world_size()))->wait();
  return all.max().item<double>();
}

CayleyReport cayley_step(dist::Communicator& comm, std::vector<at::Tensor>& x,
                         const std::vector<at::Tensor>& moments, std::vector<at::Tensor>& momentum,
                         double learning_rate, const CayleyOptions& options) {
  CayleyReport report;
  const std::vector<at::Tensor> w = directions(moments, momentum, options.momentum);
  double squared = 0;
  for (const at::Tensor& direction : w) squared += frobenius_squared(direction);
  report.tangential_norm = std::sqrt(squared);
  const bool clip = options.clip_norm > 0 && report.tangential_norm > options.clip_norm;
  const double rate = clip ? learning_rate * options.clip_norm / report.tangential_norm : learning_rate;

  std::vector<at::Tensor> mine, whole;
  std::vector<std::unique_ptr<dist::Work>> gathers;
  for (size_t i = 0; i < x.size(); ++i) {
    const Columns columns(comm, x[i].size(0));
    mine.push_back(updated_columns(columns, x[i], w[i], clamped_step(w[i], rate), options.iterations));
    whole.push_back(at::empty(x[i].sizes(), x[i].options()));
    gathers.push_back(comm.all_gather_rows(mine[i], whole[i], columns.partition));
  }
  for (size_t i = 0; i < x.size(); ++i) {
    gathers[i]->wait();
    x[i] = whole[i].t().contiguous();
    double error = orthogonality_error(comm, x[i]);
    if (error > options.retract_above) {
      x[i] = retract(x[i]);
      error = orthogonality_error(comm, x[i]);
      ++report.retractions;
    }
    report.orthogonality_error = std::max(report.orthogonality_error, error);
  }
  return report;
}

}  // namespace spq::trainer
