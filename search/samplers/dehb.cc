// Differential evolution for any scheduler: a mutant of three of the rung's best configs, crossed with a
// fourth (DEHB: Awad, Mallik, Hutter 2021, section 3; strategy rand/1/bin, F = CR = 0.5). DEHB keeps one
// population per rung in which a child replaces its parent if it is better; here the population are the best
// results of the rung at which the new config starts, so that it is a function of the history.
#include <algorithm>
#include <cmath>
#include <utility>

#include <nlohmann/json.hpp>

#include "search/samplers/encoding.h"
#include "search/samplers/sampler.h"

namespace rung {
namespace {

constexpr char kVersion[] = "dehb/1";
constexpr double kScale = 0.5, kCrossover = 0.5;
constexpr size_t kPopulation = 20, kSmallestPopulation = 4;

class DehbSampler final : public Sampler {
 public:
  explicit DehbSampler(const Space& space) : space_(space), encoding_(space), fresh_(space) {}

  Proposal Propose(const History& history, Rng& rng) const override {
    constexpr int kTries = 20;
    int rung = history.first_rung;
    std::vector<const Observation*> population = Population(history, rung);
    // The rung may be new: then the population below it, as DEHB takes parents from there.
    while (population.size() < kSmallestPopulation && rung > 0) population = Population(history, --rung);
    if (population.size() < kSmallestPopulation || encoding_.dimensions() == 0) {
      return RandomProposal(history, rng, "too_few_results");
    }
    for (int i = 0; i < kTries; ++i) {
      std::vector<const Observation*> parents = population;
      for (size_t k = 0; k < kSmallestPopulation; ++k) {
        const int64_t left = static_cast<int64_t>(parents.size() - k);
        std::swap(parents[k], parents[k + static_cast<size_t>(rng.Below(left))]);
      }
      Config config = Child(parents, rng);
      if (space_.Forbidden(config) || history.configs.contains(ConfigHash(config))) continue;
      nlohmann::json detail = {{"sampler", kVersion}, {"rung", rung}, {"population", population.size()}};
      detail["target"] = parents[0]->trial.value;
      for (size_t k = 1; k < kSmallestPopulation; ++k) detail["parents"].push_back(parents[k]->trial.value);
      return {std::move(config), Origin::Source::kModel, rung, detail.dump()};
    }
    return RandomProposal(history, rng, "all_children_known");
  }

 private:
  Proposal RandomProposal(const History& history, Rng& rng, const char* why) const {
    const nlohmann::json detail = {{"sampler", kVersion}, {"why", why}};
    return {fresh_.Draw(history, rng), Origin::Source::kRandom, -1, detail.dump()};
  }

  static std::vector<const Observation*> Population(const History& history, int rung) {
    std::vector<const Observation*> all;
    for (const Observation& each : history.rungs[static_cast<size_t>(rung)]) {
      if (std::isfinite(each.loss)) all.push_back(&each);
    }
    const auto end = all.begin() + static_cast<std::ptrdiff_t>(std::min(kPopulation, all.size()));
    std::partial_sort(all.begin(), end, all.end(), [](const Observation* a, const Observation* b) {
      return a->loss != b->loss ? a->loss < b->loss : a->trial < b->trial;
    });
    all.erase(end, all.end());
    return all;
  }

  // On [0, 1] in all dimensions, categories as the middle of their share; inactive ones uniform.
  std::vector<double> Genes(const Config& config, Rng& rng) const {
    std::vector<double> genes = encoding_.Encoded(config);
    for (size_t j = 0; j < genes.size(); ++j) {
      if (std::isnan(genes[j])) {
        genes[j] = rng.Uniform();
      } else if (encoding_.choices()[j] > 0) {
        genes[j] = (genes[j] + 0.5) / encoding_.choices()[j];
      }
    }
    return genes;
  }

  // parents: the target, then the three of the mutant.
  Config Child(const std::vector<const Observation*>& parents, Rng& rng) const {
    std::vector<double> child = Genes(*parents[0]->config, rng);
    const std::vector<double> a = Genes(*parents[1]->config, rng), b = Genes(*parents[2]->config, rng),
                              c = Genes(*parents[3]->config, rng);
    const auto always = static_cast<size_t>(rng.Below(static_cast<int64_t>(child.size())));
    for (size_t j = 0; j < child.size(); ++j) {
      if (j == always || rng.Uniform() < kCrossover) {
        const double mutant = a[j] + kScale * (b[j] - c[j]);
        child[j] = mutant >= 0 && mutant <= 1 ? mutant : rng.Uniform();
      }
      if (const int choices = encoding_.choices()[j]; choices > 0) {
        child[j] = std::min(std::floor(child[j] * choices), choices - 1.0);
      }
    }
    return encoding_.Decoded(child, rng);
  }

  const Space& space_;
  const Encoding encoding_;
  const FreshConfigs fresh_;
};

}  // namespace

std::unique_ptr<Sampler> MakeDehbSampler(const Space& space) {
  return std::make_unique<DehbSampler>(space);
}

}  // namespace rung
