#include "search/samplers/kde.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"

namespace rung {

namespace {

std::vector<double> Columns(const std::vector<double>& rows, size_t dimensions) {
  const size_t count = rows.size() / dimensions;
  std::vector<double> columns(rows.size());
  for (size_t i = 0; i < count; ++i) {
    for (size_t j = 0; j < dimensions; ++j) columns[j * count + i] = rows[i * dimensions + j];
  }
  return columns;
}

}  // namespace

Kde::Kde(std::vector<double> rows, std::vector<int> choices, const Options& options)
    : choices_(std::move(choices)) {
  RUNG_CHECK(!choices_.empty() && !rows.empty() && rows.size() % choices_.size() == 0, "whole rows");
  count_ = rows.size() / choices_.size();
  const auto n = static_cast<double>(count_);
  for (size_t j = 0; j < choices_.size(); ++j) {
    const auto k = static_cast<double>(choices_[j]);
    const auto rule_of_thumb = [&] {
      return std::max(RuleOfThumb(rows, static_cast<int>(choices_.size()), static_cast<int>(j)),
                      options.min_bandwidth);
    };
    if (choices_[j] == 0) {
      bandwidths_.push_back(rule_of_thumb());
    } else if (options.original_categorical_bandwidth) {
      // Above (k-1)/k the kernel prefers other categories, above 1 it is negative.
      bandwidths_.push_back(std::min(rule_of_thumb(), (k - 1) / k));
    } else {
      bandwidths_.push_back((k - 1) / (n + k));
    }
  }
  columns_ = Columns(rows, choices_.size());
}

Kde Kde::WithBandwidths(std::vector<double> rows, std::vector<int> choices, std::vector<double> bandwidths) {
  RUNG_CHECK(choices.size() == bandwidths.size(), "a bandwidth per dimension");
  Kde kde;
  kde.count_ = rows.size() / choices.size();
  kde.columns_ = Columns(rows, choices.size());
  kde.choices_ = std::move(choices);
  kde.bandwidths_ = std::move(bandwidths);
  return kde;
}

double Kde::RuleOfThumb(const std::vector<double>& rows, int dimensions, int column) {
  const auto stride = static_cast<size_t>(dimensions);
  const auto n = static_cast<double>(rows.size() / stride);
  double mean = 0;
  for (size_t at = static_cast<size_t>(column); at < rows.size(); at += stride) mean += rows[at];
  mean /= n;
  double squares = 0;
  for (size_t at = static_cast<size_t>(column); at < rows.size(); at += stride) {
    squares += (rows[at] - mean) * (rows[at] - mean);
  }
  return 1.06 * std::sqrt(squares / n) * std::pow(n, -1.0 / (4 + dimensions));
}

double Kde::value(int row, int dimension) const {
  return columns_[static_cast<size_t>(dimension) * count_ + static_cast<size_t>(row)];
}

double Kde::Density(const std::vector<double>& point) const {
  constexpr double kInverseRootTwoPi = 0.39894228040143267794;
  double gaussian_scale = 1;
  std::vector<double> exponents(count_, 0.0), categories(count_, 1.0);
  for (size_t j = 0; j < choices_.size(); ++j) {
    const double* const column = columns_.data() + j * count_;
    const double h = bandwidths_[j], at = point[j];
    if (choices_[j] == 0) {
      gaussian_scale *= kInverseRootTwoPi / h;
      for (size_t row = 0; row < count_; ++row) {
        const double distance = (at - column[row]) / h;
        exponents[row] -= 0.5 * distance * distance;
      }
    } else {
      const double equal = 1 - h, other = h / (choices_[j] - 1);
      for (size_t row = 0; row < count_; ++row) categories[row] *= at == column[row] ? equal : other;
    }
  }
  // A term below 2^-54 of the sum does not change it: most exponentials need not be computed.
  constexpr double kLnTwo54 = 37.5, kUnderflow = -746;
  double sum = 0, next_update = 0, skip_below = kUnderflow;
  for (size_t row = 0; row < count_; ++row) {
    if (exponents[row] < skip_below) continue;
    sum += categories[row] * std::exp(exponents[row]);
    if (sum <= next_update) continue;
    next_update = 2 * sum;
    skip_below = std::max(kUnderflow, std::log(sum) - kLnTwo54);
  }
  return sum * gaussian_scale / static_cast<double>(count_);
}

}  // namespace rung
