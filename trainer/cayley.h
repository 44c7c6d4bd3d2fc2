// Cayley SGD on orthogonal matrices (Li, Fuxin, Todorovic: "Efficient Riemannian optimization on the Stiefel
// manifold via the Cayley transform", ICLR 2020, algorithm 1; design.md 4).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "dist/communicator.h"

namespace spq::trainer {

struct CayleyOptions {
  int64_t iterations = 5;       // of the fixed point
  double momentum = 0.0;        // [0, 1)
  double clip_norm = 0.0;       // on sqrt(sum ||W||_F^2) over all matrices; 0: no clip
  double retract_above = 1e-5;  // max |X^T X - I| past which X is made orthogonal again
};

/// What a step did.
struct CayleyReport {
  double tangential_norm = 0;      // sqrt(sum over matrices of ||W||_F^2), before clipping
  double orthogonality_error = 0;  // largest |X^T X - I| after the update and any retraction
  int64_t retractions = 0;
};

/// W = -(M - M^T) / 2: the descent direction at X is W X.
at::Tensor descent_direction(const at::Tensor& moment);

/// min(learning_rate, 1 / (||W||_1 + 1e-8)) of a skew W, the step for which the fixed point contracts.
/// ||W||_1: largest column sum of |W|.
double clamped_step(const at::Tensor& direction, double learning_rate);

/// What cayley_step takes for each large matrix, its check of orthogonality included.
struct UpdateCost {
  double products = 0;  // of n x n matrices, shared by the ranks
  double gathers = 0;   // of n x n matrices
};
UpdateCost update_cost(int64_t iterations);

/// The nearest orthogonal matrix to a nearly orthogonal X, by Newton-Schulz steps X (3 I - X^T X) / 2.
at::Tensor retract(const at::Tensor& x);

/// max |X^T X - I|; each rank computes some columns. Same value on every rank.
double orthogonality_error(dist::Communicator& comm, const at::Tensor& x);

/// One step for matrices x[i] [n_i, n_i] (fp32, replaced) from their all-reduced moments M[i] (design.md 3).
/// `momentum` holds one skew matrix for each x[i] (zeros at the start; unused when options.momentum is 0): B
/// <- momentum B + (M - M^T) / 2 and W = -B. A skew matrix names a direction at every X, so B is carried
/// along the manifold as it is. The result is that of options.iterations (>= 1) times
///   Y <- X + t W (X + Y) / 2,  t = clamped_step,  from Y = X + t W X,
/// which converges to the Cayley transform (I - t W / 2)^-1 (I + t W / 2) X. Each rank computes its own
/// columns and the result is gathered: every rank holds the same bits afterwards. A GPU is waited for three
/// times: for the norms before the iteration, for the step lengths, and for the orthogonality after it.
CayleyReport cayley_step(dist::Communicator& comm, std::vector<at::Tensor>& x,
                         const std::vector<at::Tensor>& moments, std::vector<at::Tensor>& momentum,
                         double learning_rate, const CayleyOptions& options);

}  // namespace spq::trainer
