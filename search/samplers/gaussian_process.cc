#include "search/samplers/gaussian_process.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "search/rng.h"

namespace rung {
namespace {

using Eigen::ArrayXd;
using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr double kSimilarWithin = 0.7;  // of numbers on [0, 1], in the additive part
constexpr double kJitter = 1e-7;
constexpr double kReach = 4;  // standard deviations of the prior that Fit may go

}  // namespace

// k = [sum_j a_j k_j(x_j, x'_j) + s2 M(r)] exp(-|dz| / lz) + exp(-|dz|), r^2 = sum_j d_j^2 / l_j^2,
// M(r) = (1 + sqrt(5) r + 5 r^2 / 3) exp(-sqrt(5) r).
struct GaussianProcess::Kernel {
  ArrayXd inverse_squares;  // l_j^-2
  ArrayXd amplitudes;       // a_j
  double joint = 1;         // s2
  double rung_length = 1;   // lz
  double noise = 0, noise_slope = 0;

  double Noise(double z) const { return std::exp(noise + noise_slope * (1 - z)) + kJitter; }
  double Variance() const { return joint + amplitudes.sum() + 1; }
};

GaussianProcess::GaussianProcess(std::vector<int> choices) : choices_(std::move(choices)) {
  const auto d = static_cast<Index>(choices_.size());
  RUNG_CHECK(d > 0, "a dimension");
  const auto count = static_cast<double>(d);
  prior_mean_.resize(2 * d + 4);
  prior_sd_.resize(2 * d + 4);
  prior_mean_.head(d).setConstant(-0.7 + 0.5 * std::log(count));
  prior_sd_.head(d).setConstant(1);
  prior_mean_.segment(d, d).setConstant(std::log(0.5 / count));
  prior_sd_.segment(d, d).setConstant(1.5);
  prior_mean_.tail(4) << std::log(0.5), std::log(6.0), std::log(1e-3), 2;
  prior_sd_.tail(4) << 1.5, 1, 3, 2;
  parameters_ = prior_mean_;
}

void GaussianProcess::set_parameters(VectorXd parameters) {
  RUNG_CHECK(parameters.size() == prior_mean_.size(), "all parameters");
  parameters_ = std::move(parameters);
}

GaussianProcess::Kernel GaussianProcess::Unpacked(const VectorXd& parameters) const {
  const auto d = static_cast<Index>(choices_.size());
  Kernel kernel;
  kernel.inverse_squares = (-2 * parameters.head(d).array()).exp();
  kernel.amplitudes = parameters.segment(d, d).array().exp();
  kernel.joint = std::exp(parameters[2 * d]);
  kernel.rung_length = std::exp(parameters[2 * d + 1]);
  kernel.noise = parameters[2 * d + 2];
  kernel.noise_slope = parameters[2 * d + 3];
  return kernel;
}

// Rows first.. of `rows` against one row of `to`: squares = r^2, sums = the additive part. One column at a
// time stays in the cache.
void GaussianProcess::Compare(const Kernel& kernel, const MatrixXd& rows, const MatrixXd& to, Index column,
                              Index first, ArrayXd& squares, ArrayXd& sums) const {
  const Index n = rows.rows() - first;
  squares.setZero(n);
  sums.setZero(n);
  constexpr double kWithin = 1 / (kSimilarWithin * kSimilarWithin);
  for (Index j = 0; j < static_cast<Index>(choices_.size()); ++j) {
    const auto x = rows.col(j).tail(n).array();
    const double at = to(column, j), scale = kernel.inverse_squares[j], amplitude = kernel.amplitudes[j];
    if (choices_[static_cast<size_t>(j)] == 0) {
      squares += scale * (x - at).square();
      sums += amplitude / (1 + kWithin * (x - at).square());
      continue;
    }
    for (Index i = 0; i < n; ++i) {
      const double differs = x[i] != at ? 1.0 : 0.0;
      squares[i] += scale * differs;
      sums[i] += amplitude * (1 - differs);
    }
  }
}

std::optional<double> GaussianProcess::LogPosterior(const Data& data, const VectorXd& parameters,
                                                    VectorXd* gradient) const {
  const Kernel kernel = Unpacked(parameters);
  const Index n = data.y.size(), d = static_cast<Index>(choices_.size());
  // Lower halves only.
  MatrixXd k(n, n), joint(n, n), slope(n, n), config_part(n, n);
  ArrayXd squares, sums;
  for (Index c = 0; c < n; ++c) {
    const Index rest = n - c;
    Compare(kernel, data.x, data.x, c, c, squares, sums);
    const ArrayXd root = (5 * squares).sqrt(), decay = (-root).exp();
    const ArrayXd distance = (data.z.tail(rest).array() - data.z[c]).abs();
    const ArrayXd rungs = (-distance / kernel.rung_length).exp();
    joint.col(c).tail(rest) = (1 + root + 5 * squares / 3) * decay * rungs;
    slope.col(c).tail(rest) = (1 + root) * decay * rungs;
    config_part.col(c).tail(rest) = sums * rungs + kernel.joint * joint.col(c).tail(rest).array();
    k.col(c).tail(rest) = config_part.col(c).tail(rest).array() + (-distance).exp();
    k(c, c) += kernel.Noise(data.z[c]);
  }
  const Eigen::LLT<MatrixXd> factored(k);
  if (factored.info() != Eigen::Success) return std::nullopt;
  const VectorXd weights = factored.solve(data.y);
  const ArrayXd off = parameters.array() - prior_mean_.array();
  const double value = -0.5 * data.y.dot(weights) - factored.matrixLLT().diagonal().array().log().sum() -
                       0.5 * (off / prior_sd_.array()).square().sum();
  if (!std::isfinite(value)) return std::nullopt;
  if (gradient == nullptr) return value;

  // d value / d theta = 1/2 sum_ij G_ij dK_ij / d theta with G = w w' - K^-1; off the diagonal each pair
  // counts twice.
  MatrixXd g = MatrixXd::Identity(n, n);
  factored.matrixL().solveInPlace(g);
  MatrixXd inverse = MatrixXd::Zero(n, n);
  inverse.selfadjointView<Eigen::Lower>().rankUpdate(g.transpose());
  gradient->setZero(parameters.size());
  constexpr double kWithin = 1 / (kSimilarWithin * kSimilarWithin);
  VectorXd& out = *gradient;
  for (Index c = 0; c < n; ++c) {
    const Index rest = n - c;
    ArrayXd weight = weights.tail(rest).array() * weights[c] - inverse.col(c).tail(rest).array();
    const double noise = kernel.Noise(data.z[c]) - kJitter;
    out[2 * d + 2] += 0.5 * weight[0] * noise;
    out[2 * d + 3] += 0.5 * weight[0] * noise * (1 - data.z[c]);
    weight[0] *= 0.5;
    const ArrayXd distance = (data.z.tail(rest).array() - data.z[c]).abs();
    out[2 * d] += kernel.joint * (weight * joint.col(c).tail(rest).array()).sum();
    out[2 * d + 1] += (weight * config_part.col(c).tail(rest).array() * distance).sum() / kernel.rung_length;
    const ArrayXd rungs = weight * (-distance / kernel.rung_length).exp();
    const ArrayXd slopes = weight * slope.col(c).tail(rest).array() * (5.0 / 3 * kernel.joint);
    for (Index j = 0; j < d; ++j) {
      const double* const x = data.x.col(j).data() + c;
      if (choices_[static_cast<size_t>(j)] != 0) {
        const ArrayXd differs =
            (data.x.col(j).tail(rest).array() != x[0]).select(ArrayXd::Ones(rest), ArrayXd::Zero(rest));
        out[j] += (slopes * differs).sum() * kernel.inverse_squares[j];
        out[d + j] += (rungs * (1 - differs)).sum() * kernel.amplitudes[j];
      } else {
        const ArrayXd square = (data.x.col(j).tail(rest).array() - x[0]).square();
        out[j] += (slopes * square).sum() * kernel.inverse_squares[j];
        out[d + j] += (rungs / (1 + kWithin * square)).sum() * kernel.amplitudes[j];
      }
    }
  }
  out -= (off / prior_sd_.array().square()).matrix();
  return value;
}

void GaussianProcess::Fit(const Data& data, int steps) {
  constexpr double kFirstStep = 0.1, kSmallestStep = 1e-3, kLargestStep = 1;
  VectorXd at = parameters_, gradient, best = parameters_;
  VectorXd step = VectorXd::Constant(at.size(), kFirstStep), before = VectorXd::Zero(at.size());
  std::optional<double> best_value;
  for (int k = 0; k < steps; ++k) {
    const std::optional<double> value = LogPosterior(data, at, &gradient);
    if (!value.has_value()) {
      at = best;
      step *= 0.3;
      before.setZero();
      continue;
    }
    if (!best_value.has_value() || *value > *best_value) {
      best_value = value;
      best = at;
    }
    for (Index i = 0; i < at.size(); ++i) {
      const double agreement = gradient[i] * before[i];
      if (agreement > 0) step[i] = std::min(step[i] * 1.2, kLargestStep);
      if (agreement < 0) {
        step[i] = std::max(step[i] * 0.5, kSmallestStep);
        gradient[i] = 0;
      }
      if (gradient[i] != 0) at[i] += gradient[i] > 0 ? step[i] : -step[i];
      at[i] =
          std::clamp(at[i], prior_mean_[i] - kReach * prior_sd_[i], prior_mean_[i] + kReach * prior_sd_[i]);
    }
    before = gradient;
  }
  parameters_ = best;
}

void GaussianProcess::Condition(Data data) {
  RUNG_CHECK(data.y.size() >= 1 && data.x.rows() == data.y.size(), "results");
  data_ = std::move(data);
  const Kernel kernel = Unpacked(parameters_);
  const Index n = data_.y.size();
  MatrixXd k(n, n);
  ArrayXd squares, sums;
  for (Index c = 0; c < n; ++c) {
    Compare(kernel, data_.x, data_.x, c, c, squares, sums);
    const ArrayXd root = (5 * squares).sqrt();
    const ArrayXd distance = (data_.z.tail(n - c).array() - data_.z[c]).abs();
    k.col(c).tail(n - c) = (sums + kernel.joint * (1 + root + 5 * squares / 3) * (-root).exp()) *
                               (-distance / kernel.rung_length).exp() +
                           (-distance).exp();
    k(c, c) += kernel.Noise(data_.z[c]);
  }
  Eigen::LLT<MatrixXd> factored(k);
  // Twins at the bottom of the noise can lose definiteness to rounding: noise is added until it is back.
  for (double more = 1e-6; factored.info() != Eigen::Success; more *= 10) {
    RUNG_CHECK(more < 1e6, "a kernel matrix without NaN");
    k.diagonal().array() += more;
    factored.compute(k);
  }
  factor_ = factored.matrixL();
  weights_ = factored.solve(data_.y);
}

GaussianProcess::Prediction GaussianProcess::At(const MatrixXd& points, double z) const {
  const Kernel kernel = Unpacked(parameters_);
  const Index n = data_.y.size(), count = points.rows();
  const ArrayXd distance = (data_.z.array() - z).abs();
  const ArrayXd rungs = (-distance / kernel.rung_length).exp(), offset = (-distance).exp();
  MatrixXd k(n, count);
  ArrayXd squares, sums;
  for (Index c = 0; c < count; ++c) {
    Compare(kernel, data_.x, points, c, 0, squares, sums);
    const ArrayXd root = (5 * squares).sqrt();
    k.col(c) = (sums + kernel.joint * (1 + root + 5 * squares / 3) * (-root).exp()) * rungs + offset;
  }
  Prediction prediction;
  prediction.mean = k.transpose() * weights_;
  factor_.triangularView<Eigen::Lower>().solveInPlace(k);
  prediction.variance = (kernel.Variance() - k.colwise().squaredNorm().transpose().array()).max(1e-10);
  return prediction;
}

double ExpectedImprovement(double target, double mean, double variance) {
  const double sd = std::sqrt(variance);
  if (sd < 1e-12) return std::max(0.0, target - mean);
  constexpr double kInverseRootTwoPi = 0.39894228040143267794;
  const double u = (target - mean) / sd;
  return std::max(0.0, sd * (u * NormalCdf(u) + kInverseRootTwoPi * std::exp(-0.5 * u * u)));
}

}  // namespace rung
