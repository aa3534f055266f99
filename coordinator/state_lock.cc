#include "coordinator/state_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"

namespace rung {
namespace {

constexpr size_t kRecordBytes = 1024;  // fixed, so that one write replaces the whole record
constexpr absl::Duration kPoll = absl::Milliseconds(500);
constexpr int64_t kMaxTerm = int64_t{1}
                             << 53;  // a file of a higher number is not ours: no term follows the last

struct LockRecord {
  ProcessIdentity holder;
  int64_t counter = 0;
  bool released = false;
  bool gives_way = false;
  bool copying = false;  // a takeover that has not finished its copy: `database` is still the old one
  std::string database = "rung.db";
};

std::string LockPath(const StateDir& dir, int64_t term) {
  return absl::StrFormat("%s/%d", dir.lock_directory(), term);
}

std::string WantPath(const StateDir& dir) {
  return dir.lock_directory() + "/want";
}

absl::Status FileError(const std::string& path, const std::string& action) {
  const int error = errno;
  const bool full = error == ENOSPC || error == EDQUOT;
  return MakeError(
      full ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kInternal,
      {"E0641", absl::StrFormat("cannot %s the lock: %s", action, strerror(error)), path, strerror(error),
       full ? "Free some space and start again: everything acknowledged is stored"
            : "Check the file system of the state directory"});
}

absl::Status Fenced(const std::string& path, const std::string& why) {
  return MakeError(absl::StatusCode::kAborted,
                   {"E0642", why, path, "", "Start the coordinator again if no other runs"});
}

// Terms that have a file, ascending. Errors: Internal (E0641): the directory cannot be listed (no descriptor
// left, a stale NFS handle), which says nothing about who holds it.
absl::StatusOr<std::vector<int64_t>> Terms(const StateDir& dir) {
  std::vector<int64_t> terms;
  std::error_code error;
  const std::filesystem::directory_iterator end;
  std::filesystem::directory_iterator entry(dir.lock_directory(), error);
  for (; !error && entry != end; entry.increment(error)) {
    int64_t term = 0;
    const bool number = absl::SimpleAtoi(entry->path().filename().string(), &term);
    if (number && term > 0 && term <= kMaxTerm) terms.push_back(term);
  }
  if (error) {
    errno = error.value();
    return FileError(dir.lock_directory(), "list");
  }
  std::sort(terms.begin(), terms.end());
  return terms;
}

int64_t Highest(const std::vector<int64_t>& terms) {
  return terms.empty() ? 0 : terms.back();
}

std::string Encode(const LockRecord& record, int64_t term) {
  nlohmann::ordered_json json;
  json["term"] = term;
  json["host"] = record.holder.host;
  json["boot_id"] = record.holder.boot_id;
  json["pid"] = record.holder.pid;
  json["start_time"] = record.holder.start_time;
  json["counter"] = record.counter;
  json["released"] = record.released;
  json["gives_way"] = record.gives_way;
  json["copying"] = record.copying;
  json["database"] = record.database;
  std::string text = json.dump();
  if (text.size() < kRecordBytes - 1) text.resize(kRecordBytes - 1, ' ');
  return text + "\n";
}

// nullopt: gone, or not readable now.
std::optional<LockRecord> ReadRecord(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path, 64 * 1024);
  if (!text.ok()) return std::nullopt;
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  try {
    LockRecord record;
    record.holder = {json.at("host").get<std::string>(), json.at("boot_id").get<std::string>(),
                     json.at("pid").get<int64_t>(), json.at("start_time").get<int64_t>()};
    record.counter = json.at("counter").get<int64_t>();
    record.released = json.at("released").get<bool>();
    record.gives_way = json.at("gives_way").get<bool>();
    record.copying = json.value("copying", false);
    record.database = json.at("database").get<std::string>();
    // The name is joined to the directory: nothing but our own pattern may pass.
    const bool safe = record.database.starts_with("rung.") && record.database.find('/') == std::string::npos;
    return safe ? std::optional<LockRecord>(record) : std::nullopt;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

absl::Status HeldError(const StateDir& dir, const LockRecord& record) {
  return MakeError(absl::StatusCode::kAborted,
                   {"E0640",
                    absl::StrFormat("another coordinator holds the directory: process %d on %s",
                                    record.holder.pid, record.holder.host),
                    dir.root, absl::StrFormat("%d", record.holder.pid),
                    absl::StrFormat("Use it (rung study list), or end it: kill %d on %s", record.holder.pid,
                                    record.holder.host)});
}

// It was whole once, since the locks before it are gone; which database it named nobody can tell.
absl::Status DamagedError(const std::string& path) {
  return MakeError(
      absl::StatusCode::kInternal,
      {"E0641", "the lock's record is damaged", path, "",
       "When no coordinator of this directory runs anywhere: keep its rung*.db elsewhere, remove this "
       "file, and put the newest back with `rung backup restore FILE`"});
}

bool SameHost(const ProcessIdentity& a, const ProcessIdentity& b) {
  return a.host == b.host && a.boot_id == b.boot_id;
}

enum class Verdict { kFree, kTakeOver, kMovedOn };

// Waits, if it must, for what the lock of `term` turns out to be.
absl::StatusOr<Verdict> Judge(const StateDir& dir, int64_t term, const LockOptions& options, Clock& clock,
                              LockRecord& record) {
  const std::string path = LockPath(dir, term);
  const absl::Duration begin = clock.Steady();
  std::optional<int64_t> counter;
  while (true) {
    RUNG_ASSIGN_OR_RETURN(const std::vector<int64_t> terms, Terms(dir));
    if (Highest(terms) != term) return Verdict::kMovedOn;
    const std::optional<LockRecord> read = ReadRecord(path);
    if (read.has_value()) {
      record = *read;
      if (record.released || ProvedDead(record.holder))
        return record.copying ? Verdict::kTakeOver : Verdict::kFree;
      const bool here = SameHost(record.holder, options.self);
      if (record.gives_way && !options.gives_way) {
        // On another host too: one on the login node must let a job's coordinator in.
        WriteFileAtomic(WantPath(dir), absl::StrFormat("%d\n", options.self.pid)).IgnoreError();
        if (clock.Steady() - begin <= StateLock::kGiveWayWait) {
          if (!counter.has_value()) counter = record.counter;
          options.pause(absl::Milliseconds(100));
          continue;
        }
      }
      if (here || options.gives_way) return HeldError(dir, record);
      if (counter.has_value() && *counter != record.counter) return HeldError(dir, record);
      counter = record.counter;
    }
    if (clock.Steady() - begin >= options.watch) {
      if (read.has_value()) return Verdict::kTakeOver;
      RUNG_RETURN_IF_ERROR(
          ReadFile(path, 64 * 1024).status());  // an error of the disk says nothing about its holder
      // Torn before it was whole: it never opened a database, so the one before it says which is in use.
      for (auto older = terms.rbegin() + 1; older != terms.rend(); ++older) {
        if (const auto whole = ReadRecord(LockPath(dir, *older)); whole.has_value()) {
          record = *whole;
          return whole->released || ProvedDead(whole->holder) ? Verdict::kFree : Verdict::kTakeOver;
        }
      }
      if (term > 1) return DamagedError(path);
      return Verdict::kFree;
    }
    options.pause(kPoll);
  }
}

// A holder on another host may only be frozen: it goes on writing into the file it has, we into a copy.
absl::Status CopyDatabase(const StateDir& dir, const std::string& from, const std::string& to) {
  for (const char* suffix : {"", "-wal"}) {
    const std::string source = dir.root + "/" + from + suffix;
    std::error_code error;
    if (!std::filesystem::exists(source, error)) {
      std::filesystem::remove(dir.root + "/" + to + suffix, error);  // of a takeover that did not end
      continue;
    }
    RUNG_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(source, int64_t{1} << 40));
    RUNG_RETURN_IF_ERROR(WriteFileAtomic(dir.root + "/" + to + suffix, bytes));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<StateLock>> StateLock::Acquire(const StateDir& dir, const LockOptions& options,
                                                              Clock& clock) {
  std::unique_ptr<StateLock> lock(new StateLock(dir, options, clock));
  while (true) {
    RUNG_ASSIGN_OR_RETURN(const std::vector<int64_t> terms, Terms(dir));
    const int64_t highest = Highest(terms);
    LockRecord previous;
    Verdict verdict = Verdict::kFree;
    if (highest > 0) {
      RUNG_ASSIGN_OR_RETURN(verdict, Judge(dir, highest, options, clock, previous));
      RUNG_ASSIGN_OR_RETURN(const std::vector<int64_t> now, Terms(dir));
      if (verdict == Verdict::kMovedOn || Highest(now) != highest) continue;
    }
    lock->term_ = highest + 1;
    lock->database_name_ = previous.database;
    lock->copying_ = verdict == Verdict::kTakeOver;
    const std::string path = LockPath(dir, lock->term_);
    lock->descriptor_ = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (lock->descriptor_ < 0 && errno == EEXIST) continue;  // another contender won this term
    if (lock->descriptor_ < 0) return FileError(path, "make");
    if (absl::Status written = lock->Write(/*released=*/false); !written.ok()) {
      unlink(path.c_str());  // nothing was done under this term, and a torn record would have to be watched
                             // for 30 s
      return written;
    }
    // Somebody may have come and gone while we looked: a term never goes back.
    const absl::StatusOr<std::vector<int64_t>> seen = Terms(dir);
    if (!seen.ok() || Highest(*seen) != lock->term_) {
      unlink(path.c_str());
      if (!seen.ok()) return seen.status();
      close(std::exchange(lock->descriptor_, -1));
      continue;
    }
    if (lock->copying_) {
      // The lock names the copy only when the copy is whole: whoever comes after a failure here begins with
      // the old one.
      const std::string copy = absl::StrFormat("rung.%d.db", lock->term_);
      if (const absl::Status copied = CopyDatabase(dir, previous.database, copy); !copied.ok()) {
        unlink(path.c_str());
        return copied;
      }
      lock->database_name_ = copy;
      lock->copying_ = false;
      RUNG_RETURN_IF_ERROR(lock->Write(/*released=*/false));
    }
    unlink(WantPath(dir).c_str());  // a contender that still waits writes it again
    return lock;
  }
}

StateLock::~StateLock() {
  if (descriptor_ >= 0) close(descriptor_);
}

std::string StateLock::database() const {
  return dir_.root + "/" + database_name_;
}

void StateLock::RemoveOlder() {
  const absl::StatusOr<std::vector<int64_t>> terms = Terms(dir_);
  if (!terms.ok()) return;  // the next term's does it
  for (const int64_t term : *terms) {
    if (term < term_) unlink(LockPath(dir_, term).c_str());
  }
}

absl::Status StateLock::Write(bool released) {
  LockRecord record;
  record.holder = options_.self;
  record.counter = ++counter_;
  record.released = released;
  record.gives_way = options_.gives_way;
  record.copying = copying_;
  record.database = database_name_;
  const std::string text = Encode(record, term_);
  if (pwrite(descriptor_, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()) ||
      fsync(descriptor_) != 0) {
    return FileError(LockPath(dir_, term_), "write");
  }
  renewed_ = clock_.Steady();
  return absl::OkStatus();
}

absl::Status StateLock::Renew() {
  if (clock_.Steady() - renewed_ < kRenewEvery) return absl::OkStatus();
  RUNG_RETURN_IF_ERROR(Check());  // one that was fenced must not look alive again
  return Write(/*released=*/false);
}

absl::Status StateLock::Check() const {
  const absl::Duration age = clock_.Steady() - renewed_;
  RUNG_RETURN_IF_ERROR(CheckNewest());
  if (age <= kFencedAfter) return absl::OkStatus();
  return Fenced(LockPath(dir_, term_),
                absl::StrFormat("the lock was not renewed for %s", absl::FormatDuration(age)));
}

absl::Status StateLock::CheckNewest() const {
  RUNG_ASSIGN_OR_RETURN(const std::vector<int64_t> terms, Terms(dir_));
  if (Highest(terms) == term_) return absl::OkStatus();
  return Fenced(LockPath(dir_, term_), "a newer coordinator holds the directory");
}

bool StateLock::Wanted() const {
  return options_.gives_way && access(WantPath(dir_).c_str(), F_OK) == 0;
}

void StateLock::Release() {
  if (descriptor_ < 0) return;
  if (Check().ok()) Write(/*released=*/true).IgnoreError();
  close(std::exchange(descriptor_, -1));
}

}  // namespace rung
