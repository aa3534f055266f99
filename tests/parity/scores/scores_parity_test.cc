// Scores equal to scikit-learn's and scipy's on the random cases that scores_fixture.py wrote.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "worker/training/metrics.h"

namespace rung {
namespace {

using nlohmann::json;

json Cases(const char* kind) {
  const char* directory = std::getenv("RUNG_PARITY_DIR");
  INFO("RUNG_PARITY_DIR must be set (make test does)");
  REQUIRE(directory != nullptr);
  const auto text = ReadFile(std::string(directory) + "/scores.json");
  REQUIRE(text.ok());
  return json::parse(*text)[kind];
}

void CheckValue(double ours, const json& theirs) {
  if (theirs.is_null()) {
    CHECK(std::isnan(ours));
  } else {
    CHECK(std::abs(ours - theirs.get<double>()) <= 1e-12);
  }
}

void CheckClass(const ClassScore& ours, const json& theirs) {
  CheckValue(ours.precision, theirs[0]);
  CheckValue(ours.recall, theirs[1]);
  CheckValue(ours.f1, theirs[2]);
  CHECK(ours.support == theirs[3].get<int64_t>());
}

TEST_CASE("scores of one label a row are scikit-learn's") {
  const json cases = Cases("single");
  CHECK(cases.size() == 300);
  for (const json& entry : cases) {
    const int labels = entry["labels"];
    Tally tally(labels);
    for (size_t i = 0; i < entry["truth"].size(); ++i) tally.AddOne(entry["truth"][i], entry["predicted"][i]);
    const auto values = tally.Values("");
    CHECK(values.size() == entry["values"].size());
    for (const auto& [name, value] : entry["values"].items()) {
      INFO(name << " of " << entry.dump());
      CheckValue(values.at(name), value);
    }
    for (int label = 0; label < labels; ++label) {
      CheckClass(tally.OfClass(label), entry["classes"][static_cast<size_t>(label)]);
      for (int predicted = 0; predicted < labels; ++predicted) {
        CHECK(tally.Count(label, predicted) ==
              entry["matrix"][static_cast<size_t>(label)][static_cast<size_t>(predicted)].get<int64_t>());
      }
    }
  }
}

TEST_CASE("scores of several labels a row are scikit-learn's") {
  const json cases = Cases("multiple");
  CHECK(cases.size() == 200);
  for (const json& entry : cases) {
    const size_t labels = entry["truth"][0].size();
    MultiLabelTally tally(static_cast<int>(labels));
    const auto truth = std::make_unique<bool[]>(labels), predicted = std::make_unique<bool[]>(labels);
    for (size_t row = 0; row < entry["truth"].size(); ++row) {
      for (size_t label = 0; label < labels; ++label) {
        truth[label] = entry["truth"][row][label];
        predicted[label] = entry["predicted"][row][label];
      }
      tally.AddRow({truth.get(), labels}, {predicted.get(), labels});
    }
    const auto values = tally.Values("");
    CHECK(values.size() == entry["values"].size());
    for (const auto& [name, value] : entry["values"].items()) {
      INFO(name << " of " << entry.dump());
      CheckValue(values.at(name), value);
    }
    for (size_t label = 0; label < labels; ++label) {
      CheckClass(tally.OfClass(static_cast<int>(label)), entry["classes"][label]);
    }
  }
}

TEST_CASE("correlations are scipy's") {
  const json cases = Cases("correlation");
  CHECK(cases.size() == 200);
  for (const json& entry : cases) {
    const auto truth = entry["truth"].get<std::vector<double>>(),
               predicted = entry["predicted"].get<std::vector<double>>();
    INFO(entry.dump());
    CheckValue(PearsonCorrelation(truth, predicted), entry["values"]["pearson"]);
    CheckValue(SpearmanCorrelation(truth, predicted), entry["values"]["spearman"]);
  }
}

}  // namespace
}  // namespace rung
