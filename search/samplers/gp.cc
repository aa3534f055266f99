// The Gaussian process as a sampler for any scheduler: the new config whose expected improvement at the top
// rung is largest (MOBSTER: Klein, Tiao, Lienart, Archambeau, Seeger 2020).
#include <cmath>
#include <utility>

#include <nlohmann/json.hpp>

#include "search/samplers/acquisition_search.h"
#include "search/samplers/gp_model.h"
#include "search/samplers/sampler.h"

namespace rung {
namespace {

constexpr char kVersion[] = "gp/1";

class GpSampler final : public Sampler {
 public:
  GpSampler(const Space& space, const Algorithm& algorithm)
      : space_(space), algorithm_(algorithm), encoding_(space), fresh_(space) {}

  Proposal Propose(const History& history, Rng& rng) const override {
    if (rng.Uniform() < algorithm_.random_fraction) return RandomProposal(history, rng, "random_fraction");
    const size_t enough = encoding_.dimensions() + 2;
    if (Judged(history, enough) < enough) return RandomProposal(history, rng, "too_few_results");
    const std::optional<GpModel> model = GpModel::Of(encoding_, history, GpModel::Sees::kAllRungs);
    if (!model.has_value()) return RandomProposal(history, rng, "nothing_to_model");
    const auto value = [&](const Eigen::MatrixXd& points) -> Eigen::VectorXd {
      return model->Improvement(points).cwiseProduct(model->Success(points));
    };
    std::optional<Suggestion> suggestion =
        Suggest({space_, encoding_, fresh_, model->best(), value}, history, rng);
    if (!suggestion.has_value()) return RandomProposal(history, rng, "all_candidates_known");
    return Explained(*model, *std::move(suggestion));
  }

 private:
  Proposal RandomProposal(const History& history, Rng& rng, const char* why) const {
    const nlohmann::json detail = {{"sampler", kVersion}, {"why", why}};
    return {fresh_.Draw(history, rng), Origin::Source::kRandom, -1, detail.dump()};
  }

  Proposal Explained(const GpModel& model, Suggestion suggestion) const {
    const GaussianProcess::Prediction expected = model.AtTop(Rows(encoding_, {&suggestion.config}));
    nlohmann::json detail = {{"sampler", kVersion},
                             {"rung", model.top()},
                             {"points", model.results()},
                             {"believed", model.pending()},
                             {"candidates", suggestion.candidates},
                             {"score", suggestion.value},
                             {"target", model.target()},
                             {"mean", expected.mean[0]},
                             {"sd", std::sqrt(expected.variance[0])}};
    AddFits(model, detail);
    return {std::move(suggestion.config), Origin::Source::kModel, model.top(), detail.dump()};
  }

  const Space& space_;
  const Algorithm& algorithm_;
  const Encoding encoding_;
  const FreshConfigs fresh_;
};

}  // namespace

std::unique_ptr<Sampler> MakeGpSampler(const Space& space, const Algorithm& algorithm) {
  return std::make_unique<GpSampler>(space, algorithm);
}

}  // namespace rung
