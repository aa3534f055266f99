// Waits for a checkpoint that another node has written: it is on its disk before anybody hears of it, but a
// network file system may show it here later (NFS attribute caches: up to 60 s). Belongs to the agent's
// thread.
#pragma once

#include <set>
#include <string>

#include "absl/time/time.h"
#include "base/clock.h"
#include "worker/attempt_control.h"
#include "worker/attempt_plan.h"

namespace rung {

inline constexpr absl::Duration kResumePatience = absl::Seconds(90);

class ResumePoint {
 public:
  enum class Sight {
    kSeen,         // it is there, or the attempt has none
    kUnseen,       // for the first time: another node may see it
    kGone,         // for the second time, or without patience, or a command left none: nobody is asked again
    kInterrupted,  // control has a request
  };

  ResumePoint(absl::Duration patience, Clock& clock) : patience_(patience), clock_(clock) {}

  // Up to `patience` (zero: what is not there is gone), less if control gets a request.
  Sight Await(const AttemptPlan& plan, AttemptControl& control);

 private:
  const absl::Duration patience_;
  Clock& clock_;
  std::set<std::string> unseen_;  // resume directories waited for in vain
};

}  // namespace rung
