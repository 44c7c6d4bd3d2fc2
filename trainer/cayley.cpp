#include "trainer/cayley.h"

#include <ATen/ops/add.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

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

// Scalars of one dtype as numbers; a GPU is waited for once.
std::vector<double> numbers(const std::vector<at::Tensor>& scalars) {
  if (scalars.empty()) return {};
  const at::Tensor all = at::stack(scalars).to(at::kCPU, at::kDouble);
  const double* data = all.const_data_ptr<double>();
  return {data, data + all.numel()};
}

// sqrt(sum ||W||_F^2).
double joint_norm(const std::vector<at::Tensor>& w) {
  std::vector<at::Tensor> squared;
  for (const at::Tensor& x : w) squared.push_back(x.square().sum(at::kDouble));
  const std::vector<double> parts = numbers(squared);
  return std::sqrt(std::accumulate(parts.begin(), parts.end(), 0.0));
}

// clamped_step of each direction.
std::vector<double> clamped_steps(const std::vector<at::Tensor>& directions, double learning_rate) {
  std::vector<at::Tensor> norms;
  for (const at::Tensor& w : directions) norms.push_back(w.abs().sum(0).max());
  std::vector<double> steps = numbers(norms);
  for (double& step : steps) step = std::min(learning_rate, 1.0 / (step + 1e-8));
  return steps;
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

// The iterates that start at X + t W X are polynomials in A = t W / 2: after k of them
// Y = (I + 2 A + 2 A^2 + ... + 2 A^(k+1)) X. For odd k that is X + 2 (A + A^2) (I + A^2 + A^4 + ... +
// A^(k-1)) X, which takes (k + 3) / 2 products instead of k + 1.
bool squaring_pays(int64_t iterations) {
  return iterations % 2 == 1 && iterations > 1;
}

// A^2 of a skew A, by rows; every rank gets all of it.
struct Square {
  Square(dist::Communicator& comm, const at::Tensor& a)
      : rows(a.size(0), comm.world_size()),
        mine(at::mm(a.narrow(0, rows.begin(comm.rank()), rows.count(comm.rank())), a)),
        whole(at::empty(a.sizes(), a.options())),
        gather(comm.all_gather_rows(mine, whole, rows)) {}
  dist::RowPartition rows;
  at::Tensor mine, whole;
  std::unique_ptr<dist::Work> gather;
};

// My columns of the updated matrix by the polynomial.
at::Tensor evaluate_polynomial(const at::Tensor& mine, const at::Tensor& a, const at::Tensor& square,
                               int64_t iterations) {
  at::Tensor z = mine;
  for (int64_t i = 0; i < (iterations - 1) / 2; ++i) z = at::addmm(mine, square, z);
  return at::addmm(mine, at::add(a, square), z, /*beta=*/1, /*alpha=*/2);
}

// My columns of the updated matrices.
std::vector<at::Tensor> updated_columns(dist::Communicator& comm, const std::vector<at::Tensor>& x,
                                        const std::vector<at::Tensor>& w, double learning_rate,
                                        int64_t iterations) {
  std::vector<at::Tensor> result;
  std::vector<at::Tensor> a;
  std::vector<Square> squares;
  const std::vector<double> steps = clamped_steps(w, learning_rate);
  for (size_t i = 0; i < x.size() && squaring_pays(iterations); ++i) {
    a.push_back(at::mul(w[i], steps[i] / 2));
    squares.emplace_back(comm, a[i]);
  }
  for (size_t i = 0; i < x.size(); ++i) {
    const at::Tensor mine = Columns(comm, x[i].size(0)).of(x[i]);
    if (squaring_pays(iterations)) {
      squares[i].gather->wait();
      result.push_back(evaluate_polynomial(mine, a[i], squares[i].whole, iterations));
    } else {
      const at::Tensor start = at::add(mine, at::mm(w[i], mine), steps[i]);
      result.push_back(cayley_iterate(mine, w[i], steps[i], start, iterations));
    }
  }
  return result;
}

// Columns of X^T X - I, of which only the part on and above the diagonal is looked at: max |.|, a scalar.
at::Tensor largest_error(const at::Tensor& x, int64_t begin, int64_t end) {
  constexpr int64_t kPanel = 512;
  at::Tensor largest = at::zeros({}, x.options());
  for (int64_t from = begin; from < end; from += kPanel) {
    const int64_t count = std::min(kPanel, end - from);
    const at::Tensor product = at::mm(x.narrow(1, 0, from + count).t(), x.narrow(1, from, count));
    product.narrow(0, from, count).diagonal().sub_(1);
    largest = at::maximum(largest, product.abs_().max());
  }
  return largest;
}

// orthogonality_error of each matrix.
std::vector<double> orthogonality_errors(dist::Communicator& comm, const std::vector<at::Tensor>& x) {
  if (x.empty()) return {};
  std::vector<at::Tensor> mine;
  for (const at::Tensor& matrix : x) {
    const dist::RowPartition columns(matrix.size(0), comm.world_size());
    mine.push_back(largest_error(matrix, columns.begin(comm.rank()), columns.end(comm.rank())));
  }
  const std::vector<double> errors = numbers(mine);
  const auto count = static_cast<int64_t>(errors.size());
  at::Tensor all = at::empty({comm.world_size(), count}, at::kDouble);
  const dist::RowPartition ranks(comm.world_size(), comm.world_size());
  comm.all_gather_rows(at::tensor(errors).view({1, count}), all, ranks)->wait();
  const at::Tensor largest = all.amax(0);
  const double* data = largest.const_data_ptr<double>();
  return {data, data + count};
}

}  // namespace

