#include "worker/trainer_message.h"

#include <cmath>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "absl/strings/str_replace.h"

namespace rung {
namespace {

TEST_CASE("each kind of line is read") {
  const auto metric = ParseTrainerMessage(
      R"({"type": "metric", "step": 12, "budget": 0.5, "values": {"validation/accuracy": 0.9, "train/loss": null}})");
  REQUIRE(metric.ok());
  const auto& point = std::get<MetricMessage>(*metric);
  CHECK(point.step == 12);
  CHECK(point.budget == 0.5);
  CHECK(point.values.at("validation/accuracy") == 0.9);
  CHECK(std::isnan(point.values.at("train/loss")));

  const auto checkpoint =
      ParseTrainerMessage(R"({"type": "checkpoint", "budget": 1, "path": "update-00000040"})");
  REQUIRE(checkpoint.ok());
  CHECK(std::get<CheckpointMessage>(*checkpoint).path == "update-00000040");

  const auto result = ParseTrainerMessage(
      R"({"type": "result", "values": {"a": 1}, "outputs": {"confusion_matrix": "sub/confusion.json"}})");
  REQUIRE(result.ok());
  CHECK(std::get<ResultMessage>(*result).outputs.at("confusion_matrix") == "sub/confusion.json");
  CHECK(ParseTrainerMessage(R"({"type": "result", "values": {}})").ok());

  const auto failed =
      ParseTrainerMessage(R"({"type": "failed", "cause": "diverged", "message": "loss is NaN"})");
  REQUIRE(failed.ok());
  CHECK(std::get<FailedMessage>(*failed).cause == FailureCause::kDiverged);
}

TEST_CASE("a line that is no message is refused and named") {
  const std::vector<std::string> lines = {
      "loss: 0.5",
      "[]",
      "{",
      R"({"values": {}})",
      R"({"type": "metrics", "step": 1, "budget": 1, "values": {}})",
      R"({"type": "metric", "budget": 1, "values": {}})",
      R"({"type": "metric", "step": -1, "budget": 1, "values": {}})",
      R"({"type": "metric", "step": 1.5, "budget": 1, "values": {}})",
      R"({"type": "metric", "step": 1, "budget": "1", "values": {}})",
      R"({"type": "metric", "step": 1, "budget": 1, "values": {"a": "0.5"}})",
      R"({"type": "metric", "step": 1, "budget": 1, "values": {"": 1}})",
      R"({"type": "metric", "step": 1, "budget": 1, "values": {"a\u001b]0;x": 1}})",
      R"({"type": "result", "values": {"a": 0.1, "a": 0.9}})",
      R"({"type": "result", "values": {"a": 0.1}, "values": {"a": 0.9}})",
      R"({"type": "metric", "step": 1, "budget": 1, "values": {"a": NaN}})",
      R"({"type": "metric", "step": 1, "budget": 1, "values": [1]})",
      R"({"type": "metric", "step": 1, "budget": 1, "values": {}, "epoch": 3})",
      R"({"type": "checkpoint", "budget": 1, "path": "/etc"})",
      R"({"type": "checkpoint", "budget": 1, "path": "../other"})",
      R"({"type": "checkpoint", "budget": 1, "path": "a/../../b"})",
      R"({"type": "checkpoint", "budget": 1, "path": ".."})",
      R"({"type": "checkpoint", "budget": 1, "path": ""})",
      R"({"type": "result", "outputs": {}})",
      R"({"type": "result", "values": {}, "outputs": {"x": 1}})",
      R"({"type": "result", "values": {}, "outputs": {"x": "/tmp/x"}})",
      R"({"type": "failed", "cause": "bored", "message": ""})",
      R"({"type": "failed", "cause": "crash"})",
      "{\"type\": \"failed\", \"cause\": \"crash\", \"message\": \"\xff\"}",
  };
  for (const std::string& line : lines) {
    INFO(line);
    const auto message = ParseTrainerMessage(line);
    REQUIRE(!message.ok());
    CHECK(message.status().code() == absl::StatusCode::kInvalidArgument);
    CHECK(message.status().message().find("not a message") != std::string::npos);
  }
}

TEST_CASE("a budget that is no amount is refused, so that it is never charged") {
  for (const char* budget : {"1e308", "-1", "1.1e15", "null"}) {
    for (const std::string& line : std::vector<std::string>{
             R"({"type": "result", "values": {"a": 1, "train/budget": %}})",
             R"({"type": "metric", "step": 1, "budget": %, "values": {}})",
             R"({"type": "checkpoint", "budget": %, "path": "c"})",
         }) {
      const std::string text = absl::StrReplaceAll(line, {{"%", budget}});
      INFO(text);
      const auto message = ParseTrainerMessage(text);
      REQUIRE(!message.ok());
      CHECK(message.status().message().find("budget must be a number") != std::string::npos);
    }
  }
  CHECK(ParseTrainerMessage(R"({"type": "result", "values": {"train/budget": 1e15}})").ok());
  // Of any other value people may make what they like.
  CHECK(ParseTrainerMessage(R"({"type": "result", "values": {"validation/loss": 1e308}})").ok());
}

TEST_CASE("bytes are cut into lines wherever the reads end") {
  const std::string text = "one\n\ntwo\nthree";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    LineBuffer buffer;
    std::vector<std::string> lines = buffer.Add(text.data(), cut);
    for (const std::string& line : buffer.Add(text.data() + cut, text.size() - cut)) lines.push_back(line);
    CHECK(lines == std::vector<std::string>{"one", "two"});
    CHECK(buffer.Add("\n", 1) == std::vector<std::string>{"three"});
  }
}

TEST_CASE("a line of 64 KiB passes and a longer one does not") {
  LineBuffer buffer;
  const std::string longest = std::string(kMaxTrainerLineBytes, 'x') + "\n";
  CHECK(buffer.Add(longest.data(), longest.size()).size() == 1);
  CHECK(!buffer.overlong());
  const std::string longer = std::string(kMaxTrainerLineBytes + 1, 'x') + "\n";
  CHECK(buffer.Add(longer.data(), longer.size()).empty());
  CHECK(buffer.overlong());
}

}  // namespace
}  // namespace rung
