#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <string>

#include "dist/mpi_communicator.h"

namespace spq::dist {
namespace {

// Each test begins without the launchers' variables; what was there is put back.
class Launch : public ::testing::Test {
 protected:
  Launch() {
    for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
      const char* value = std::getenv(name);
      before_[name] = value ? std::optional<std::string>(value) : std::nullopt;
      unsetenv(name);
    }
  }
  ~Launch() override {
    for (const auto& [name, value] : before_) {
      value ? setenv(name.c_str(), value->c_str(), 1) : unsetenv(name.c_str());
    }
  }

 private:
  std::map<std::string, std::optional<std::string>> before_;
};

TEST_F(Launch, IsPlainWithoutALaunchersVariables) {
  EXPECT_FALSE(launched_by_mpi());
}

TEST_F(Launch, IsByMpiWithAnyLaunchersVariable) {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    setenv(name, "0", 1);
    EXPECT_TRUE(launched_by_mpi()) << name;
    unsetenv(name);
  }
}

}  // namespace
}  // namespace spq::dist
