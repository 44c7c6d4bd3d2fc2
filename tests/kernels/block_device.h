// Where the comparisons of block_cases.h run: memory of a device, and the way there and back.
#pragma once

#include <cstring>
#include <new>
#include <vector>

#include "kernels/blocks.h"

namespace spq::kernels::test {

class BlockDevice {
 public:
  virtual ~BlockDevice() = default;
  virtual BlockTarget target() const = 0;
  virtual void* allocate(size_t bytes) = 0;
  virtual void release(void* memory) = 0;
  virtual void copy_in(void* to, const void* from, size_t bytes) = 0;
  virtual void copy_out(void* to, const void* from, size_t bytes) = 0;
};

/// Memory of exactly the size asked for, so that AddressSanitizer sees what lies beyond.
class HostDevice : public BlockDevice {
 public:
  explicit HostDevice(bool reversed = false) : reversed_(reversed) {}
  BlockTarget target() const override {
    return reversed_ ? BlockTarget::host_reversed() : BlockTarget::host();
  }
  void* allocate(size_t bytes) override { return ::operator new(bytes, kLine); }
  void release(void* memory) override { ::operator delete(memory, kLine); }
  void copy_in(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void copy_out(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }

 private:
  static constexpr std::align_val_t kLine{64};
  bool reversed_;
};

/// A copy of `values` on a device, `offset` values behind an aligned address.
template <class T>
class OnDevice {
 public:
  OnDevice(BlockDevice& device, const std::vector<T>& values, size_t offset = 0)
      : device_(device), count_(values.size()) {
    memory_ = static_cast<T*>(device.allocate((count_ + offset) * sizeof(T)));
    data_ = memory_ + offset;
    device.copy_in(data_, values.data(), count_ * sizeof(T));
  }
  ~OnDevice() { device_.release(memory_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  T* data() { return data_; }
  std::vector<T> values() const {
    std::vector<T> copy(count_);
    device_.copy_out(copy.data(), data_, count_ * sizeof(T));
    return copy;
  }

 private:
  BlockDevice& device_;
  size_t count_;
  T* memory_;
  T* data_;
};

}  // namespace spq::kernels::test
