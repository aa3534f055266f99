// What `rung` lets rung-trainer do because it needs LibTorch: export and predict (worker/training/main.cc).
// Not thread-safe.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace rung {

// An empty file of our own, in $TMPDIR or /tmp, that goes with us.
class TemporaryFile {
 public:
  TemporaryFile();
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Runs the rung-trainer beside this program and waits for its end. Errors: its own; NotFound (E0694: there is
// none); Internal (E0698: it died).
absl::Status RunTrainerVerb(const std::vector<std::string>& arguments);

}  // namespace rung
