#include "search/auto_policy.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "search/brackets/auto_ladder.h"
#include "search/samplers/acquisition_search.h"
#include "search/samplers/gp_model.h"

namespace rung {
namespace {

constexpr char kVersion[] = "auto/1";
constexpr int kRandomOfStart = 3;      // every third config of the start is random
constexpr double kRandomShare = 0.05;  // of the picks after it
constexpr double kAtOnceShare = 0.5;   // of the budget after the start
constexpr size_t kFewestAtTop = 3;     // results, before configs train at once
constexpr double kStillGood = 0.2;     // of the best alternative's improvement: a config on its way goes on
constexpr size_t kQuota = 4;           // configs of a rung for each one that went further
constexpr size_t kMostOfRung = 60;     // of those that wait at a rung, the best are asked about

// A config that waits on the ladder.
struct Waiting {
  int level = 0;
  RungEntry entry;
  const Config* config = nullptr;
  double improvement = 0;  // expected, at the top
};

const RungStanding& At(const Bracket& bracket, int level) {
  return bracket.levels[static_cast<size_t>(level)];
}

std::optional<Waiting> FindWaiting(const Bracket& ladder, const History& history, TrialId trial) {
  for (int level = ladder.Last() - 1; level >= 0; --level) {
    const auto loss = At(ladder, level).losses.find(trial.value);
    if (loss == At(ladder, level).losses.end()) continue;
    const RungEntry entry{trial, loss->second};
    if (!At(ladder, level).waiting.contains(entry)) return std::nullopt;
    return Waiting{level, entry, history.trials[static_cast<size_t>(trial.value) - 1], 0};
  }
  return std::nullopt;
}

// The best of each rung, and those on their way, each once.
std::vector<Waiting> AllWaiting(const Standings& standings, const History& history) {
  const Bracket& ladder = standings.brackets[kLadder];
  std::vector<Waiting> all;
  for (int level = 0; level < ladder.Last(); ++level) {
    size_t taken = 0;
    for (const RungEntry& entry : At(ladder, level).waiting) {
      if (taken++ == kMostOfRung) break;
      all.push_back({level, entry, history.trials[static_cast<size_t>(entry.trial.value) - 1], 0});
    }
  }
  for (const TrialId trial : history.climbing) {
    const bool known =
        std::any_of(all.begin(), all.end(), [&](const Waiting& each) { return each.entry.trial == trial; });
    if (known) continue;
    if (std::optional<Waiting> waiting = FindWaiting(ladder, history, trial)) all.push_back(*waiting);
  }
  return all;
}

std::vector<Waiting> BestFirst(std::vector<Waiting> waiting, const GpModel& model, const Encoding& encoding) {
  if (waiting.empty()) return waiting;
  std::vector<const Config*> configs;
  for (const Waiting& each : waiting) configs.push_back(each.config);
  const Eigen::VectorXd improvements = model.Improvement(Rows(encoding, configs));
  for (size_t i = 0; i < waiting.size(); ++i)
    waiting[i].improvement = improvements[static_cast<Eigen::Index>(i)];
  std::stable_sort(waiting.begin(), waiting.end(),
                   [](const Waiting& a, const Waiting& b) { return a.improvement > b.improvement; });
  return waiting;
}

// The first config on its way that waits and is worth `least`; those before it are dropped.
const Waiting* OnItsWay(const std::vector<Waiting>& waiting, const History& history, double least,
                        nlohmann::json& dropped) {
  for (const TrialId trial : history.climbing) {
    const auto found = std::find_if(waiting.begin(), waiting.end(),
                                    [&](const Waiting& each) { return each.entry.trial == trial; });
    if (found == waiting.end()) continue;  // it is being trained
    if (found->improvement >= least) return &*found;
    dropped.push_back(trial.value);
  }
  return nullptr;
}

bool IsCrowded(const Standings& standings, int level) {
  const Bracket& ladder = standings.brackets[kLadder];
  size_t here = At(ladder, level).ranked.size(), further = At(ladder, level + 1).entered.size();
  if (standings.brackets.size() > kAtOnce) {
    here += At(standings.brackets[kAtOnce], 0).ranked.size();
    further += At(standings.brackets[kAtOnce], 0).entered.size();
  }
  return here >= kQuota * (further + 1);
}

// The best of the highest rung where too few went on.
const Waiting* OfCrowdedRung(const std::vector<Waiting>& waiting, const Standings& standings) {
  for (int level = standings.brackets[kLadder].Last() - 1; level >= 0; --level) {
    if (!IsCrowded(standings, level)) continue;
    for (const Waiting& each : waiting) {
      if (each.level == level) return &each;
    }
  }
  return nullptr;
}

bool AnyOnItsWay(const Standings& standings, const History& history) {
  return std::any_of(history.climbing.begin(), history.climbing.end(), [&](TrialId trial) {
    return FindWaiting(standings.brackets[kLadder], history, trial).has_value();
  });
}

bool AnyWaiting(const Standings& standings) {
  const std::vector<RungStanding>& levels = standings.brackets[kLadder].levels;
  return std::any_of(levels.begin(), levels.end(),
                     [](const RungStanding& level) { return !level.waiting.empty(); });
}

// Whether the quota lets somebody go on, should nobody be on its way.
bool AnyCrowded(const Standings& standings) {
  const Bracket& ladder = standings.brackets[kLadder];
  for (int level = 0; level < ladder.Last(); ++level) {
    if (!At(ladder, level).waiting.empty() && IsCrowded(standings, level)) return true;
  }
  return false;
}

nlohmann::json Explained(const GpModel& model, const Encoding& encoding, const Config& config, double value) {
  const GaussianProcess::Prediction expected = model.AtTop(Rows(encoding, {&config}));
  return {{"points", model.results()}, {"believed", model.pending()}, {"score", value},
          {"target", model.target()},  {"mean", expected.mean[0]},    {"sd", std::sqrt(expected.variance[0])},
          {"model_rung", model.top()}};
}

std::optional<Suggestion> SuggestBy(const GpModel& model, const StudySpec& spec, const Encoding& encoding,
                                    const FreshConfigs& fresh, const History& history, Rng& rng) {
  const auto value = [&](const Eigen::MatrixXd& points) -> Eigen::VectorXd {
    return model.Improvement(points).cwiseProduct(model.Success(points));
  };
  return Suggest({spec.space, encoding, fresh, model.best(), value}, history, rng);
}

Proposal Proposed(const GpModel& model, Suggestion suggestion, nlohmann::json detail) {
  detail["sampler"] = kVersion;
  detail["candidates"] = suggestion.candidates;
  AddFits(model, detail);
  return {std::move(suggestion.config), Origin::Source::kModel, model.top(), detail.dump()};
}

}  // namespace

AutoPolicy::AutoPolicy(const StudySpec& spec)
    : spec_(spec),
      encoding_(spec.space),
      fresh_(spec.space),
      top_(static_cast<int>(spec.RungBudgets().size()) - 1),
      limit_(AutoLimit(spec)) {}

std::optional<AutoPolicy::Pick> AutoPolicy::Next(const Standings& standings, const History& history,
                                                 Rng& rng) const {
  const std::vector<Bracket>& brackets = standings.brackets;
  if (!MayGoOn(standings, history)) return std::nullopt;
  if (standings.can_create) {
    const bool starts = brackets.empty() || static_cast<int>(At(brackets[kLadder], 0).entered.size()) <
                                                brackets[kLadder].planned[0];
    if (starts) return Start(standings, history, rng);
    if (FewResults(history)) return Random(history, rng, "too_few_results");
    if (rng.Uniform() < kRandomShare) return Random(history, rng, "random_fraction");
    if (AtOnceIsDue(standings, history)) {
      if (std::optional<Pick> pick = AtOnce(history, rng)) return pick;
    }
  }
  if (brackets.empty()) return std::nullopt;
  return MostPromising(standings, history, rng);
}

AutoPolicy::Pick AutoPolicy::Start(const Standings& standings, const History& history, Rng& rng) const {
  if (FewResults(history)) return Random(history, rng, "too_few_results");
  const size_t made = standings.brackets.empty() ? 0 : At(standings.brackets[kLadder], 0).entered.size();
  if ((made + 1) % kRandomOfStart == 0) return Random(history, rng, "random_fraction");
  const std::optional<GpModel> model = GpModel::Of(encoding_, history, GpModel::Sees::kAllRungs);
  if (!model.has_value()) return Random(history, rng, "nothing_to_model");
  std::optional<Suggestion> fresh = SuggestBy(*model, spec_, encoding_, fresh_, history, rng);
  if (!fresh.has_value()) return Random(history, rng, "all_candidates_known");
  nlohmann::json detail = Explained(*model, encoding_, fresh->config, fresh->value);
  detail["why"] = "start";
  return {std::nullopt, Proposed(*model, *std::move(fresh), std::move(detail)), kLadder, 0};
}

// A model of the top rung alone is not misled by the others; what it proposes is trained in full.
std::optional<AutoPolicy::Pick> AutoPolicy::AtOnce(const History& history, Rng& rng) const {
  const std::optional<GpModel> model = GpModel::Of(encoding_, history, GpModel::Sees::kTopRung);
  if (!model.has_value()) return std::nullopt;
  std::optional<Suggestion> fresh = SuggestBy(*model, spec_, encoding_, fresh_, history, rng);
  if (!fresh.has_value()) return std::nullopt;
  nlohmann::json detail = Explained(*model, encoding_, fresh->config, fresh->value);
  detail["why"] = "at_once";
  return Pick{std::nullopt, Proposed(*model, *std::move(fresh), std::move(detail)), kAtOnce, top_};
}

// One more rung for a config on its way that is still good; else for the best of a rung where too many
// stopped; else for whatever promises most, and that may be a new one.
std::optional<AutoPolicy::Pick> AutoPolicy::MostPromising(const Standings& standings, const History& history,
                                                          Rng& rng) const {
  const bool on_its_way = AnyOnItsWay(standings, history), crowded = AnyCrowded(standings);
  const std::optional<GpModel> model = GpModel::Of(encoding_, history, GpModel::Sees::kAllRungs);
  std::optional<Suggestion> fresh;  // where the quota decides alone, nothing new is looked for
  if (model.has_value() && standings.can_create && (on_its_way || !crowded))
    fresh = SuggestBy(*model, spec_, encoding_, fresh_, history, rng);
  std::vector<Waiting> waiting;
  if (model.has_value()) waiting = BestFirst(AllWaiting(standings, history), *model, encoding_);
  double best = fresh.has_value() ? fresh->value : 0;
  if (!waiting.empty()) best = std::max(best, waiting.front().improvement);

  const char* why = "on_its_way";
  nlohmann::json dropped = nlohmann::json::array();
  const Waiting* up = OnItsWay(waiting, history, kStillGood * best, dropped);
  if (up == nullptr) {
    why = "quota";
    up = OfCrowdedRung(waiting, standings);
  }
  if (up == nullptr && !MayClimbFreely(standings, history)) return std::nullopt;
  const bool known_is_best = fresh.has_value() ? best > fresh->value : !waiting.empty();
  if (up == nullptr) {
    why = "most_promising";
    if (known_is_best) up = &waiting.front();
  }
  if (up == nullptr && !fresh.has_value()) {
    if (!standings.can_create) return std::nullopt;
    return Random(history, rng, "all_candidates_known");
  }

  nlohmann::json detail = up != nullptr ? Explained(*model, encoding_, *up->config, up->improvement)
                                        : Explained(*model, encoding_, fresh->config, fresh->value);
  detail["why"] = why;
  detail["best_score"] = best;
  detail["alternatives"] = waiting.size();
  detail["climbs"] = true;
  detail["dropped"] = std::move(dropped);
  if (up == nullptr)
    return Pick{std::nullopt, Proposed(*model, *std::move(fresh), std::move(detail)), kLadder, 0};
  const Bracket& ladder = standings.brackets[kLadder];
  detail.update(nlohmann::json::parse(VerdictInputs(kVersion, ladder, up->level, up->entry, /*promotes=*/0)));
  detail.erase("promotes");  // no number was set
  AddFits(*model, detail);
  return Pick{Verdict{up->entry.trial, true, detail.dump()}, {}, 0, 0};
}

AutoPolicy::Pick AutoPolicy::Random(const History& history, Rng& rng, const char* why) const {
  const nlohmann::json detail = {{"sampler", kVersion}, {"why", why}};
  return {std::nullopt, {fresh_.Draw(history, rng), Origin::Source::kRandom, -1, detail.dump()}, kLadder, 0};
}

bool AutoPolicy::FewResults(const History& history) const {
  const size_t enough = encoding_.dimensions() + 2;
  return Judged(history, enough) < enough;
}

bool AutoPolicy::AtOnceIsDue(const Standings& standings, const History& history) const {
  size_t at_top = 0;
  for (const Observation& observation : history.rungs.back()) {
    if (at_top == kFewestAtTop) break;
    if (std::isfinite(observation.loss)) ++at_top;
  }
  if (at_top < kFewestAtTop) return false;
  const AutoAccount spent = AccountOf(spec_, standings.brackets);
  return spent.at_once < kAtOnceShare * (spent.at_once + spent.climbing);
}

bool AutoPolicy::MayClimbFreely(const Standings& standings, const History& history) const {
  const std::optional<int>& trials = spec_.stop.trials;
  return standings.can_create || !trials.has_value() || static_cast<int>(history.trials.size()) < *trials;
}

bool AutoPolicy::MayGoOn(const Standings& standings, const History& history) const {
  if (Over(standings.brackets)) return false;
  if (standings.can_create) return true;
  if (standings.brackets.empty()) return false;
  return AnyOnItsWay(standings, history) || AnyCrowded(standings) ||
         (MayClimbFreely(standings, history) && AnyWaiting(standings));
}

bool AutoPolicy::Over(const std::vector<Bracket>& brackets) const {
  return std::isfinite(limit_) && AccountOf(spec_, brackets).All() >= limit_ * (1 - 1e-9);
}

}  // namespace rung
