#include "memory_watch.h"

#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
// Part of the sanitizer's runtime library; GCC ships no header for it.
extern "C" {
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void*, size_t),
                                              void (*on_free)(const volatile void*));
size_t __sanitizer_get_allocated_size(const volatile void* memory);
}
#endif

namespace spq::fuzz {
namespace {

// Not a class: malloc itself writes here, before any constructor has run.
std::atomic<bool> watching{false};
std::atomic<int64_t> live{0};
std::atomic<int64_t> peak{0};
std::atomic<int64_t> allowed{0};
std::atomic<OnExcess> excess{nullptr};

void note_request(size_t size) {
  if (!watching.load(std::memory_order_relaxed)) return;
  constexpr size_t kEnough = size_t{1} << 62;  // no sum of such numbers is negative
  const auto bytes = static_cast<int64_t>(size < kEnough ? size : kEnough);
  // Below zero when memory from before the start was released.
  const int64_t now = live.fetch_add(bytes) + bytes;
  if (now > peak.load()) peak.store(now);
  if (now > allowed.load()) excess.load()(now);
}

void note_release(size_t size) {
  if (watching.load(std::memory_order_relaxed)) live.fetch_sub(static_cast<int64_t>(size));
}

#if defined(__SANITIZE_ADDRESS__)
void on_malloc(const volatile void*, size_t size) {
  note_request(size);
}

void on_free(const volatile void* memory) {
  if (memory != nullptr) note_release(__sanitizer_get_allocated_size(memory));
}

[[maybe_unused]] const int installed = __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
#else
/// A request that was not granted counts, too: nobody has touched the memory of one that was.
void* noted(void* memory, size_t size) {
  note_request(memory != nullptr ? malloc_usable_size(memory) : size);
  return memory;
}
#endif

}  // namespace

void start_memory_watch(int64_t limit, OnExcess on_excess) {
  live = 0;
  peak = 0;
  allowed = limit;
  excess = on_excess;
  watching = true;
}

int64_t stop_memory_watch() {
  watching = false;
  return peak;
}

}  // namespace spq::fuzz

#if !defined(__SANITIZE_ADDRESS__)
// Replaces glibc's functions for the whole process, shared libraries included.
extern "C" {

void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* memory);

void* malloc(size_t size) {
  return spq::fuzz::noted(__libc_malloc(size), size);
}

void* calloc(size_t count, size_t size) {
  size_t total = 0;
  if (__builtin_mul_overflow(count, size, &total)) return nullptr;
  return spq::fuzz::noted(__libc_calloc(count, size), total);
}

void* realloc(void* memory, size_t size) {
  if (memory != nullptr) spq::fuzz::note_release(malloc_usable_size(memory));
  return spq::fuzz::noted(__libc_realloc(memory, size), size);
}

void* memalign(size_t alignment, size_t size) {
  return spq::fuzz::noted(__libc_memalign(alignment, size), size);
}

void* aligned_alloc(size_t alignment, size_t size) {
  return memalign(alignment, size);
}

int posix_memalign(void** memory, size_t alignment, size_t size) {
  *memory = memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}

void free(void* memory) {
  if (memory != nullptr) spq::fuzz::note_release(malloc_usable_size(memory));
  __libc_free(memory);
}

}  // extern "C"
#endif
