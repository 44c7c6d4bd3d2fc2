#include "dist/same_everywhere.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/error.h"
#include "dist/thread_communicator.h"

namespace spq::dist {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// One statement a rank: two hosts with `ranks_per_host` ranks each, all with the same facts.
std::vector<Statement> two_hosts(int ranks_per_host) {
  std::vector<Statement> statements;
  for (const char* host : {"a", "b"}) {
    for (int i = 0; i < ranks_per_host; ++i) {
      statements.push_back({host, {{"program", "11"}, {"model weights", "22"}, {"tokens", "33"}}});
    }
  }
  return statements;
}

std::string error_of_ranks(int world_size, const std::function<void(Communicator&)>& body) {
  try {
    run_ranks(world_size, body);
  } catch (const AgreedError& error) {
    return error.what();
  }
  return "no AgreedError";
}

TEST(FirstDifference, IsNothingWhenAllStateTheSame) {
  EXPECT_EQ(first_difference(two_hosts(3)), std::nullopt);
}

TEST(FirstDifference, NamesTheFactAndTheHostsAndRanksOnEachSide) {
  std::vector<Statement> statements = two_hosts(4);
  for (size_t rank = 4; rank < 8; ++rank) statements[rank].facts[1].value = "77";
  EXPECT_EQ(first_difference(statements),
            "not the same on all ranks: model weights: 22 on host a (ranks 0-3); 77 on host b (ranks 4-7)");
}

TEST(FirstDifference, NamesARankThatDiffersFromOthersOfItsHost) {
  std::vector<Statement> statements = two_hosts(3);
  statements[1].facts[2].value = "34";
  EXPECT_EQ(first_difference(statements),
            "not the same on all ranks: tokens: 33 on host a (ranks 0, 2), host b (ranks 3-5); 34 on host a "
            "(rank 1)");
}

TEST(FirstDifference, NamesOthersThatDifferToo) {
  std::vector<Statement> statements = two_hosts(1);
  statements[1].facts[0].value = "12";
  statements[1].facts[2].value = "34";
  EXPECT_EQ(
      first_difference(statements),
      "not the same on all ranks: program: 11 on host a (rank 0); 12 on host b (rank 1) (nor are: tokens)");
}

TEST(FirstDifference, NamesAFactThatOnlySomeRanksState) {
  std::vector<Statement> statements = two_hosts(1);
  statements[1].facts.push_back({"NCCL", "2.27"});
  EXPECT_EQ(first_difference(statements),
            "not the same on all ranks: NCCL: nothing on host a (rank 0); 2.27 on host b (rank 1)");
  statements[1].facts.pop_back();
  statements[1].facts.pop_back();
  EXPECT_THAT(first_difference(statements).value_or(""),
              HasSubstr("tokens: 33 on host a (rank 0); nothing on host b (rank 1)"));
}

TEST(FirstDifference, StaysShortWhenEveryHostDiffers) {
  std::vector<Statement> statements;
  for (int host = 0; host < 64; ++host) {
    statements.push_back({fmt::format("n{}", host), {{"program", fmt::format("v{}", host % 16)}}});
  }
  const std::string line = first_difference(statements).value_or("");
  EXPECT_THAT(line, HasSubstr("v0 on host n0 (rank 0), host n16 (rank 16), host n32 (rank 32)"));
  EXPECT_THAT(line, HasSubstr("v3 on host n3"));
  EXPECT_THAT(line, HasSubstr(" and 12 more"));
  EXPECT_THAT(line, Not(HasSubstr("v4 on")));
  EXPECT_LT(line.size(), 600u);
}

TEST(CheckSameEverywhere, PassesOnEqualFacts) {
  int calls = 0;
  run_ranks(3, [&](Communicator& comm) {
    check_same_everywhere(comm, [&] {
      if (comm.rank() == 0) ++calls;
      return std::vector<Fact>{{"program", "11"}, {"empty", ""}};
    });
  });
  EXPECT_EQ(calls, 1);
}

TEST(CheckSameEverywhere, RefusesOnAllRanksWithOneText) {
  const std::string error = error_of_ranks(4, [](Communicator& comm) {
    check_same_everywhere(comm, [&] {
      return std::vector<Fact>{{"program", "11"}, {"tokens", comm.rank() == 2 ? "" : "33"}, {"rest", "44"}};
    });
  });
  EXPECT_THAT(error, HasSubstr("not the same on all ranks: tokens: 33 on host "));
  EXPECT_THAT(error, HasSubstr(" (ranks 0-1, 3);  on host "));
  EXPECT_THAT(error, Not(HasSubstr("nor are")));
}

TEST(CheckSameEverywhere, TellsWhatStoppedARankFromStatingItsFacts) {
  const std::string error = error_of_ranks(3, [](Communicator& comm) {
    check_same_everywhere(comm, [&] {
      if (comm.rank() == 1) fail("model.safetensors: cannot open");
      return std::vector<Fact>{};
    });
  });
  EXPECT_EQ(error, "rank 1: model.safetensors: cannot open");
}

TEST(CheckSameEverywhere, DoesNotAskASingleRank) {
  run_ranks(1, [](Communicator& comm) {
    check_same_everywhere(comm, []() -> std::vector<Fact> { fail("not to be called"); });
  });
}

TEST(LibraryFacts, HoldTheVersionsOfBothLibraries) {
  const std::vector<Fact> facts = library_facts();
  ASSERT_EQ(facts.size(), 2u);
  EXPECT_EQ(facts[0].name, "LibTorch");
  EXPECT_THAT(facts[0].value, ::testing::MatchesRegex("[0-9]+\\.[0-9]+.* \\(commit [0-9a-f]+\\)"));
  EXPECT_EQ(facts[1].name, "MPI library");
  EXPECT_THAT(facts[1].value, ::testing::MatchesRegex("[^,\n]+[0-9][^,\n]*"));
}

}  // namespace
}  // namespace spq::dist
