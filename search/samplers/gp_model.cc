#include "search/samplers/gp_model.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "search/samplers/acquisition_search.h"

namespace rung {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

using Result = std::pair<int, Observation>;  // rung, observation

bool Lower(const Observation& a, const Observation& b) {
  return a.loss != b.loss ? a.loss < b.loss : a.trial < b.trial;
}

// The newest results of each rung: enough to find the newest `count` of all, at a cost that does not grow.
std::vector<Result> Newest(const History& history, int from_rung, size_t count) {
  std::vector<Result> newest;
  for (size_t rung = history.rungs.size(); rung-- > static_cast<size_t>(from_rung);) {
    const std::vector<Observation>& all = history.rungs[rung];
    for (size_t i = 0; i < std::min(all.size(), count); ++i) {
      newest.emplace_back(static_cast<int>(rung), all[all.size() - 1 - i]);
    }
  }
  std::stable_sort(newest.begin(), newest.end(),
                   [](const Result& a, const Result& b) { return a.second.trial > b.second.trial; });
  return newest;
}

// At most `most` finite results: 60 % the best ones of the highest rungs, the rest of the newest configs.
std::vector<Result> Selected(const History& history, int from_rung, size_t most) {
  size_t finite = 0;
  for (size_t rung = static_cast<size_t>(from_rung); rung < history.rungs.size(); ++rung) {
    finite += history.rungs[rung].size();
  }
  const size_t keep = finite <= most ? most : most * 6 / 10;
  std::vector<Result> selected;
  std::set<std::pair<int, TrialId>> taken;
  for (size_t rung = history.rungs.size();
       rung-- > static_cast<size_t>(from_rung) && selected.size() < keep;) {
    std::vector<Observation> all = history.rungs[rung];
    std::erase_if(all, [](const Observation& observation) { return !std::isfinite(observation.loss); });
    const auto middle =
        all.begin() + static_cast<std::ptrdiff_t>(std::min(all.size(), keep - selected.size()));
    std::partial_sort(all.begin(), middle, all.end(), Lower);
    for (auto each = all.begin(); each != middle; ++each) {
      selected.emplace_back(static_cast<int>(rung), *each);
      taken.emplace(static_cast<int>(rung), each->trial);
    }
  }
  if (finite <= most) return selected;
  for (const Result& result : Newest(history, from_rung, 2 * most)) {
    if (selected.size() >= most) break;
    if (!std::isfinite(result.second.loss)) continue;
    if (taken.emplace(result.first, result.second.trial).second) selected.push_back(result);
  }
  return selected;
}

double Height(int rung, size_t rungs) {
  return rungs > 1 ? rung / static_cast<double>(rungs - 1) : 1;
}

}  // namespace

size_t Judged(const History& history, size_t enough) {
  std::set<TrialId> judged;
  for (const std::vector<Observation>& rung : history.rungs) {
    for (const Observation& observation : rung) {
      if (judged.size() >= enough) return enough;
      if (std::isfinite(observation.loss)) judged.insert(observation.trial);
    }
  }
  return judged.size();
}

VectorXd Standardised(const std::vector<double>& losses) {
  std::vector<double> sorted = losses;
  std::sort(sorted.begin(), sorted.end());
  const double median = sorted[sorted.size() / 2];
  double scale = median - sorted[sorted.size() / 10];
  if (scale < 1e-9 * std::abs(median) + 1e-12) scale = std::max(1e-12, sorted.back() - sorted.front());
  VectorXd y(static_cast<Index>(losses.size()));
  for (Index i = 0; i < y.size(); ++i) {
    const double t = (losses[static_cast<size_t>(i)] - median) / scale;
    y[i] = t > 0 ? std::log1p(t) : t;
  }
  y.array() -= y.mean();
  const double sd = std::sqrt(y.squaredNorm() / static_cast<double>(y.size()));
  if (sd > 1e-9) y /= sd;
  return y;
}

void AddFits(const GpModel& model, nlohmann::json& detail) {
  for (const auto& [name, fit] : model.fits()) {
    detail["fits"][name] = {{"results", fit.results}, {"parameters", fit.parameters}};
  }
}

std::optional<GpModel> GpModel::Of(const Encoding& encoding, const History& history, Sees sees) {
  if (encoding.dimensions() == 0) return std::nullopt;
  const int from = sees == Sees::kTopRung ? static_cast<int>(history.rungs.size()) - 1 : 0;
  const std::vector<Result> results = Selected(history, from, kMostResults);
  if (results.empty()) return std::nullopt;
  GpModel model(encoding, sees);
  model.Condition(history, results);
  model.ConditionFailures(history);
  return model;
}

void GpModel::Refit(const char* name, const History& history, int64_t results,
                    const GaussianProcess::Data& data, GaussianProcess& process) {
  constexpr double kGrowth = 1.15;
  constexpr int kFew = 20, kFirstSteps = 60, kSteps = 20;
  const auto found = history.fits.find(name);
  int64_t before = 0;
  if (found != history.fits.end()) {
    before = found->second.results;
    const std::vector<double>& stored = found->second.parameters;
    process.set_parameters(Eigen::Map<const VectorXd>(stored.data(), static_cast<Index>(stored.size())));
  }
  if (before > 0 && static_cast<double>(results) < static_cast<double>(before) * kGrowth + 1) return;
  process.Fit(data, before < kFew ? kFirstSteps : kSteps);
  const VectorXd& fitted = process.parameters();
  fits_[name] = {results, {fitted.data(), fitted.data() + fitted.size()}};
}

