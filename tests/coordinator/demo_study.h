// The study of the coordinator's tests: nine configs in one bracket, nothing trained.
#pragma once

namespace rung {

inline constexpr char kStudy[] = R"({"name": "demo", "trainer": {"type": "command", "argv": ["true"]},
  "objective": {"metric": "score", "goal": "maximize"}, "budget": {"unit": "epochs", "min": 1, "max": 9, "eta": 3},
  "algorithm": {"type": "hyperband"}, "space": {"x": {"low": 0, "high": 1}}, "stop": {"brackets": 1}, "seed": 7})";

}  // namespace rung
