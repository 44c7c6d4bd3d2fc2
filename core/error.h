// Errors that a user or the world causes: thrown as spq::Error, caught once in main.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace spq {

/// What went wrong, in one line that names the file, line or key, what was found and what was expected.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// An Error that every rank throws at the same point with the same text: the job can end in order, and rank 0
/// speaks for all.
class AgreedError : public Error {
 public:
  using Error::Error;
};

/// Throws Error with a formatted message.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

/// Throws Error with a formatted message unless `ok`.
template <class... Args>
void check(bool ok, fmt::format_string<Args...> format, Args&&... args) {
  if (!ok) throw Error(fmt::format(format, std::forward<Args>(args)...));
}

/// Reports a broken invariant of our own code and aborts the process.
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);

}  // namespace spq

/// For our own bugs only, never for input: prints the condition with file and line, then aborts.
#define SPQ_ASSERT(condition) \
  ((condition) ? static_cast<void>(0) : ::spq::assertion_failed(#condition, __FILE__, __LINE__))
