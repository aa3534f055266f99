#include "tests/worker/training/drawn_configs.h"

#include "base/file.h"
#include "search/space.h"

namespace rung {

std::vector<nlohmann::json> DrawnConfigs(const std::string& path, int count, uint64_t seed) {
  const Space space = Space::Parse(nlohmann::json::parse(ReadFile(path).value())).value();
  Rng rng(seed, 1);
  std::vector<nlohmann::json> configs;
  for (int i = 0; i < count; ++i) configs.push_back(nlohmann::json::parse(CanonicalJson(space.Sample(rng))));
  return configs;
}

}  // namespace rung
