// libtorch_cuda.so is loaded at run time, and only where a GPU is wanted. Here: that it and all it needs are
// found from a program of this build, without help from the environment, also where there is no driver.
#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <string>

namespace spq::test {
namespace {

// Files that are mapped into this process and whose name contains `part`.
std::set<std::string> mapped_files(const std::string& part) {
  std::set<std::string> files;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const size_t path = line.find('/');
    if (path != std::string::npos && line.find(part, path) != std::string::npos)
      files.insert(line.substr(path));
  }
  return files;
}

TEST(CudaLibraries, LibtorchCudaIsFoundWithAllItNeedsAndOneCudaRuntime) {
  EXPECT_EQ(at::ones({2}).numel(), 2);  // libtorch_cpu is there, as in every program
  EXPECT_TRUE(mapped_files("libtorch_cuda.so").empty()) << "it costs seconds at every start";
  void* library = dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL);
  ASSERT_NE(library, nullptr) << dlerror();
  EXPECT_EQ(mapped_files("libcudart").size(), 1u);
  EXPECT_EQ(mapped_files("libnccl").size(), 1u);
}

}  // namespace
}  // namespace spq::test
