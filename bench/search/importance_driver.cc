// Importance for a benchmark, JSON lines on stdin and stdout:
//   {"space": {...}, "seed": 1, "results": [{"config": {...}, "value": 0.25}, ...]}
//   {"shares": {"x": 0.8, ...}, "ms": 12.5}
#include <chrono>
#include <iostream>

#include "base/check.h"
#include "search/importance.h"

namespace rung {
namespace {

using nlohmann::json;

json Answer(const json& request) {
  const absl::StatusOr<Space> space = Space::Parse(request.at("space"));
  RUNG_CHECK(space.ok(), "a space");
  const json& given = request.at("results");
  std::vector<Config> configs;
  for (const json& each : given) {
    const absl::StatusOr<Config> config = ConfigFromJson(each.at("config"));
    RUNG_CHECK(config.ok() && space->Validate(space->Typed(*config)).ok(), "a config of the space");
    configs.push_back(space->Typed(*config));
  }
  std::vector<Observation> results;
  for (size_t i = 0; i < configs.size(); ++i)
    results.push_back({{static_cast<int64_t>(i) + 1}, &configs[i], given[i].at("value").get<double>()});
  const auto start = std::chrono::steady_clock::now();
  const Importance importance = ImportanceOf(*space, results, request.at("seed").get<int64_t>());
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  json shares = json::object();
  for (const Importance::MainEffect& each : importance.parameters) shares[each.parameter] = each.share.mean;
  return {{"shares", shares}, {"ms", took.count()}};
}

}  // namespace
}  // namespace rung

int main() {
  for (std::string line; std::getline(std::cin, line);)
    std::cout << rung::Answer(nlohmann::json::parse(line)) << std::endl;
}
