// Signals as events of a main loop: blocked for the process and read from a descriptor. Make it before any
// thread starts.
#pragma once

#include <optional>
#include <vector>

#include "absl/time/time.h"

namespace rung {

class Signals {
 public:
  explicit Signals(const std::vector<int>& numbers);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // The next one that came, or nullopt after `patience`.
  std::optional<int> Wait(absl::Duration patience);

 private:
  int descriptor_ = -1;
};

// True while a blocked SIGINT or SIGTERM waits to be read: commands that drain or say good-bye block them,
// and what waits for something else must notice.
bool AskedToEnd();

}  // namespace rung
