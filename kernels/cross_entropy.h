// Softmax cross entropy of rows of logits, with the gradient written over them.
#pragma once

#include <cstdint>

namespace spq::kernels {

/// losses[r] = log(sum_j e^x_j) - x_target for every row x of logits [rows, vocab], targets[r] < vocab. With
/// grad_scale other than 0 the row becomes grad_scale (softmax(x) - onehot(target)). bf16 is computed in fp32
/// and rounded once. A NaN or +infinity in a row makes its loss NaN, as does a row of -infinity.
template <class T>
void cross_entropy_rows(T* logits, const int64_t* targets, double* losses, int64_t rows, int64_t vocab,
                        double grad_scale);

}  // namespace spq::kernels
