// Models put from a Hub into the local cache, as Hugging Face's own client lays it out, which finds them
// there: blobs/HASH, snapshots/COMMIT/FILE -> ../../blobs/HASH, refs/REVISION. Not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/hub.h"

namespace rung {

// What a person who waits is told.
struct PullReport {
  // Bytes of `file` that are there; called with each piece.
  std::function<void(const HubFile& file, int64_t bytes)> progress;
  std::function<void(const std::string& line)> note;
};

struct PulledFile {
  std::string name;
  std::string hash;  // as HubFile
  int64_t size_bytes = 0;
  bool fetched = false;  // now; false: it was in the cache
};

struct PulledModel {
  std::string commit;
  std::string directory;  // the snapshot
  std::vector<PulledFile> files;
};

// Fetches what Rung reads of the model into `cache` (HubCache()) and checks every file's hash, also of those
// that are there. What an interrupted call left goes on; the snapshot's links are made when all its files are
// there, config.json, by which a model is known, last. Modes are the umask's, as a cache may be a group's.
// Errors: those of Hub and ChooseFiles; DataLoss (E0485: other bytes than were promised); those of
// WriteError.
absl::StatusOr<PulledModel> PullModel(Hub& hub, const std::string& cache, const std::string& model,
                                      const std::string& revision, const PullReport& report);

}  // namespace rung
