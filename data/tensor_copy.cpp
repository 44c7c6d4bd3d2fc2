#include "data/tensor_copy.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "core/error.h"

namespace spq::data {
namespace {

constexpr size_t kCopyPiece = size_t{1} << 20;  // bounds how much of the file is resident at a time
constexpr int64_t kTileRows = 256;  // of the matrix; long runs on both sides keep address translation cheap
constexpr int64_t kTileColumns = 512;

/// The square of elements that is transposed in registers: as many as fit into 16 bytes, squared.
template <class T>
struct Block {
  static constexpr int64_t kSize = 16 / sizeof(T);
  typedef T Row __attribute__((vector_size(16)));
};

template <class T, int64_t... kLane>
void interleave(typename Block<T>::Row (&rows)[Block<T>::kSize],
                std::integer_sequence<int64_t, kLane...> /*lanes*/) {
  constexpr int64_t kSize = Block<T>::kSize;
  typename Block<T>::Row next[kSize];
  for (int64_t i = 0; i < kSize / 2; ++i) {
    const auto a = rows[i];
    const auto b = rows[i + kSize / 2];
    next[2 * i] = __builtin_shufflevector(a, b, (kLane / 2 + kLane % 2 * kSize)...);
    next[2 * i + 1] = __builtin_shufflevector(a, b, (kSize / 2 + kLane / 2 + kLane % 2 * kSize)...);
  }
  std::memcpy(rows, next, sizeof(next));
}

/// Each interleaving of the first half of the rows with the second is one step of a perfect shuffle of all
/// elements; log2(size) of them exchange rows and columns.
template <class T>
void transpose_block(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
  constexpr int64_t kSize = Block<T>::kSize;
  typename Block<T>::Row rows[kSize];
  for (int64_t i = 0; i < kSize; ++i) std::memcpy(&rows[i], from + i * from_stride, sizeof(rows[i]));
  for (int64_t done = 1; done < kSize; done *= 2) {
    interleave<T>(rows, std::make_integer_sequence<int64_t, kSize>());
  }
  for (int64_t i = 0; i < kSize; ++i) std::memcpy(to + i * to_stride, &rows[i], sizeof(rows[i]));
}

/// A tile of `height` row segments, kTileColumns apart -> `width` rows, to_stride apart.
template <class T>
void transpose_tile(const T* tile, int64_t height, int64_t width, T* to, int64_t to_stride) {
  constexpr int64_t kSize = Block<T>::kSize;
  const int64_t whole_height = height / kSize * kSize;
  const int64_t whole_width = width / kSize * kSize;
  for (int64_t column = 0; column < whole_width; column += kSize) {
    for (int64_t row = 0; row < whole_height; row += kSize) {
      transpose_block(tile + row * kTileColumns + column, kTileColumns, to + column * to_stride + row,
                      to_stride);
    }
  }
  for (int64_t column = 0; column < width; ++column) {
    for (int64_t row = column < whole_width ? whole_height : 0; row < height; ++row) {
      to[column * to_stride + row] = tile[row * kTileColumns + column];
    }
  }
}

/// Row segments go through a small buffer: rows of a matrix are often a power of two apart, where walking
/// down a column in place would keep evicting its own cache lines.
template <class T>
void copy_columns(const MappedMatrix& matrix, int64_t begin, int64_t end, T* to) {
  const size_t row_bytes = static_cast<size_t>(matrix.columns) * sizeof(T);
  const size_t segment_bytes = static_cast<size_t>(end - begin) * sizeof(T);
  std::vector<T> tile(kTileRows * kTileColumns);
  for (int64_t row = 0; row < matrix.rows; row += kTileRows) {
    const int64_t height = std::min(kTileRows, matrix.rows - row);
    const size_t offset =
        matrix.offset + static_cast<size_t>(row) * row_bytes + static_cast<size_t>(begin) * sizeof(T);
    for (int64_t i = 0; i < height; ++i) {
      matrix.file->prefetch(offset + static_cast<size_t>(i) * row_bytes, segment_bytes);
    }
    for (int64_t column = begin; column < end; column += kTileColumns) {
      const int64_t width = std::min(kTileColumns, end - column);
      const std::byte* from = matrix.file->data() + offset + static_cast<size_t>(column - begin) * sizeof(T);
      for (int64_t i = 0; i < height; ++i) {
        std::memcpy(tile.data() + i * kTileColumns, from + static_cast<size_t>(i) * row_bytes,
                    static_cast<size_t>(width) * sizeof(T));
      }
      transpose_tile(tile.data(), height, width, to + (column - begin) * matrix.rows + row, matrix.rows);
    }
    matrix.file->release(offset, static_cast<size_t>(height - 1) * row_bytes + segment_bytes);
  }
}

/// Takes the pages of new memory all at once, which costs less than a page fault for each. Where the kernel
/// cannot, the first write to each page takes it.
void take_pages(void* data, size_t length) {
#ifdef MADV_POPULATE_WRITE
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<uintptr_t>(data);
  const uintptr_t begin = (first + page - 1) / page * page;
  const uintptr_t end = (first + length) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_POPULATE_WRITE);
#endif
}

}  // namespace

void copy_bytes(const MappedFile& file, size_t offset, size_t length, void* to) {
  const auto piece_at = [length](size_t done) { return std::min(kCopyPiece, length - done); };
  file.prefetch(offset, piece_at(0));
  for (size_t done = 0; done < length; done += kCopyPiece) {
    const size_t piece = piece_at(done);
    std::byte* const target = static_cast<std::byte*>(to) + done;
    file.prefetch(offset + done + piece, piece_at(done + piece));  // is read while this piece is copied
    take_pages(target, piece);
    std::memcpy(target, file.data() + offset + done, piece);
    file.release(offset + done, piece);
  }
}

void copy_columns_transposed(const MappedMatrix& matrix, int64_t begin, int64_t end, void* to) {
  SPQ_ASSERT(matrix.element_size == 2 || matrix.element_size == 4);
  if (begin == end) return;
  take_pages(to, static_cast<size_t>((end - begin) * matrix.rows) * matrix.element_size);
  if (matrix.element_size == 2) {
    copy_columns(matrix, begin, end, static_cast<uint16_t*>(to));
  } else {
    copy_columns(matrix, begin, end, static_cast<uint32_t*>(to));
  }
}

}  // namespace spq::data
