#include "data/tensor_copy.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/error.h"

namespace spq::data {
namespace {

constexpr size_t kCopyPiece = size_t{8} << 20;  // bounds how much of the file is resident at a time
constexpr int64_t kTile = 64;

/// One tile of `height` row segments goes through a small buffer: rows of a matrix are often a power of two
/// apart, where walking down a column in place would keep evicting its own cache lines.
template <class T>
void transpose_tile(const std::byte* from, size_t row_bytes, int64_t height, int64_t width, T* to,
                    int64_t to_stride) {
  std::array<T, kTile * kTile> tile;
  for (int64_t row = 0; row < height; ++row) {
    std::memcpy(tile.data() + row * kTile, from + static_cast<size_t>(row) * row_bytes,
                static_cast<size_t>(width) * sizeof(T));
  }
  for (int64_t column = 0; column < width; ++column) {
    for (int64_t row = 0; row < height; ++row) to[column * to_stride + row] = tile[row * kTile + column];
  }
}

template <class T>
void copy_columns(const MappedMatrix& matrix, int64_t begin, int64_t end, T* to) {
  const size_t row_bytes = static_cast<size_t>(matrix.columns) * sizeof(T);
  const size_t segment_bytes = static_cast<size_t>(end - begin) * sizeof(T);
  for (int64_t row = 0; row < matrix.rows; row += kTile) {
    const int64_t height = std::min(kTile, matrix.rows - row);
    const size_t offset =
        matrix.offset + static_cast<size_t>(row) * row_bytes + static_cast<size_t>(begin) * sizeof(T);
    for (int64_t i = 0; i < height; ++i) {
      matrix.file->prefetch(offset + static_cast<size_t>(i) * row_bytes, segment_bytes);
    }
    for (int64_t column = begin; column < end; column += kTile) {
      const size_t skip = static_cast<size_t>(column - begin);
      transpose_tile(matrix.file->data() + offset + skip * sizeof(T), row_bytes, height,
                     std::min(kTile, end - column), to + (column - begin) * matrix.rows + row, matrix.rows);
    }
    matrix.file->release(offset, static_cast<size_t>(height - 1) * row_bytes + segment_bytes);
  }
}

}  // namespace

void copy_bytes(const MappedFile& file, size_t offset, size_t length, void* to) {
  for (size_t done = 0; done < length; done += kCopyPiece) {
    const size_t piece = std::min(kCopyPiece, length - done);
    file.prefetch(offset + done, piece);
    std::memcpy(static_cast<std::byte*>(to) + done, file.data() + offset + done, piece);
    file.release(offset + done, piece);
  }
}

void copy_columns_transposed(const MappedMatrix& matrix, int64_t begin, int64_t end, void* to) {
  SPQ_ASSERT(matrix.element_size == 2 || matrix.element_size == 4);
  if (begin == end) return;
  if (matrix.element_size == 2) {
    copy_columns(matrix, begin, end, static_cast<uint16_t*>(to));
  } else {
    copy_columns(matrix, begin, end, static_cast<uint32_t*>(to));
  }
}

}  // namespace spq::data
