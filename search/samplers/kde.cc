#include "search/samplers/kde.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"

namespace rung {

Kde::Kde(std::vector<double> rows, std::vector<int> choices, const Options& options)
    : rows_(std::move(rows)), choices_(std::move(choices)) {
  RUNG_CHECK(!choices_.empty() && !rows_.empty() && rows_.size() % choices_.size() == 0, "whole rows");
  const auto n = static_cast<double>(this->rows());
  for (size_t j = 0; j < choices_.size(); ++j) {
    const auto k = static_cast<double>(choices_[j]);
    if (choices_[j] == 0) {
      bandwidths_.push_back(std::max(
          RuleOfThumb(rows_, static_cast<int>(choices_.size()), static_cast<int>(j)), options.min_bandwidth));
    } else if (options.original_categorical_bandwidth) {
      // Above (k-1)/k the kernel prefers other categories, above 1 it is negative.
      bandwidths_.push_back(
          std::min(std::max(RuleOfThumb(rows_, static_cast<int>(choices_.size()), static_cast<int>(j)),
                            options.min_bandwidth),
                   (k - 1) / k));
    } else {
      bandwidths_.push_back((k - 1) / (n + k));
    }
  }
}

Kde Kde::WithBandwidths(std::vector<double> rows, std::vector<int> choices, std::vector<double> bandwidths) {
  RUNG_CHECK(choices.size() == bandwidths.size(), "a bandwidth per dimension");
  Kde kde;
  kde.rows_ = std::move(rows);
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
  return rows_[static_cast<size_t>(row) * choices_.size() + static_cast<size_t>(dimension)];
}

double Kde::Density(const std::vector<double>& point) const {
  constexpr double kInverseRootTwoPi = 0.39894228040143267794;
  double gaussian_scale = 1;
  for (size_t j = 0; j < choices_.size(); ++j) {
    if (choices_[j] == 0) gaussian_scale *= kInverseRootTwoPi / bandwidths_[j];
  }
  double sum = 0;
  for (size_t row = 0; row < rows_.size(); row += choices_.size()) {
    double categories = 1;
    double exponent = 0;
    for (size_t j = 0; j < choices_.size(); ++j) {
      const double h = bandwidths_[j];
      if (choices_[j] == 0) {
        const double distance = (point[j] - rows_[row + j]) / h;
        exponent -= 0.5 * distance * distance;
      } else {
        categories *= point[j] == rows_[row + j] ? 1 - h : h / (choices_[j] - 1);
      }
    }
    sum += categories * std::exp(exponent);
  }
  return sum * gaussian_scale / rows();
}

}  // namespace rung
