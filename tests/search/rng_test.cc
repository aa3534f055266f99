#include "search/rng.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

namespace rung {
namespace {

TEST_CASE("the stream is Philox4x32-10") {
  // Known answer of the authors (Random123, kat_vectors): counter 0, key 0.
  Rng rng(0, 0);
  CHECK(rng.Next() == 0xe169c58d6627e8d5ULL);
  CHECK(rng.Next() == 0x9b00dbd8bc57ac4cULL);
}

TEST_CASE("streams are functions of seed and stream") {
  Rng a(1, 2), same(1, 2), other_seed(2, 2), other_stream(1, 3);
  const uint64_t first = a.Next();
  CHECK(same.Next() == first);
  CHECK(other_seed.Next() != first);
  CHECK(other_stream.Next() != first);
}

TEST_CASE("draws have the right distribution") {
  Rng rng(5, 6);
  std::vector<int> counts(7);
  double sum = 0, squares = 0, uniform = 0;
  constexpr int kDraws = 70000;
  for (int i = 0; i < kDraws; ++i) {
    ++counts[static_cast<size_t>(rng.Below(7))];
    const double normal = rng.Normal();
    sum += normal;
    squares += normal * normal;
    uniform += rng.Uniform();
    const double truncated = rng.TruncatedNormal(.9, .5, 0, 1);
    REQUIRE((truncated >= 0 && truncated <= 1));
  }
  for (const int count : counts) CHECK(std::abs(count - kDraws / 7) < 500);
  CHECK(std::abs(sum / kDraws) < .02);
  CHECK(squares / kDraws == Approx(1).epsilon(.02));
  CHECK(uniform / kDraws == Approx(.5).epsilon(.01));
}

TEST_CASE("the inverse normal is accurate to rounding") {
  CHECK(InverseNormalCdf(.5) == Approx(0).margin(1e-15));
  CHECK(InverseNormalCdf(.975) == Approx(1.959963984540054).epsilon(1e-14));
  CHECK(InverseNormalCdf(1e-10) == Approx(-6.361340902404056).epsilon(1e-12));
  for (double x = -6; x <= 6; x += .25)
    CHECK(InverseNormalCdf(NormalCdf(x)) == Approx(x).epsilon(1e-8).margin(1e-12));
}

}  // namespace
}  // namespace rung
