#include "model/bf16_attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <cmath>

#include "kernels/bfloat16.h"
#include "kernels/softmax_gradient.h"
#include "model/bf16_product.h"
#include "model/rows.h"

namespace spq::model {
namespace {

using kernels::bfloat16;

// Scores that are in work at a time. A tile's scores, gradients and factors stay in a second-level cache of
// 2 MiB: beyond it MKL's products take two to three times as long.
constexpr int64_t kRows = 256;
constexpr int64_t kKeys = 256;

// A task: some query heads that read one key/value head, of one sequence. Their rows lie side by side, token
// by token: row r of a block is head r % heads of token r / heads.
struct Division {
  int64_t parts;  // tasks for each key/value head
  int64_t heads;  // of a task
  int64_t tasks;
  int64_t threads;  // at work
  int64_t tokens;   // of a block
  int64_t rows;
  int64_t keys;  // of a tile
};

Division divide(const AttentionShape& s, int64_t threads) {
  const int64_t sharing = s.heads / s.kv_heads;
  Division d{};
  d.parts = 1;
  while (d.parts < sharing && (s.batch * s.kv_heads * d.parts < threads || sharing % d.parts != 0)) ++d.parts;
  d.heads = sharing / d.parts;
  d.tasks = s.batch * s.kv_heads * d.parts;
  d.threads = std::min(threads, d.tasks);
  d.tokens = std::min(s.length, std::max<int64_t>(1, kRows / d.heads));
  d.rows = d.tokens * d.heads;
  d.keys = std::min(s.length, kKeys);
  return d;
}

// Numbers of which each thread has its own, and gradients of keys and values in fp32: a thread's own too, or
// a task's where they are added up at the end.
struct Sizes {
  int64_t tile, block, rows, sums;
};

Sizes sizes(const AttentionShape& s, const Division& d) {
  return {d.rows * d.keys, d.rows * s.head_dim, d.rows, s.length * s.head_dim};
}

int64_t sums_kept(const Division& d) {
  return d.parts == 1 ? d.threads : d.tasks;
}

struct Workspace {
  at::Tensor scores;   // [threads, 2, tile]: scores, gradients of probabilities
  at::Tensor factors;  // [threads, 2, tile], bf16: probabilities, gradients of scores
  at::Tensor inputs;   // [threads, 2, block], bf16: queries, gradients of their outputs
  at::Tensor query;    // [threads, block]: gradients of queries
  at::Tensor rows;     // [threads, 2, rows]: logsumexp, delta
  at::Tensor sums;     // [kept, 2, length * head_dim]: gradients of keys, of values
};

Workspace make_workspace(const AttentionShape& s, const Division& d) {
  const Sizes n = sizes(s, d);
  const auto floats = at::TensorOptions(at::kFloat), halves = at::TensorOptions(at::kBFloat16);
  return {at::empty({d.threads, 2, n.tile}, floats),  at::empty({d.threads, 2, n.tile}, halves),
          at::empty({d.threads, 2, n.block}, halves), at::empty({d.threads, n.block}, floats),
          at::empty({d.threads, 2, n.rows}, floats),  at::empty({sums_kept(d), 2, n.sums}, floats)};
}

template <class T>
T* slot(const at::Tensor& t, int64_t thread, int64_t which = 0) {
  const int64_t row = t.dim() == 3 ? thread * t.size(1) + which : thread;
  return row_data<T>(t) + row * t.size(-1);
}

struct Problem {
  AttentionShape s;
  Division d;
  float scale;
  at::Tensor grad_out, q, k, v, out, logsumexp;  // contiguous but for logsumexp [batch, heads, length]
  AttentionGradients gradients;
  Workspace work;
};

class Task {
 public:
  Task(const Problem& problem, int64_t task, int64_t thread)
      : p_(problem),
        s_(problem.s),
        d_(problem.d),
        sequence_(task / (d_.parts * s_.kv_heads)),
        key_head_(task / d_.parts % s_.kv_heads),
        head_(task % (d_.parts * s_.kv_heads) * d_.heads),
        scores_(slot<float>(p_.work.scores, thread, 0)),
        gradients_(slot<float>(p_.work.scores, thread, 1)),
        probabilities_(slot<bfloat16>(p_.work.factors, thread, 0)),
        score_gradients_(slot<bfloat16>(p_.work.factors, thread, 1)),
        queries_(slot<bfloat16>(p_.work.inputs, thread, 0)),
        output_gradients_(slot<bfloat16>(p_.work.inputs, thread, 1)),
        query_gradients_(slot<float>(p_.work.query, thread)),
        logsumexp_(slot<float>(p_.work.rows, thread, 0)),
        delta_(slot<float>(p_.work.rows, thread, 1)),
        key_sums_(slot<float>(p_.work.sums, d_.parts == 1 ? thread : task, 0)),
        value_sums_(slot<float>(p_.work.sums, d_.parts == 1 ? thread : task, 1)) {}

  // The last block comes first: it sees all keys, so that what it finds need not be added to anything.
  void run() const {
    const int64_t blocks = (s_.length + d_.tokens - 1) / d_.tokens;
    for (int64_t b = blocks - 1; b >= 0; --b) {
      const int64_t first = b * d_.tokens;
      block(first, std::min(d_.tokens, s_.length - first));
    }
    if (d_.parts == 1) store_sums();
  }

