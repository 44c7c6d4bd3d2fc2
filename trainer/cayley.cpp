#include "trainer/cayley.h"

#include <ATen/ops/add.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <utility>

#include "trainer/half_product.h"

namespace spq::trainer {
namespace {

// Scalars of one dtype as numbers; a GPU is waited for once.
std::vector<double> numbers(const std::vector<at::Tensor>& scalars) {
  if (scalars.empty()) return {};
  const at::Tensor all = at::stack(scalars).to(at::kCPU, at::kDouble);
  const double* data = all.const_data_ptr<double>();
  return {data, data + all.numel()};
}

// sqrt(sum ||W||_F^2): rows in their own dtype, which is one fast pass, the rest in double.
double joint_norm(const std::vector<at::Tensor>& w) {
  std::vector<at::Tensor> squared;
  for (const at::Tensor& x : w) {
    squared.push_back(at::linalg_vector_norm(x, 2, at::IntArrayRef{1}).to(at::kDouble).square().sum());
  }
  const std::vector<double> parts = numbers(squared);
  return std::sqrt(std::accumulate(parts.begin(), parts.end(), 0.0));
}

// clamped_step of each direction. Columns and rows of a skew matrix have the same sums, and rows are faster.
std::vector<double> clamped_steps(const std::vector<at::Tensor>& directions, double learning_rate) {
  std::vector<at::Tensor> norms;
  for (const at::Tensor& w : directions) {
    norms.push_back(at::linalg_vector_norm(w, 1, at::IntArrayRef{1}).max());
  }
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
//   Y = X + 2 (A + A^2 + ... + A^(k+1)) X.
// A^2 is symmetric and A^3 skew, so that each costs half a product. The sum is evaluated from them in blocks
// of m = 2 or 3 powers, with one product for each: V = P X, then V <- P X + A^m V with P = A + ... + A^m
// where m divides k + 1, or V <- P X + A^m (X + V) with P = A + ... + A^(m-1) where it divides k + 2.
struct Evaluation {
  explicit Evaluation(int64_t iterations) {
    power = (iterations + 1) % 3 == 1 ? 2 : 3;
    with_x = (iterations + 1) % power != 0;
    blocks = (iterations + power) / power;
  }
  int64_t summed() const { return with_x ? power - 1 : power; }      // powers in P
  int64_t highest() const { return blocks > 1 ? power : summed(); }  // power that is needed

  int64_t power;   // m
  int64_t blocks;  // of m powers
  bool with_x;     // m divides k + 2
};

// This rank's columns of the updated X. `a` is used up.
at::Tensor updated_columns(dist::Communicator& comm, const at::Tensor& x, at::Tensor a,
                           const Evaluation& evaluation) {
  at::Tensor factor;
  {
    std::vector<at::Tensor> powers;  // from A^2
    if (evaluation.highest() > 1) powers.push_back(half_product(comm, a, a, Symmetry::kSymmetric));
    if (evaluation.highest() > 2) powers.push_back(half_product(comm, a, powers[0], Symmetry::kSkew));
    for (int64_t i = 2; i <= evaluation.summed(); ++i) a.add_(powers[static_cast<size_t>(i - 2)]);
    if (evaluation.blocks > 1) factor = powers.back();
  }
  const dist::RowPartition columns(x.size(1), comm.world_size());
  const at::Tensor mine = x.narrow(1, columns.begin(comm.rank()), columns.count(comm.rank()));
  const at::Tensor first = at::mm(a, mine);
  a.reset();
  at::Tensor v = first;
  for (int64_t i = 1; i < evaluation.blocks; ++i) {
    v = at::addmm(first, factor, evaluation.with_x ? at::add(mine, v) : v);
  }
  return at::add(mine, v, 2).contiguous();
}

// Matrices of which each rank has some columns, on their way to all ranks.
class ColumnGather {
 public:
  // A rank's columns take the place of as many rows: the numbers are as many and consecutive.
  ColumnGather(dist::Communicator& comm, const at::Tensor& mine)
      : columns_(mine.size(0), comm.world_size()),
        mine_(mine.view({mine.size(1), mine.size(0)})),
        parts_(at::empty({mine.size(0), mine.size(0)}, mine.options())),
        gather_(comm.all_gather_rows(mine_, parts_, columns_)) {}

  at::Tensor wait() {
    gather_->wait();
    mine_.reset();
    const int64_t n = columns_.num_rows();
    at::Tensor whole = at::empty_like(parts_);
    for (int rank = 0; rank < columns_.world_size(); ++rank) {
      const int64_t begin = columns_.begin(rank), count = columns_.count(rank);
      whole.narrow(1, begin, count).copy_(parts_.narrow(0, begin, count).view({n, count}));
    }
    parts_.reset();
    return whole;
  }

 private:
  dist::RowPartition columns_;
  at::Tensor mine_, parts_;
  std::unique_ptr<dist::Work> gather_;
};

// max |X^T X - I| over this rank's part, a scalar.
at::Tensor largest_error(dist::Communicator& comm, const at::Tensor& x) {
  const int64_t n = x.size(0);
  const dist::RowPartition rows(n, comm.world_size());
  at::Tensor largest = at::zeros({}, x.options());
  for (const Block& block : band_blocks(n, rows.begin(comm.rank()), rows.end(comm.rank()))) {
    const at::Tensor product =
        at::mm(x.narrow(1, block.row, block.rows).t(), x.narrow(1, block.column, block.columns));
    const bool has_diagonal = block.column <= block.row && block.row < block.column + block.columns;
    if (has_diagonal) product.narrow(1, block.row - block.column, block.rows).diagonal().sub_(1);
    largest = at::maximum(largest, product.abs_().max());
  }
  return largest;
}

// orthogonality_error of each matrix.
std::vector<double> orthogonality_errors(dist::Communicator& comm, const std::vector<at::Tensor>& x) {
  if (x.empty()) return {};
  std::vector<at::Tensor> mine;
  for (const at::Tensor& matrix : x) mine.push_back(largest_error(comm, matrix));
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
  // Two passes, but several times faster than one that reads both ways at once.
  return moment.t().clone(at::MemoryFormat::Contiguous).sub_(moment).mul_(0.5);
}

double clamped_step(const at::Tensor& direction, double learning_rate) {
  return clamped_steps({direction}, learning_rate).front();
}

UpdateCost update_cost(int64_t iterations) {
  const Evaluation evaluation(iterations);
  const auto halves = static_cast<double>(evaluation.highest() - 1);
  return {.products = static_cast<double>(evaluation.blocks) + 0.5 * halves + 0.5, .gathers = halves + 1};
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
  std::vector<at::Tensor> w = directions(moments, momentum, options.momentum);
  report.tangential_norm = joint_norm(w);
  const bool clip = options.clip_norm > 0 && report.tangential_norm > options.clip_norm;
  const double rate = clip ? learning_rate * options.clip_norm / report.tangential_norm : learning_rate;

  const std::vector<double> steps = clamped_steps(w, rate);
  std::vector<ColumnGather> gathers;
  for (size_t i = 0; i < x.size(); ++i) {
    at::Tensor a = std::exchange(w[i], {});
    a.mul_(steps[i] / 2);
    gathers.emplace_back(comm, updated_columns(comm, x[i], std::move(a), Evaluation(options.iterations)));
  }
  for (size_t i = 0; i < x.size(); ++i) x[i] = gathers[i].wait();
  gathers.clear();
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
