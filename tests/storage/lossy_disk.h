// A disk in memory, as a file system of SQLite, whose power can be cut: of what was written since the last
// sync of a file, any part may be lost, sector by sector and in any order. Or one operation fails. One at a
// time; not thread-safe but for CutAfter, FailAt, dead and asked.
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
  // As Restore, but only the process was gone: what it had written is there, and not synced still.
  void GoOn() { left_ = INT64_MAX; }
  enum class Fault { kIoError, kFull };
  // The operation of this number from now on (1: the next one; 0: none) fails, a write after its first half;
  // those after it do not.
  void FailAt(int64_t operation, Fault fault) {
    fault_ = fault;
    fails_at_ = operation == 0 ? 0 : asked_ + operation;
  }
  // Databases that are opened from now on get synchronous=NORMAL, whatever they ask for: a control that must
  // lose something.
  void WeakenSyncs() { weakens_syncs_ = true; }
  bool weakens_syncs() const { return weakens_syncs_; }
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
  // As a process sees it now, synced or not; `to` is gone where there is no such file.
  void Copy(const std::string& from, const std::string& to);
  // One operation: SQLITE_OK, or why it fails; `error` stands for an I/O error of its kind.
  int Spend(int error);

 private:
  Rng rng_;
  std::atomic<int64_t> left_{INT64_MAX};
  std::atomic<int64_t> asked_{0};
  std::atomic<int64_t> fails_at_{0};
  std::atomic<Fault> fault_{Fault::kIoError};
  bool weakens_syncs_ = false;
  std::map<std::string, File> files_;
};

}  // namespace rung