  // Of all tasks of this one's key/value head, from the first of them.
  void store_sums() const {
    const int64_t stride = 2 * s_.length * s_.head_dim;
    for (int64_t t = 0; t < s_.length; ++t) {
      const int64_t from = t * s_.head_dim, to = key_offset(t);
      kernels::narrow_sum(key_sums_ + from, d_.parts, stride, data(p_.gradients.k) + to, s_.head_dim);
      kernels::narrow_sum(value_sums_ + from, d_.parts, stride, data(p_.gradients.v) + to, s_.head_dim);
    }
  }

 private:
  static bfloat16* data(const at::Tensor& t) { return row_data<bfloat16>(t); }
  int64_t query_offset(int64_t token) const {
    return ((sequence_ * s_.length + token) * s_.heads + head_) * s_.head_dim;
  }
  int64_t key_offset(int64_t token) const {
    return ((sequence_ * s_.length + token) * s_.kv_heads + key_head_) * s_.head_dim;
  }

  void block(int64_t first, int64_t tokens) const {
    gather(first, tokens);
    const int64_t keys = first + tokens;
    for (int64_t key = 0; key < keys; key += d_.keys) {
      tile(first, tokens, key, std::min(d_.keys, keys - key));
    }
    const int64_t width = d_.heads * s_.head_dim;
    for (int64_t t = 0; t < tokens; ++t) {
      kernels::narrow_sum(query_gradients_ + t * width, 1, 0, data(p_.gradients.q) + query_offset(first + t),
                          width);
    }
  }

  void gather(int64_t first, int64_t tokens) const {
    const int64_t width = d_.heads * s_.head_dim;
    const auto logsumexp = p_.logsumexp.accessor<float, 3>()[sequence_];
    for (int64_t t = 0; t < tokens; ++t) {
      const int64_t from = query_offset(first + t);
      const bfloat16* grad = data(p_.grad_out) + from;
      std::copy_n(data(p_.q) + from, width, queries_ + t * width);
      std::copy_n(grad, width, output_gradients_ + t * width);
      kernels::dot_rows(grad, data(p_.out) + from, delta_ + t * d_.heads, d_.heads, s_.head_dim, p_.scale);
      for (int64_t h = 0; h < d_.heads; ++h) {
        logsumexp_[t * d_.heads + h] = logsumexp[head_ + h][first + t];
      }
    }
  }

  void tile(int64_t first, int64_t tokens, int64_t key, int64_t keys) const {
    const int64_t rows = tokens * d_.heads, dim = s_.head_dim, stride = s_.kv_heads * dim;
    const bfloat16* k = data(p_.k) + key_offset(key);
    const bfloat16* v = data(p_.v) + key_offset(key);
    bf16_product(scores_, {rows, keys, dim}, {queries_, dim}, {k, stride, true}, false);
    bf16_product(gradients_, {rows, keys, dim}, {output_gradients_, dim}, {v, stride, true}, false);
    kernels::softmax_gradient({scores_, gradients_, rows, keys, first + 1 - key, d_.heads},
                              {logsumexp_, delta_, p_.scale}, probabilities_, score_gradients_);
    const bool add = first + tokens < s_.length;
    bf16_product(value_sums_ + key * dim, {keys, dim, rows}, {probabilities_, keys, true},
                 {output_gradients_, dim}, add);
    bf16_product(key_sums_ + key * dim, {keys, dim, rows}, {score_gradients_, keys, true}, {queries_, dim},
                 add);
    bf16_product(query_gradients_, {rows, dim, keys}, {score_gradients_, keys}, {k, stride}, key > 0);
  }

  const Problem& p_;
  const AttentionShape& s_;
  const Division& d_;
  int64_t sequence_, key_head_, head_;
  float *scores_, *gradients_;
  bfloat16 *probabilities_, *score_gradients_, *queries_, *output_gradients_;
  float *query_gradients_, *logsumexp_, *delta_, *key_sums_, *value_sums_;
};

}  // namespace

bool has_bf16_attention(const at::Tensor& q) {
  return !q.is_cuda() && q.scalar_type() == at::kBFloat16 && q.numel() > 0 && multiplies_bf16();
}

AttentionGradients bf16_attention_backward(const at::Tensor& grad_out, const at::Tensor& q,
                                           const at::Tensor& k, const at::Tensor& v,
                                           const AttentionResult& forward, const AttentionShape& s) {
  const Division d = divide(s, at::get_num_threads());
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(s.head_dim)));
  const auto like = [](const at::Tensor& x) { return at::empty_like(x, at::MemoryFormat::Contiguous); };
  const Problem problem{s,
                        d,
                        scale,
                        grad_out.contiguous(),
                        q.contiguous(),
                        k.contiguous(),
                        v.contiguous(),
                        forward.out.contiguous(),
                        forward.logsumexp,
                        {like(q), like(k), like(v)},
                        make_workspace(s, d)};
  for_tasks(d.tasks, [&](int64_t first, int64_t last) {
    for (int64_t task = first; task < last; ++task) Task(problem, task, at::get_thread_num()).run();
  });
  if (d.parts > 1) {
    for_tasks(d.tasks / d.parts, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) Task(problem, i * d.parts, 0).store_sums();
    });
  }
  return problem.gradients;
}

int64_t bf16_attention_scratch(const AttentionShape& s, int threads) {
  const Division d = divide(s, threads);
  const Sizes n = sizes(s, d);
  const int64_t floats = 2 * n.tile + n.block + 2 * n.rows, halves = 2 * n.tile + 2 * n.block;
  return d.threads * (4 * floats + 2 * halves) + sums_kept(d) * 2 * n.sums * 4;
}

}  // namespace spq::model
