// How a running study looks: one line per bracket with bars and ETA, redrawn in place on a terminal. Lines
// are pure functions of the coordinator's answer; LiveBlock is not thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/clock.h"
#include "cli/output.h"
#include "proto/rung/v1/rung.pb.h"
#include "search/study_spec.h"

namespace rung {

// A head line (state, trials, budget, ETA), the incumbent, then one line per open bracket (closed ones are
// counted). No line is longer than `width` columns (0: no limit). `hindrance` (cli/views.h) stands in place
// of the ETA.
std::vector<std::string> ProgressLines(const v1::StudyStatus& study, const StudySpec& spec, int width,
                                       const std::string& hindrance = "");

// Everything in one line, for logs and pipes.
std::string ProgressLine(const v1::StudyStatus& study, const StudySpec& spec,
                         const std::string& hindrance = "");

// Time until the plan is trained at the rate seen so far; nullopt ("unknown") before five results.
std::optional<absl::Duration> Eta(const v1::StudyStatus& study);

// When a line is due where nothing can be redrawn: the first at once, then one every 30 s.
class LinePace {
 public:
  explicit LinePace(Clock& clock) : clock_(clock) {}
  bool Due();     // true once an interval
  void Hasten();  // the next is due now

 private:
  Clock& clock_;
  absl::Duration next_ = -absl::InfiniteDuration();
};

// Lines at the bottom of the terminal that are drawn over again. On anything but a TTY it shows nothing.
class LiveBlock {
 public:
  explicit LiveBlock(const Terminal& terminal) : terminal_(terminal) {}
  ~LiveBlock() { Leave(); }
  LiveBlock(const LiveBlock&) = delete;
  LiveBlock& operator=(const LiveBlock&) = delete;

  void Draw(const std::vector<std::string>& lines);
  void Clear();  // removes the lines, so that something else can be printed there
  void Leave();  // keeps the lines as they are and goes on below

 private:
  const Terminal terminal_;
  size_t drawn_ = 0;
};

}  // namespace rung
