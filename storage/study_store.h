// The store: studies and their event log in one SQLite file, the truth from which everything else is rebuilt.
// Append writes a batch in one transaction; when it returns OK the batch survives kill -9 and power loss.
// Not thread-safe: the coordinator's core thread owns it. Times and ids are arguments.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "search/study.h"
#include "storage/backup.h"

namespace rung {

struct StudyRecord {
  StudyId id;
  std::string canonical_json;
  std::string name;
  std::map<std::string, std::string> inputs;
  std::map<std::string, std::string> data_sha256;
  absl::Time created_at;
  double active_seconds = 0;
  double idle_seconds = 0;  // of workers without an attempt, while the study was not finished
};

struct WorkerRecord {
  std::string name, slot, instance;
  std::string host, boot_id;
  int64_t pid = 0;
  int64_t start_time = 0;
  std::string device, slurm_job;
  std::string sent_home;  // why it gets no more work; empty: it does
};

struct RequestRecord {
  std::string request_id;
  std::string payload_sha256;
  std::string answer;
};

struct MetricPoint {
  AttemptKey key;
  int64_t step = 0;
  double budget = 0;
  std::string name;
  double value = 0;
};

struct StoredEvent {
  StudyId study;
  Event event;
};

// What one group of commands changed. Rows are written in this order.
struct Batch {
  std::vector<StudyRecord> studies;
  std::vector<StoredEvent> events;
  std::vector<MetricPoint> points;
  std::vector<WorkerRecord> workers;
  std::vector<RequestRecord> requests;
  int64_t keep_requests = 0;  // with `requests`: the newest this many stay, 0: all
  std::map<StudyId, double> active_seconds, idle_seconds;

  bool empty() const {
    return studies.empty() && events.empty() && points.empty() && workers.empty() && requests.empty() &&
           active_seconds.empty() && idle_seconds.empty();
  }
};

class StudyStore {
 public:
  // Makes the schema in an empty file; migrates an older one, and keeps what was there as PATH.schemaN.
  // max_pages limits the file's size for tests (0: none). Errors: those of
  // Sqlite::Open, FailedPrecondition (E0501: made by a newer version).
  static absl::StatusOr<std::unique_ptr<StudyStore>> Open(const std::string& path, int64_t max_pages = 0);
  // Reads a copy of this version's schema that nobody writes, and leaves it as it is.
  static absl::StatusOr<std::unique_ptr<StudyStore>> OpenToRead(const std::string& path);
  ~StudyStore();

  // All or nothing, in one transaction. Errors: ResourceExhausted (E0504), Internal (E0505; a broken
  // constraint too). After an error the caller stops acknowledging and ends the process: a commit is never
  // tried again.
  absl::Status Append(const Batch& batch);

  // A copy of the database, to be taken step by step between two Appends. Errors: those of
  // DatabaseCopy::Begin.
  absl::StatusOr<std::unique_ptr<DatabaseCopy>> BeginCopy(const std::string& path);

  // Recovery: the studies, then every event in seq order, then the rest. Errors of the callbacks end the
  // reading.
  absl::Status LoadStudies(const std::function<absl::Status(StudyRecord)>& each);
  absl::Status LoadEvents(const std::function<absl::Status(StudyId, const Event&)>& each);
  absl::Status LoadWorkers(const std::function<absl::Status(WorkerRecord)>& each);
  // The newest `limit` requests, oldest first.
  absl::Status LoadRequests(int64_t limit, const std::function<absl::Status(RequestRecord)>& each);

  // Everything that happened to one trial, in order.
  absl::StatusOr<std::vector<Event>> EventsOf(StudyId study, TrialId trial);
  // A study's events with a seq above `after`, in order, at most `limit`.
  absl::StatusOr<std::vector<Event>> EventsAfter(StudyId study, int64_t after, int64_t limit);
  // A trial's learning curves, ordered by kind, rung, replicate, attempt, step and name: those behind `after`
  // (null: from the start), at most `limit` (-1: all).
  absl::StatusOr<std::vector<MetricPoint>> PointsOf(StudyId study, TrialId trial,
                                                    const MetricPoint* after = nullptr, int64_t limit = -1);

 private:
  struct Statements;
  explicit StudyStore(std::unique_ptr<Statements> statements);
  static absl::StatusOr<std::unique_ptr<StudyStore>> Over(std::unique_ptr<Sqlite> database);
  absl::Status WriteRows(const Batch& batch);

  std::unique_ptr<Statements> statements_;
};

}  // namespace rung
