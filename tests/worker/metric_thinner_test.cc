#include "worker/metric_thinner.h"

#include <catch2/catch.hpp>

namespace rung {
namespace {

constexpr absl::Duration kStart = absl::Hours(5);

MetricMessage Line(int64_t step, std::map<std::string, double> values) {
  return {step, static_cast<double>(step) / 10, std::move(values)};
}

TEST_CASE("a burst is told as it comes, then one line a second, and the last of all") {
  MetricThinner thinner;
  int64_t step = 0;
  for (; step < static_cast<int64_t>(MetricThinner::kBurst); ++step) {
    const auto told = thinner.Add(Line(step, {{"loss", 1}}), kStart);
    REQUIRE(told.size() == 1);
    CHECK(told[0].step == step);
  }
  for (; step < 1000; ++step) CHECK(thinner.Add(Line(step, {{"loss", 2}}), kStart).empty());
  const auto later = thinner.Add(Line(1000, {{"loss", 3}}), kStart + absl::Seconds(1));
  REQUIRE(later.size() == 1);
  CHECK(later[0].step == 1000);
  CHECK(later[0].budget == 100);
  CHECK(later[0].values.at("loss") == 3);
  CHECK(thinner.Rest().empty());
  CHECK(thinner.Add(Line(1001, {{"loss", 4}}), kStart + absl::Seconds(1.5)).empty());
  CHECK(thinner.Add(Line(1002, {{"loss", 5}}), kStart + absl::Seconds(1.5)).empty());
  const auto rest = thinner.Rest();
  REQUIRE(rest.size() == 1);
  CHECK(rest[0].step == 1002);
}

TEST_CASE("what waits is not lost to other metrics that come more often") {
  MetricThinner thinner;
  for (int64_t step = 0; step < 100; ++step) thinner.Add(Line(step, {{"loss", 1}}), kStart);
  CHECK(thinner.Add(Line(100, {{"loss", 1}, {"accuracy", .5}}), kStart).empty());
  CHECK(thinner.Add(Line(101, {{"loss", 2}}), kStart).empty());
  const auto told = thinner.Add(Line(102, {{"loss", 3}}), kStart + absl::Seconds(2));
  REQUIRE(told.size() == 2);
  CHECK(told[0].step == 100);
  CHECK(told[0].values == std::map<std::string, double>{{"accuracy", .5}});
  CHECK(told[1].step == 102);
  CHECK(told[1].values == std::map<std::string, double>{{"loss", 3}});
}

TEST_CASE("a line without values says how far the trainer is") {
  MetricThinner thinner;
  const auto told = thinner.Add(Line(7, {}), kStart);
  REQUIRE(told.size() == 1);
  CHECK(told[0].step == 7);
}

TEST_CASE("names without end do not wait together") {
  MetricThinner thinner;
  for (int64_t step = 0; step < 100; ++step) thinner.Add(Line(step, {{"loss", 1}}), kStart);
  for (int64_t step = 100; step < 5000; ++step)
    CHECK(thinner.Add(Line(step, {{"m" + std::to_string(step), 1}}), kStart).empty());
  CHECK(thinner.Rest().size() == MetricThinner::kMaxHeld);
}

}  // namespace
}  // namespace rung
