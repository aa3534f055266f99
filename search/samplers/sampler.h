// A sampler proposes the next config. It keeps no state: a proposal is a function of (space, history, random
// numbers), so any of them can be replayed. Immutable after construction; thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "search/rng.h"
#include "search/study_spec.h"
#include "search/trial.h"

namespace rung {

// A judged config. Losses are minimised; a config that failed has +infinity.
struct Observation {
  TrialId trial;
  const Config* config = nullptr;  // owned by the study
  double loss = 0;
};

// What a sampler may know: the results so far, what is being judged, and the configs tried so far.
struct History {
  struct Pending {
    TrialId trial;
    const Config* config = nullptr;  // owned by the study
    int rung = 0;
  };
  // Parameters of a model as they were fitted to so many results: the next fit starts there. Part of the
  // stored proposal that they were made for, so that a replay has them too.
  struct Fit {
    int64_t results = 0;
    std::vector<double> parameters;
  };

  std::vector<std::vector<Observation>> rungs;  // by rung, in the order in which the results came
  std::vector<Pending> pending;                 // by trial
  std::map<std::string, Fit> fits;              // the newest of each model
  std::unordered_set<uint64_t> configs;         // ConfigHash of every trial
  std::vector<const Config*> trials;            // all of them, by id - 1; owned by the study
  std::vector<TrialId> climbing;                // auto: on their way up, until they are dropped or at the top
  int64_t grid_trials = 0;                      // proposed by the grid sampler
  int first_rung = 0;                           // where the config that is asked for will start
};
// Takes the fits out of a stored proposal or promotion.
void RememberFits(const std::string& detail_json, History& history);
// Takes out of a stored decision of auto about `trial` whether it climbs now ("climbs": true), and who no
// longer does ("dropped": ids).
void RememberClimb(const std::string& detail_json, TrialId trial, History& history);
uint64_t ConfigHash(const Config& config);  // equal on every machine; 0 is no special value

struct Proposal {
  Config config;
  Origin::Source source = Origin::Source::kRandom;
  int model_rung = -1;
  std::string detail_json;
};

class Sampler {
 public:
  virtual ~Sampler() = default;
  // A config that no trial has, as long as the space has one. Requires fewer proposals so far than Limit().
  virtual Proposal Propose(const History& history, Rng& rng) const = 0;
  // How many configs it can propose; nullopt: no end.
  virtual std::optional<int64_t> Limit() const { return std::nullopt; }
};

// Of spec.algorithm. The spec must outlive the sampler.
std::unique_ptr<Sampler> MakeSampler(const StudySpec& spec);

std::unique_ptr<Sampler> MakeRandomSampler(const Space& space);
std::unique_ptr<Sampler> MakeGridSampler(const Space& space, int levels);
std::unique_ptr<Sampler> MakeBohbSampler(const Space& space, const Algorithm& algorithm);
std::unique_ptr<Sampler> MakeGpSampler(const Space& space, const Algorithm& algorithm);
std::unique_ptr<Sampler> MakeSmacSampler(const Space& space, const Algorithm& algorithm);
std::unique_ptr<Sampler> MakeTpeSampler(const Space& space);
std::unique_ptr<Sampler> MakeDehbSampler(const Space& space);
std::unique_ptr<Sampler> MakePriorBandSampler(const Space& space, double eta);
std::unique_ptr<Sampler> MakeSobolSampler(const Space& space, int64_t seed);

// Random configs that no trial has yet. In a small finite space the last unused ones are found by listing
// them.
class FreshConfigs {
 public:
  explicit FreshConfigs(const Space& space);
  Config Draw(const History& history, Rng& rng) const;
  // All configs of a finite space that is small enough to be listed, else none.
  const std::vector<Config>& listed() const { return all_; }

 private:
  static constexpr int kRedraws = 100;
  static constexpr size_t kListed = 10000;
  const Space& space_;
  std::vector<Config> all_;  // of a finite space of at most kListed configs
};

}  // namespace rung
