// What the samplers' models compute, against independent numbers.
#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "search/samplers/forest.h"
#include "search/samplers/sobol.h"
#include "search/samplers/tpe.h"

namespace rung {
namespace {

// torch.quasirandom.SobolEngine(21) walks the sequence in the order of Gray's code: its points 5 and 11 are 7
// and 14 here.
TEST_CASE("the Sobol sequence is Joe and Kuo's") {
  constexpr double k7[] = {.875, .875, .125, .375, .875, .625, .875, .375, .375, .125, .375,
                           .875, .875, .125, .875, .375, .875, .375, .375, .625, .625};
  constexpr double k14[] = {.4375, .5625, .1875, .6875, .8125, .0625, .6875, .6875, .6875, .0625, .9375,
                            .3125, .1875, .1875, .5625, .1875, .5625, .0625, .6875, .5625, .9375};
  for (int j = 0; j < kSobolDimensions; ++j) {
    INFO("dimension " << j);
    CHECK(SobolBits(7, j) * 0x1p-32 == k7[j]);
    CHECK(SobolBits(14, j) * 0x1p-32 == k14[j]);
    CHECK(SobolBits(0, j) == 0);
  }
}

TEST_CASE("scrambling keeps one point in each of 2^k intervals, and differs by seed and dimension") {
  for (const int dimension : {0, 1, 7, 20, 21, 64, 511}) {
    for (const uint32_t count : {16U, 256U}) {
      std::set<int> hit;
      for (uint32_t i = 0; i < count; ++i) {
        const double at = ScrambledSobol(i, dimension, 5);
        CHECK((at >= 0 && at < 1));
        hit.insert(static_cast<int>(at * count));
      }
      CHECK(hit.size() == count);
    }
  }
  CHECK(ScrambledSobol(3, 0, 5) != ScrambledSobol(3, 0, 6));
  CHECK(ScrambledSobol(3, 2, 5) != ScrambledSobol(3, 23, 5));
}

TEST_CASE("two dimensions of the scrambled sequence are even together") {
  for (const auto& [a, b] : {std::pair{0, 1}, std::pair{1, 2}, std::pair{21, 22}}) {
    std::set<int> hit;
    for (uint32_t i = 0; i < 16; ++i) {
      hit.insert(static_cast<int>(ScrambledSobol(i, a, 9) * 4) * 4 +
                 static_cast<int>(ScrambledSobol(i, b, 9) * 4));
    }
    CHECK(hit.size() >= 12);  // random points hit 10 of 16 cells on average
  }
}

TEST_CASE("a Parzen window of numbers") {
  const ParzenWindow window({.25, .9, .2}, 0);
  CHECK(window.LogDensity(.22) == Approx(0.3449922388299226).epsilon(1e-12));
  CHECK(window.LogDensity(.7) == Approx(-0.2869895603004429).epsilon(1e-12));
  CHECK(window.LogDensity(0) == Approx(-0.0929351792492311).epsilon(1e-12));
  CHECK(window.LogDensity(1) == Approx(-0.4348051983736227).epsilon(1e-12));
  double sum = 0;
  for (int i = 0; i < 2000; ++i) sum += std::exp(window.LogDensity((i + .5) / 2000)) / 2000;
  CHECK(sum == Approx(1).epsilon(1e-6));
  Rng rng(1, 1);
  int low = 0;
  for (int i = 0; i < 4000; ++i) {
    const double drawn = window.Draw(rng);
    CHECK((drawn >= 0 && drawn <= 1));
    low += drawn < .35;
  }
  double expected = 0;
  for (int i = 0; i < 700; ++i) expected += std::exp(window.LogDensity((i + .5) / 2000)) / 2000;
  CHECK(low / 4000. == Approx(expected).margin(.03));
}

TEST_CASE("a Parzen window of categories") {
  const ParzenWindow window({0, 0, 2}, 3);
  double sum = 0;
  for (int c = 0; c < 3; ++c) sum += std::exp(window.LogDensity(c));
  CHECK(sum == Approx(1).epsilon(1e-12));
  CHECK(window.LogDensity(0) == Approx(-0.7419373447293773).epsilon(1e-12));
  CHECK(window.LogDensity(1) == Approx(-1.6582280766035324).epsilon(1e-12));
  CHECK(ParzenWindow({}, 4).LogDensity(2) == Approx(std::log(.25)).epsilon(1e-12));
}

TEST_CASE("a forest of whole trees gives its results back, and is unsure between them") {
  Eigen::MatrixXd x(6, 2);
  x << .1, 0, .2, 1, .3, 2, .7, 0, .8, 1, .9, 2;
  Eigen::VectorXd y(6);
  y << 1, 2, 3, 10, 20, 30;
  Rng rng(1, 1);
  const Forest whole(x, y, {0, 3}, {.smallest_split = 2, .feature_share = 1, .bootstrap = false}, rng);
  for (Eigen::Index i = 0; i < 6; ++i) {
    CHECK(whole.At(x, i).mean == Approx(y[i]));
    CHECK(whole.At(x, i).variance == Approx(0).margin(1e-12));
  }
  const Forest forest(x, y, {0, 3}, {}, rng);
  Eigen::MatrixXd between(1, 2);
  between << .5, 1;
  CHECK(forest.At(between, 0).variance > 0);
  CHECK(forest.At(x, 0).mean < forest.At(x, 5).mean);
}

// Law of total variance: a tree of one leaf has the variance of all results.
TEST_CASE("a forest that may not split predicts mean and variance of the results") {
  Eigen::MatrixXd x(4, 1);
  x << .1, .2, .3, .4;
  Eigen::VectorXd y(4);
  y << 1, 2, 3, 6;
  Rng rng(1, 1);
  const Forest stump(x, y, {0}, {.smallest_split = 100, .bootstrap = false}, rng);
  CHECK(stump.At(x, 2).mean == Approx(3));
  CHECK(stump.At(x, 2).variance == Approx(3.5));
}

}  // namespace
}  // namespace rung
