// What a fixture wrote, and how far ours is from it.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "worker/text/weight_files.h"

namespace rung {

// Where tests/parity/make_fixtures.py wrote `name`.
inline std::string FixturePath(const std::string& name) {
  const char* value = std::getenv("RUNG_PARITY_DIR");
  INFO("RUNG_PARITY_DIR must name what tests/parity/make_fixtures.py wrote");
  REQUIRE(value != nullptr);
  return std::string(value) + "/" + name;
}

inline nlohmann::json FixtureJson(const std::string& name) {
  std::ifstream file(FixturePath(name));
  INFO(name);
  REQUIRE(file.good());
  return nlohmann::json::parse(file);
}

inline std::vector<float> ExpectedTensor(const SafetensorsFile& file, const std::string& name) {
  const TensorInfo* tensor = file.Find(name);
  INFO(name);
  REQUIRE(tensor != nullptr);
  std::vector<float> values(static_cast<size_t>(tensor->end - tensor->begin) / sizeof(float));
  std::memcpy(values.data(), file.data(*tensor), values.size() * sizeof(float));
  return values;
}

// The larger of `worst` and |difference|; not a number counts as infinitely large.
inline double Larger(double worst, double difference) {
  if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
  return std::max(worst, std::abs(difference));
}

// Largest difference, as a share of the larger of 1 and the largest value.
inline double Worst(const float* ours, const std::vector<float>& theirs) {
  double worst = 0, largest = 1;
  for (size_t i = 0; i < theirs.size(); ++i) {
    worst = Larger(worst, static_cast<double>(ours[i]) - static_cast<double>(theirs[i]));
    largest = std::max(largest, std::abs(static_cast<double>(theirs[i])));
  }
  return std::isfinite(worst) ? worst / largest : worst;
}

}  // namespace rung
