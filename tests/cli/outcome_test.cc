#include "cli/outcome.h"

#include <catch2/catch.hpp>

#include "base/file.h"
#include "base/status.h"
#include "tests/scratch.h"

namespace rung {
namespace {

v1::StudyStatus Failed() {
  v1::StudyStatus study;
  study.set_name("small");
  (*study.mutable_failures_by_cause())["crash"] = 8;
  (*study.mutable_failures_by_cause())["diverged"] = 1;
  return study;
}

TEST_CASE("failures are told by cause, with the first one's last words") {
  v1::TrialRow first;
  first.set_trial(3);
  first.set_message("the trainer ended with exit code 1: Traceback\n  no module \x1b[31mtorch\n");
  CHECK(FailuresText(Failed(), first) ==
        "Failures: 8 crash, 1 diverged.\n"
        "The first one was trial 3:\n"
        "  the trainer ended with exit code 1: Traceback\n"
        "    no module \\x1b[31mtorch\n"
        "See `rung trial show small/3` and `rung trial logs small/3`.\n");
  CHECK(FailuresText(v1::StudyStatus(), std::nullopt).empty());
}

TEST_CASE("of a long failure the first line and the end are told") {
  v1::TrialRow first;
  std::string message;
  for (int i = 0; i < 100; ++i) message += "line " + std::to_string(i) + "\n";
  first.set_message(message);
  const std::string text = FailuresText(Failed(), first);
  CHECK(text.find("  line 0\n  ...\n") != std::string::npos);
  CHECK(text.find("line 50") == std::string::npos);
  CHECK(text.find("  line 99\n") != std::string::npos);
}

TEST_CASE("a score's checkpoints are its own, or those of the trial it was copied from, by their ids") {
  const StateDir dir{"/state"};
  v1::TrialRow trial;
  trial.set_study(2);
  trial.set_trial(17);
  trial.set_score_rung(1);
  CHECK(GetErrorDetail(CheckpointsOf(dir, trial).status())->code == "E0399");
  v1::RungResult& rung = *trial.add_rungs();
  rung.set_rung(1);
  v1::ReplicateResult& first = *rung.add_replicates();
  first.set_checkpoint_attempt(4);
  CHECK(*CheckpointsOf(dir, trial) == dir.checkpoints(2, 17, 1, 0, 4));
  first.set_copied_from("7/3");
  first.set_copied_rung(2);
  CHECK(*CheckpointsOf(dir, trial) == dir.checkpoints(7, 3, 2, 0, 4));
}

TEST_CASE("a confusion matrix is shown only if it is one") {
  const Scratch scratch;
  const std::string path = scratch.path("matrix.json");
  v1::TrialRow trial;
  (*trial.mutable_evaluation_outputs())["confusion_matrix"] = path;
  const auto read = [&](const std::string& text) {
    REQUIRE(WriteFileAtomic(path, text).ok());
    return ReadConfusionMatrix(trial);
  };
  const auto matrix = read(R"({"labels": ["a", 1], "matrix": [[1, 2], [3, 4]]})");
  REQUIRE(matrix.has_value());
  CHECK(matrix->counts[1][0] == 3);
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  for (const std::string& text : {std::string("{}"), "{\"labels\": " + deep + ", \"matrix\": []}",
                                  std::string(R"({"labels": ["a"], "matrix": [[1e300]]})"),
                                  std::string(R"({"labels": ["a"], "matrix": [1]})"),
                                  std::string(R"({"labels": {"a": 1}, "matrix": {"b": [1]}})")}) {
    INFO(text.substr(0, 60));
    CHECK_FALSE(read(text).has_value());
  }
}

}  // namespace
}  // namespace rung
