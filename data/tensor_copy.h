// Copies out of a mapped tensor: only the bytes that are asked for become resident, and only for as long as
// the copy takes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "data/mapped_file.h"

namespace spq::data {

/// Copies `length` bytes from `offset` on to `to`.
void copy_bytes(const MappedFile& file, size_t offset, size_t length, void* to);

/// A matrix inside a mapped file.
struct MappedMatrix {
  const MappedFile* file = nullptr;
  size_t offset = 0;  // of its first byte; not necessarily aligned
  int64_t rows = 0;
  int64_t columns = 0;
  size_t element_size = 0;  // 2 or 4
};

/// Writes columns [begin, end), transposed, to `to`: (end - begin) rows of matrix.rows elements. Reads row
/// segments only.
void copy_columns_transposed(const MappedMatrix& matrix, int64_t begin, int64_t end, void* to);

}  // namespace spq::data
