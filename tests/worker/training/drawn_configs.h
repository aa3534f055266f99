// Random configs of a space file. Apart from the tests that train them: search/ and worker/training have
// words in common.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace rung {

// Throws where the file is no space.
std::vector<nlohmann::json> DrawnConfigs(const std::string& path, int count, uint64_t seed);

}  // namespace rung
