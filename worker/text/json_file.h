// JSON of a stranger's file: nested at most 32 deep, because nlohmann::json copies, prints and frees it
// recursively. Thread-safe.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace rung {

inline constexpr int kMaxJsonDepth = 32;

// Discarded (is_discarded()) if it is no JSON or nested too deeply.
inline nlohmann::json ParseJson(const std::string& text) {
  bool too_deep = false;
  const auto watch = [&too_deep](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    too_deep = too_deep || depth > kMaxJsonDepth;
    return !too_deep;
  };
  nlohmann::json json = nlohmann::json::parse(text, watch, /*allow_exceptions=*/false);
  return too_deep ? nlohmann::json(nlohmann::json::value_t::discarded) : json;
}

}  // namespace rung
