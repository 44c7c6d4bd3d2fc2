// Row loops compiled for several x86-64 levels in one program: plain C++ that the compiler vectorises, with
// the widest vectors of the machine it runs on.
#pragma once

// Iterations do not depend on one another, though pointers may be equal (work in place).
#if defined(__clang__)
#define SPQ_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define SPQ_INDEPENDENT _Pragma("GCC ivdep")
#else
#define SPQ_INDEPENDENT
#endif

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define SPQ_X86_LEVELS 1
#else
#define SPQ_X86_LEVELS 0
#endif

namespace spq::kernels {

/// What row loops are compiled for. Other processors and compilers: kBaseline only.
enum class Isa { kBaseline, kAvx2, kAvx512 };

/// The best one that this machine can run.
inline Isa best_isa() {
#if SPQ_X86_LEVELS
  static const Isa best = [] {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
      return Isa::kAvx512;
    }
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? Isa::kAvx2 : Isa::kBaseline;
  }();
  return best;
#else
  return Isa::kBaseline;
#endif
}

#if SPQ_X86_LEVELS
// flatten inlines the body and all it calls, so that they are compiled for the level named here.
template <class Body>
[[gnu::target("avx2,fma,bmi2"), gnu::flatten]] void run_avx2(const Body& body) {
  body();
}
template <class Body>
[[gnu::target("avx2,fma,bmi2,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512"), gnu::flatten]] void
run_avx512(const Body& body) {
  body();
}
#endif

/// Calls body() compiled for `isa`, which best_isa() must allow. Everything the body calls must be inline.
template <class Body>
void run_on(Isa isa, const Body& body) {
#if SPQ_X86_LEVELS
  if (isa == Isa::kAvx512) return run_avx512(body);
  if (isa == Isa::kAvx2) return run_avx2(body);
#endif
  static_cast<void>(isa);
  body();
}

template <class Body>
void run_vectorised(const Body& body) {
  run_on(best_isa(), body);
}

}  // namespace spq::kernels