at::Tensor descent_direction(const at::Tensor& moment) {
  return at::sub(moment.t(), moment).mul_(0.5);
}

double clamped_step(const at::Tensor& direction, double learning_rate) {
  return clamped_steps({direction}, learning_rate).front();
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
  return orthogonality_errors(comm, {x}).front();
}

CayleyReport cayley_step(dist::Communicator& comm, std::vector<at::Tensor>& x,
                         const std::vector<at::Tensor>& moments, std::vector<at::Tensor>& momentum,
                         double learning_rate, const CayleyOptions& options) {
  CayleyReport report;
  const std::vector<at::Tensor> w = directions(moments, momentum, options.momentum);
  report.tangential_norm = joint_norm(w);
  const bool clip = options.clip_norm > 0 && report.tangential_norm > options.clip_norm;
  const double rate = clip ? learning_rate * options.clip_norm / report.tangential_norm : learning_rate;

  std::vector<at::Tensor> mine = updated_columns(comm, x, w, rate, options.iterations);
  std::vector<at::Tensor> whole;
  std::vector<std::unique_ptr<dist::Work>> gathers;
  for (size_t i = 0; i < x.size(); ++i) {
    mine[i] = mine[i].t().contiguous();  // ranks' parts are rows
    whole.push_back(at::empty(x[i].sizes(), x[i].options()));
    gathers.push_back(
        comm.all_gather_rows(mine[i], whole[i], dist::RowPartition(x[i].size(0), comm.world_size())));
  }
  for (size_t i = 0; i < x.size(); ++i) {
    gathers[i]->wait();
    x[i] = whole[i].t().contiguous();
    whole[i].reset();
  }
  std::vector<double> errors = orthogonality_errors(comm, x);
  for (size_t i = 0; i < x.size(); ++i) {
    if (errors[i] > options.retract_above) {
      x[i] = retract(x[i]);
      errors[i] = orthogonality_error(comm, x[i]);
      ++report.retractions;
    }
    report.orthogonality_error = std::max(report.orthogonality_error, errors[i]);
  }
  return report;
}

}  // namespace spq::trainer
