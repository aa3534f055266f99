// What the results so far say about configs: a Gaussian process over (config, rung), and another one over
// success and failure. Immutable after Of; not thread-safe.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <Eigen/Dense>
#include <nlohmann/json.hpp>

#include "search/samplers/encoding.h"
#include "search/samplers/gaussian_process.h"
#include "search/samplers/sampler.h"

namespace rung {

class GpModel {
 public:
  enum class Sees { kAllRungs, kTopRung };

  static constexpr int kMostResults = 150;  // that it conditions on, and at most as many again
  static constexpr int kMostFailures = 75;  // and at most as many successes
  static constexpr int kMostPending = 64;

  // nullopt: no finite result that it may see, or a space without dimensions. Parameters are fitted again
  // where the results grew by 15 % since history.fits; fits() has them then.
  static std::optional<GpModel> Of(const Encoding& encoding, const History& history, Sees sees);

  // What is expected at the top rung, in standard deviations of the results.
  GaussianProcess::Prediction AtTop(const Eigen::MatrixXd& points) const { return process_.At(points, 1); }
  // The lowest mean at the top rung among configs seen at the highest rung reached: a lucky noisy result is
  // no target.
  double target() const { return target_; }
  // Expected improvement on the target at the top rung.
  Eigen::VectorXd Improvement(const Eigen::MatrixXd& points) const;
  // How likely it is that a config does not fail, 0.02 to 1.
  Eigen::VectorXd Success(const Eigen::MatrixXd& points) const;

  // Configs with a result that it conditions on, each once, the most promising mean first.
  const std::vector<const Config*>& best() const { return best_; }
  int results() const { return results_; }
  int pending() const { return pending_; }
  int top() const { return top_; }  // the highest rung with a result that it sees
  const std::map<std::string, History::Fit>& fits() const { return fits_; }

 private:
  GpModel(const Encoding& encoding, Sees sees)
      : encoding_(encoding), sees_(sees), process_(encoding.choices()), failures_(encoding.choices()) {}

  void Condition(const History& history, const std::vector<std::pair<int, Observation>>& results);
  std::optional<double> Believe(const History& history);  // the lowest mean at the top of what it believes
  void ConditionFailures(const History& history);
  void Refit(const char* name, const History& history, int64_t results, const GaussianProcess::Data& data,
             GaussianProcess& process);

  const Encoding& encoding_;
  Sees sees_;
  GaussianProcess process_, failures_;
  bool sees_failures_ = false;
  double success_mean_ = 1, success_sd_ = 1;
  double target_ = 0;
  std::vector<const Config*> best_;
  int results_ = 0, pending_ = 0, top_ = -1;
  std::map<std::string, History::Fit> fits_;
};

// Trials with a finite result, counted up to `enough`.
size_t Judged(const History& history, size_t enough);

// Losses as the process sees them: (y - median) / (median - 10 % quantile), the bad half by ln(1 + t), then
// standardised. Requires one at least.
Eigen::VectorXd Standardised(const std::vector<double>& losses);

// Fits of the model as RememberFits reads them.
void AddFits(const GpModel& model, nlohmann::json& detail);

}  // namespace rung
