#include "cli/exports.h"

#include <cmath>
#include <limits>

#include <catch2/catch.hpp>

#include "base/status.h"
#include "proto/wire.h"

namespace rung {
namespace {

StudySpec SmallSpec() {
  const auto spec =
      StudySpec::Parse(R"json({"name": "small", "trainer": {"type": "command", "argv": ["/bin/true"]},
      "objective": {"metric": "score", "goal": "maximize"}, "budget": {"unit": "epochs", "min": 1, "max": 9, "eta": 3},
      "algorithm": {"type": "random"}, "stop": {"trials": 3},
      "space": {"lr": {"low": 1e-5, "high": 1e-3, "log": true}, "name": ["=cmd()", "x"]}})json",
                       "small.json", "/");
  INFO(spec.status().message());
  REQUIRE(spec.ok());
  return *spec;
}

v1::TrialRow Trial(int64_t id, double score, const std::string& config) {
  v1::TrialRow trial;
  trial.set_study(1);
  trial.set_trial(id);
  trial.set_state("completed");
  trial.set_origin("random");
  trial.set_config_json(config);
  *trial.mutable_score() = ToWire("score", score);
  v1::RungResult& rung = *trial.add_rungs();
  rung.set_budget(9);
  *rung.mutable_score() = trial.score();
  v1::ReplicateResult& replicate = *rung.add_replicates();
  replicate.set_attempt(2);
  replicate.set_charged(9);
  *replicate.add_values() = ToWire("score", score);
  *replicate.add_values() = ToWire("loss", std::numeric_limits<double>::infinity());
  return trial;
}

TEST_CASE("text that a spreadsheet would run is guarded, numbers are not") {
  REQUIRE(CsvText("=1+1") == "'=1+1");
  REQUIRE(CsvText("+x") == "'+x");
  REQUIRE(CsvText("-x") == "'-x");
  REQUIRE(CsvText("@x") == "'@x");
  REQUIRE(CsvText("\tx") == "'\tx");
  REQUIRE(CsvText("a\"b") == "\"a\"\"b\"");
  REQUIRE(CsvText("a,b") == "\"a,b\"");
  REQUIRE(CsvText("line\nline") == "\"line\nline\"");
  REQUIRE(CsvText("") == "");
  REQUIRE(CsvNumber(-0.1) == "-0.1");
  REQUIRE(std::stod(CsvNumber(0.1 + 0.2)) == 0.1 + 0.2);
  REQUIRE(CsvNumber(std::nan("")) == "nan");
}

TEST_CASE("trials become one row each, with a column per parameter") {
  const std::string csv = TrialsCsv({Trial(1, 0.1, R"json({"lr":0.0001,"name":"=cmd()"})json")}, SmallSpec());
  const size_t end = csv.find("\r\n");
  const std::string header = csv.substr(0, end);
  REQUIRE(header.find("study,trial,state,bracket,rung,budget,score,score_rung,score_budget,origin") == 0);
  REQUIRE(header.find("config.lr") != std::string::npos);
  const std::string row = csv.substr(end + 2);
  REQUIRE(row.find(",0.1,") != std::string::npos);
  REQUIRE(row.find("'=cmd()") != std::string::npos);
  REQUIRE(std::count(row.begin(), row.end(), '\n') == 1);
}

TEST_CASE("results become one row each, with a column per metric") {
  const std::string csv = ResultsCsv({Trial(1, 0.5, "{}"), Trial(2, 0.25, "{}")});
  REQUIRE(std::count(csv.begin(), csv.end(), '\n') == 3);
  REQUIRE(csv.find("loss,score\r\n") != std::string::npos);
  REQUIRE(csv.find("1,1,0,9,0,2,0,0,9,0,,inf,0.5\r\n") != std::string::npos);
}

TEST_CASE("JSON lines hold the same, non-finite numbers as null with their state") {
  const std::string trials = TrialsJsonl({Trial(1, 0.1, R"({"lr":0.0001})")});
  const OrderedJson trial = OrderedJson::parse(trials);
  REQUIRE(trial["trial"] == 1);
  REQUIRE(trial["score"] == 0.1);
  REQUIRE_FALSE(trial.contains("rungs"));
  const OrderedJson result = OrderedJson::parse(ResultsJsonl({Trial(1, 0.1, "{}")}));
  REQUIRE(result["values"]["loss"].is_null());
  REQUIRE(result["states"]["loss"] == "inf");
  REQUIRE(result["attempt"] == 2);
}

TEST_CASE("the best come first: rung, then score by the goal, then age") {
  v1::TrialRow low = Trial(1, 0.9, "{}");
  v1::TrialRow high = Trial(2, 0.5, "{}");
  high.set_score_rung(1);
  v1::TrialRow twin = Trial(3, 0.5, "{}");
  twin.set_score_rung(1);
  const v1::TrialRow lost = Trial(4, std::nan(""), "{}");
  const auto best = BestFirst({low, twin, lost, high}, Goal::kMaximize);
  REQUIRE(best.size() == 3);
  REQUIRE(best[0].trial() == 2);
  REQUIRE(best[1].trial() == 3);
  REQUIRE(best[2].trial() == 1);
  const auto least = BestFirst({Trial(1, 0.9, "{}"), Trial(2, 0.1, "{}")}, Goal::kMinimize);
  REQUIRE(least[0].trial() == 2);
}

TEST_CASE("a trial's JSON keeps ids apart and says why there is no score") {
  v1::TrialRow trial = Trial(7, std::nan(""), R"({"lr":0.1})");
  trial.set_cause("diverged");
  const OrderedJson json = TrialJson(trial);
  REQUIRE(json["study"] == 1);
  REQUIRE(json["trial"] == 7);
  REQUIRE(json["score"].is_null());
  REQUIRE(json["score_state"] == "nan");
  REQUIRE(json["cause"] == "diverged");
  REQUIRE(json["config"]["lr"] == 0.1);
  trial.clear_score();
  REQUIRE(TrialJson(trial)["score_state"] == "none");
}

}  // namespace
}  // namespace rung