void GpModel::Condition(const History& history, const std::vector<Result>& results) {
  std::vector<const Config*> configs;
  std::vector<double> losses;
  GaussianProcess::Data data;
  data.z.resize(static_cast<Index>(results.size()));
  for (const auto& [rung, observation] : results) {
    data.z[static_cast<Index>(configs.size())] = Height(rung, history.rungs.size());
    configs.push_back(observation.config);
    losses.push_back(observation.loss);
    top_ = std::max(top_, rung);
  }
  data.x = Rows(encoding_, configs);
  data.y = Standardised(losses);
  results_ = static_cast<int>(results.size());
  int64_t all = 0;
  const size_t first = sees_ == Sees::kTopRung ? history.rungs.size() - 1 : 0;
  for (size_t rung = first; rung < history.rungs.size(); ++rung) {
    all += static_cast<int64_t>(history.rungs[rung].size());
  }
  Refit(sees_ == Sees::kTopRung ? "top" : "all", history, all, data, process_);
  process_.Condition(std::move(data));
  const std::optional<double> believed = Believe(history);

  std::set<TrialId> seen;
  std::vector<const Config*> distinct;
  std::vector<bool> at_top;
  for (const auto& [rung, observation] : results) {
    if (!seen.insert(observation.trial).second) continue;  // its highest rung stands first among the best
    distinct.push_back(observation.config);
    at_top.push_back(rung == top_);
  }
  const VectorXd mean = AtTop(Rows(encoding_, distinct)).mean;
  std::vector<size_t> order;
  bool any = false;
  for (size_t i = 0; i < distinct.size(); ++i) {
    order.push_back(i);
    if (!at_top[i]) continue;
    const double here = mean[static_cast<Index>(i)];
    target_ = any ? std::min(target_, here) : here;
    any = true;
  }
  if (believed.has_value()) target_ = std::min(target_, *believed);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return mean[static_cast<Index>(a)] < mean[static_cast<Index>(b)];
  });
  for (const size_t i : order) best_.push_back(distinct[i]);
}

// Kriging believer (Ginsbourger, Le Riche, Carraro 2010): what is being run is taken as answered by its mean.
// The lowest of these means at the top is a target too: else the next proposal would stand beside the last
// one.
std::optional<double> GpModel::Believe(const History& history) {
  std::vector<const History::Pending*> pending;
  const int last = static_cast<int>(history.rungs.size()) - 1;
  for (size_t i = history.pending.size(); i-- > 0 && pending.size() < kMostPending;) {
    const History::Pending& each = history.pending[i];
    if (sees_ == Sees::kAllRungs || each.rung == last) pending.push_back(&each);
  }
  pending_ = static_cast<int>(pending.size());
  if (pending.empty()) return std::nullopt;
  std::vector<const Config*> configs;
  for (const History::Pending* each : pending) configs.push_back(each->config);
  const MatrixXd rows = Rows(encoding_, configs);
  GaussianProcess::Data data = process_.data();
  const Index n = data.y.size(), all = n + rows.rows();
  data.x.conservativeResize(all, Eigen::NoChange);
  data.z.conservativeResize(all);
  data.y.conservativeResize(all);
  data.x.bottomRows(rows.rows()) = rows;
  for (Index i = 0; i < rows.rows(); ++i) {
    const double z = Height(pending[static_cast<size_t>(i)]->rung, history.rungs.size());
    data.z[n + i] = z;
    data.y[n + i] = process_.At(rows.row(i), z).mean[0];
  }
  process_.Condition(std::move(data));
  return AtTop(rows).mean.minCoeff();
}

void GpModel::ConditionFailures(const History& history) {
  std::set<TrialId> failed;
  std::vector<const Config*> failures, successes;
  const std::vector<Result> newest = Newest(history, 0, 4 * kMostFailures);
  for (const auto& [rung, observation] : newest) {
    if (std::isfinite(observation.loss) || !failed.insert(observation.trial).second) continue;
    if (failures.size() < kMostFailures) failures.push_back(observation.config);
  }
  if (failures.size() < 2) return;
  std::set<TrialId> seen;
  for (const auto& [rung, observation] : newest) {
    if (failed.contains(observation.trial) || !seen.insert(observation.trial).second) continue;
    if (successes.size() < kMostFailures) successes.push_back(observation.config);
  }
  sees_failures_ = true;
  std::vector<const Config*> configs = successes;
  configs.insert(configs.end(), failures.begin(), failures.end());
  const auto n = static_cast<Index>(configs.size());
  GaussianProcess::Data data{Rows(encoding_, configs), VectorXd::Ones(n), VectorXd::Zero(n)};
  data.y.head(static_cast<Index>(successes.size())).setOnes();
  constexpr double kSmallestSd = 0.05;
  success_mean_ = data.y.mean();
  success_sd_ = std::max(kSmallestSd, std::sqrt(success_mean_ * (1 - success_mean_)));
  data.y = (data.y.array() - success_mean_) / success_sd_;
  int64_t all = 0;
  for (const std::vector<Observation>& rung : history.rungs) all += static_cast<int64_t>(rung.size());
  Refit("failures", history, all, data, failures_);
  failures_.Condition(std::move(data));
}

VectorXd GpModel::Success(const MatrixXd& points) const {
  if (!sees_failures_) return VectorXd::Ones(points.rows());
  const VectorXd mean = failures_.At(points, 1).mean;
  return (success_mean_ + success_sd_ * mean.array()).max(0.02).min(1.0);
}

VectorXd GpModel::Improvement(const MatrixXd& points) const {
  const GaussianProcess::Prediction prediction = AtTop(points);
  VectorXd improvement(points.rows());
  for (Index i = 0; i < points.rows(); ++i) {
    improvement[i] = ExpectedImprovement(target_, prediction.mean[i], prediction.variance[i]);
  }
  return improvement;
}

}  // namespace rung
