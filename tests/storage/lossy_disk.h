// A disk in memory, as a file system of SQLite, whose power can be cut: of what was written since the last
// sync of a file, any part may be lost, sector by sector and in any order. One at a time; not thread-safe but
// for CutAfter, dead and asked.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "search/rng.h"

namespace rung {

class LossyDisk {
 public:
  // Becomes SQLite's default file system until the end of its scope.
  explicit LossyDisk(uint64_t seed);
  ~LossyDisk();
  LossyDisk(const LossyDisk&) = delete;
  LossyDisk& operator=(const LossyDisk&) = delete;

  // After so many writes, truncations and syncs everything fails with an I/O error; the last one may be done
  // or not.
  void CutAfter(int64_t operations) { left_ = operations; }
  // The power comes back: what was not synced is there in part. Nothing may be open.
  void Restore();
  bool dead() const { return left_ <= 0; }
  int64_t asked() const {
    return asked_;
  }  // writes, truncations, syncs and removals so far, refused ones too

  struct Change {
    int64_t offset = 0;
    std::string bytes;
    bool truncates = false;  // to `offset`
  };
  struct File {
    std::string synced, now;
    std::vector<Change> changes;  // since the last sync
  };
  // Of the file system's functions.
  File& Open(const std::string& name) { return files_[name]; }
  bool Exists(const std::string& name) const { return files_.contains(name); }
  void Delete(const std::string& name) { files_.erase(name); }
  bool Spend();  // one operation; false: the power is gone

 private:
  Rng rng_;
  std::atomic<int64_t> left_{INT64_MAX};
  std::atomic<int64_t> asked_{0};
  std::map<std::string, File> files_;
};

}  // namespace rung
