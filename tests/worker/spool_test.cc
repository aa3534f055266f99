#include "worker/spool.h"

#include <string>

#include <catch2/catch.hpp>

#include "base/file.h"
#include "tests/worker/scratch.h"

namespace rung {
namespace {

v1::ReportRequest MakeReport(int64_t trial) {
  v1::ReportRequest report;
  report.set_request_id("request-" + std::to_string(trial));
  report.mutable_attempt()->set_trial(trial);
  report.mutable_result()->set_charged(0.5);
  return report;
}

TEST_CASE("the next process reads what was left, in order") {
  const Scratch scratch;
  const std::string path = scratch.path("spool");
  {
    auto spool = Spool::Open(path);
    REQUIRE(spool.ok());
    CHECK(spool->reports().empty());
    for (int64_t trial = 1; trial <= 3; ++trial) REQUIRE(spool->Add(MakeReport(trial)).ok());
    REQUIRE(spool->Remove("request-2").ok());
    REQUIRE(spool->Remove("unknown").ok());
  }
  const auto spool = Spool::Open(path);
  REQUIRE(spool.ok());
  REQUIRE(spool->reports().size() == 2);
  CHECK(spool->reports()[0].SerializeAsString() == MakeReport(1).SerializeAsString());
  CHECK(spool->reports()[1].SerializeAsString() == MakeReport(3).SerializeAsString());
  CHECK(!spool->damaged());
}

TEST_CASE("a torn write loses the record that was being written and no other") {
  const Scratch scratch;
  const std::string path = scratch.path("spool");
  size_t first_size = 0;
  {
    auto spool = Spool::Open(path);
    REQUIRE(spool->Add(MakeReport(1)).ok());
    first_size = ReadFile(path)->size();
    REQUIRE(spool->Add(MakeReport(2)).ok());
  }
  const std::string whole = *ReadFile(path);
  for (size_t size = 0; size <= whole.size(); ++size) {
    REQUIRE(WriteFileAtomic(path, whole.substr(0, size)).ok());
    auto spool = Spool::Open(path);
    REQUIRE(spool.ok());
    const size_t expected = size == whole.size() ? 2U : size >= first_size ? 1U : 0U;
    CHECK(spool->reports().size() == expected);
    CHECK(spool->damaged() == (size != 0 && size != first_size && size != whole.size()));
    // What comes after a torn record must be readable again.
    REQUIRE(spool->Add(MakeReport(9)).ok());
    CHECK(Spool::Open(path)->reports().size() == expected + 1);
  }
}

TEST_CASE("a flipped bit is found by the hash") {
  const Scratch scratch;
  const std::string path = scratch.path("spool");
  REQUIRE(Spool::Open(path)->Add(MakeReport(1)).ok());
  std::string bytes = *ReadFile(path);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  REQUIRE(WriteFileAtomic(path, bytes).ok());
  const auto spool = Spool::Open(path);
  REQUIRE(spool.ok());
  CHECK(spool->reports().empty());
  CHECK(spool->damaged());
  CHECK(*ReadFile(path + ".damaged") == bytes);
}

}  // namespace
}  // namespace rung
