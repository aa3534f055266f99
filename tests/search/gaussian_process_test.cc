#include "search/samplers/gaussian_process.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "search/samplers/gp_model.h"

namespace rung {
namespace {

using Eigen::Index;
using Eigen::VectorXd;

GaussianProcess::Data Results() {
  GaussianProcess::Data data{Eigen::MatrixXd(6, 3), VectorXd(6), VectorXd(6)};
  data.x << .1, .2, 0, .15, .8, 2, .3, .25, 0, .9, .95, 1, .7, .1, 1, .55, .6, 1;
  data.z << 1, .5, 0, 0, 1, .5;
  data.y << -1.2, .3, -.4, 1.5, .6, -.8;
  return data;
}

VectorXd Parameters() {
  VectorXd parameters(10);
  parameters << -.2, .3, .1, -1.5, -2, -1, -.4, 1.2, -5, 1.5;
  return parameters;
}

// The numbers are those of the same formulas written with NumPy's dense solver.
TEST_CASE("the posterior over configs and rungs agrees with a dense solver") {
  GaussianProcess process({0, 0, 3});
  process.set_parameters(Parameters());
  process.Condition(Results());
  Eigen::MatrixXd points(2, 3);
  points << .2, .4, 0, .6, .5, 2;
  const GaussianProcess::Prediction prediction = process.At(points, 1);
  CHECK(prediction.mean[0] == Approx(-1.1663458904768973).epsilon(1e-10));
  CHECK(prediction.mean[1] == Approx(0.8175509834301344).epsilon(1e-10));
  CHECK(prediction.variance[0] == Approx(0.07093901569331296).epsilon(1e-9));
  CHECK(prediction.variance[1] == Approx(0.6228463390949348).epsilon(1e-9));
  CHECK(*process.LogPosterior(Results(), Parameters(), nullptr) == Approx(-5.68050418215879).epsilon(1e-10));
}

// One result y = 1 at x = .5, z = 1; amplitudes, noise and the length over rungs are 1, the length over x is
// .7. There the kernel is 3, so the mean is 3 / (3 + 1) and the variance 3 - 3 * 3 / 4. At x = 1.2: 1/2 of
// the additive part, (1 + sqrt 5 + 5/3) exp(-sqrt 5) = .5240 of the joint one, and 1.
TEST_CASE("the posterior after one result is what paper and pencil say") {
  GaussianProcess process({0});
  VectorXd parameters = VectorXd::Zero(6);
  parameters[0] = std::log(.7);
  process.set_parameters(parameters);
  process.Condition({Eigen::MatrixXd::Constant(1, 1, .5), VectorXd::Ones(1), VectorXd::Ones(1)});
  Eigen::MatrixXd points(2, 1);
  points << .5, 1.2;
  const GaussianProcess::Prediction top = process.At(points, 1);
  CHECK(top.mean[0] == Approx(.75));
  CHECK(top.variance[0] == Approx(.75));
  CHECK(top.mean[1] == Approx(2.0240 / 4).epsilon(1e-4));
  CHECK(top.variance[1] == Approx(3 - 2.0240 * 2.0240 / 4).epsilon(1e-4));
  CHECK(process.At(points, 0).mean[0] ==
        Approx(3 * std::exp(-1) / 4));  // all of it falls by e over the rungs
}

TEST_CASE("the gradient of the parameters' posterior is that of finite differences") {
  const GaussianProcess process({0, 0, 3});
  VectorXd gradient;
  const VectorXd at = Parameters();
  REQUIRE(process.LogPosterior(Results(), at, &gradient).has_value());
  for (Index i = 0; i < at.size(); ++i) {
    constexpr double kStep = 1e-5;
    VectorXd above = at, below = at;
    above[i] += kStep;
    below[i] -= kStep;
    const double slope = (*process.LogPosterior(Results(), above, nullptr) -
                          *process.LogPosterior(Results(), below, nullptr)) /
                         (2 * kStep);
    INFO("parameter " << i);
    CHECK(gradient[i] == Approx(slope).epsilon(1e-6).margin(1e-8));
  }
}

TEST_CASE("a fit finds the dimension that matters") {
  GaussianProcess::Data data{Eigen::MatrixXd(40, 2), VectorXd::Ones(40), VectorXd(40)};
  for (Index i = 0; i < 40; ++i) {
    data.x(i, 0) = std::fmod(static_cast<double>(i) * 0.618034, 1);
    data.x(i, 1) = std::fmod(static_cast<double>(i) * 0.414214, 1);
    data.y[i] = std::sin(6 * data.x(i, 0));
  }
  GaussianProcess process({0, 0});
  const double before = *process.LogPosterior(data, process.parameters(), nullptr);
  process.Fit(data, 60);
  CHECK(*process.LogPosterior(data, process.parameters(), nullptr) > before + 20);
  process.Condition(data);
  Eigen::MatrixXd points(2, 2);
  points << .26, .9, .78, .1;
  const GaussianProcess::Prediction prediction = process.At(points, 1);
  CHECK(prediction.mean[0] == Approx(std::sin(6 * .26)).margin(.05));
  CHECK(prediction.mean[1] == Approx(std::sin(6 * .78)).margin(.05));
}

TEST_CASE("equal results of equal configs do not break the factorisation") {
  GaussianProcess::Data data{Eigen::MatrixXd::Constant(50, 1, .5), VectorXd::Ones(50), VectorXd::Zero(50)};
  GaussianProcess process({0});
  VectorXd parameters = process.parameters();
  parameters[4] = -60;  // no noise
  process.set_parameters(parameters);
  process.Condition(data);
  CHECK(std::abs(process.At(Eigen::MatrixXd::Constant(1, 1, .5), 1).mean[0]) < 1e-6);
}

TEST_CASE("expected improvement of a normal prediction") {
  CHECK(ExpectedImprovement(-1, -.5, .25) == Approx(0.041657735293843146).epsilon(1e-12));
  CHECK(ExpectedImprovement(0, -1, 4) == Approx(1.3955931148026122).epsilon(1e-12));
  CHECK(ExpectedImprovement(0, -1, 0) == 1);
  CHECK(ExpectedImprovement(0, 1, 0) == 0);
}

// 0 to 10: the median is 5 and the 10 % quantile 1, so that t = (y - 5) / 4.
TEST_CASE("losses are scaled by their better half, and the worse half is squeezed") {
  const VectorXd y = Standardised({10, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  CHECK(y.mean() == Approx(0).margin(1e-12));
  CHECK(y.squaredNorm() / 11 == Approx(1));
  const double unit = y[6] - y[2];  // from 1 to 5
  CHECK(y[6] - y[1] == Approx(1.25 * unit));
  CHECK(y[0] - y[6] == Approx(std::log(1 + 1.25) * unit));
  CHECK(Standardised({3, 3, 3}).isZero());
}

}  // namespace
}  // namespace rung
