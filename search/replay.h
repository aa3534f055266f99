// Replay: every decision of a study derived again from its file, its seed and its log. What the world did
// (grants, reports, losses, checkpoints, requests, time that ran out, results that other studies had) is
// taken from the log in its order; what the study made of it must be what the log says. Pure; thread-safe.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "search/study.h"

namespace rung {

struct ReplayDifference {
  int64_t seq = 0;      // of the stored event; 0: the log ends where another was decided
  std::string stored;   // as JSON; empty: none
  std::string derived;  // as JSON; empty: none
};

struct ReplayReport {
  int64_t events = 0;
  int64_t decisions = 0;  // events that the study decided, and grants
  int64_t proposals = 0;  // of them: configs that a sampler proposed
  std::vector<ReplayDifference> differences;
};

// At most so many differences are reported: after one the log is followed again.
inline constexpr size_t kMaxDifferences = 20;
// Numbers that a model computed agree to this, relative; on the same build they agree to the bit.
inline constexpr double kReplayTolerance = 1e-9;

ReplayReport Replay(StudyId id, const StudySpec& spec, const std::map<std::string, std::string>& data_sha256,
                    const std::vector<Event>& log);

}  // namespace rung
