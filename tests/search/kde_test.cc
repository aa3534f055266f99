#include "search/samplers/kde.h"

#include <catch2/catch.hpp>
#include <vector>

namespace rung {
namespace {

const std::vector<double> kGood = {.10, .20, 0, .15, .80, 2, .30, .25, 0, .12, .22, 1, .18, .30, 0};
const std::vector<double> kBad = {.90, .95, 3, .70, .10, 3, .55, .60, 1,
                                  .80, .40, 2, .95, .05, 0, .60, .75, 3};

TEST_CASE("densities equal the original's golden numbers") {
  const Kde::Options original{1e-3, true};
  // The original takes the number of categories from the data: 3 among the good, 4 among the bad.
  const Kde good(kGood, {0, 0, 3}, {1e-3, true});
  const std::vector<double> h_good = {.05931900336934066, .18995829497267114};
  for (size_t j = 0; j < 2; ++j) CHECK(good.bandwidths()[j] == Approx(h_good[j]).epsilon(1e-14));
  const Kde bad(kBad, {0, 0, 4}, original);
  CHECK(bad.bandwidths()[0] == Approx(.12079179968179214).epsilon(1e-14));
  CHECK(bad.bandwidths()[1] == Approx(.2687969872741858).epsilon(1e-14));
}

// The bandwidths are given: what the original's rule gives here (.67, .95) passes its own limit of (k-1)/k,
// above which it computes negative densities; a model of ours stays below.
TEST_CASE("golden categorical bandwidths and joint densities") {
  const auto with = [](std::vector<double> rows, int choices, std::vector<double> h) {
    const Kde kde = Kde::WithBandwidths(std::move(rows), {0, 0, choices}, std::move(h));
    return std::pair{kde.Density({.1, .2, 0}), kde.Density({.5, .5, 1})};
  };
  CHECK(Kde::RuleOfThumb(kGood, 3, 2) == Approx(.6738185991871707).epsilon(1e-14));
  CHECK(Kde::RuleOfThumb(kBad, 3, 2) == Approx(.9475688363991521).epsilon(1e-14));
  const auto [l1, l2] = with(kGood, 3, {.05931900336934066, .18995829497267114, .6738185991871707});
  const auto [g1, g2] = with(kBad, 4, {.12079179968179214, .2687969872741858, .9475688363991521});
  CHECK(l1 == Approx(2.146253202330686).epsilon(1e-13));
  CHECK(g1 == Approx(8.974107094417219e-05).epsilon(1e-13));
  CHECK(l2 == Approx(.0013615126577150092).epsilon(1e-13));
  CHECK(g2 == Approx(.18854748684512437).epsilon(1e-13));
}

TEST_CASE("rows without spread have the smallest bandwidth") {
  CHECK(Kde({.5, .5, .5}, {0}, {}).bandwidths()[0] == 1e-3);
  CHECK(Kde({.5, .5, .5}, {0}, {.01, false}).bandwidths()[0] == .01);
}

TEST_CASE("the repaired categorical bandwidth knows the number of categories") {
  const Kde kde({0, 0, 0, 0}, {5}, {});
  CHECK(kde.bandwidths()[0] == Approx(4.0 / 9.0));
  double total = 0;
  for (int value = 0; value < 5; ++value) total += kde.Density({static_cast<double>(value)});
  CHECK(total == Approx(1));
}

TEST_CASE("the original's categorical bandwidth never makes a density negative") {
  const Kde kde({0, 9, 0, 9}, {10}, {1e-3, true});
  CHECK(kde.bandwidths()[0] == Approx(.9));
  for (int value = 0; value < 10; ++value) CHECK(kde.Density({static_cast<double>(value)}) > 0);
}

}  // namespace
}  // namespace rung
