#include "storage/study_store.h"

#include <limits>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"
#include "search/space.h"
#include "storage/event_codec.h"
#include "storage/schema.h"
#include "storage/sqlite.h"

namespace rung {
namespace {

// One row per event with what its kind keeps in another table.
constexpr char kSelectEvents[] =
    "SELECT e.seq, e.study, e.kind, e.trial, e.rung, e.replicate, e.attempt_kind, e.attempt, e.at, e.body,"
    " t.config, t.origin, t.bracket, t.first_rung, a.worker, a.resume_rung, a.resume_attempt,"
    " r.metrics, r.outputs, r.charged, r.device_seconds, r.identity, r.copied_from"
    " FROM event e LEFT JOIN trial t ON t.created = e.seq LEFT JOIN attempt a ON a.granted = e.seq"
    " LEFT JOIN result r ON r.stored = e.seq";

// Beside the database, for who must go back to the older version of Rung. A copy that an earlier try left is
// older than what is migrated now.
absl::Status KeepSnapshot(Sqlite& database, int64_t version) {
  const std::string snapshot = absl::StrFormat("%s.schema%d", database.path(), version);
  return CopyDatabase(database, snapshot, DatabaseCopy::Existing::kReplace).status();
}

// All steps in one transaction: after a failure the database is as it was.
absl::Status Migrate(Sqlite& database, int64_t version) {
  std::string steps;
  if (version < 1) steps += kSchema1;
  if (version < 2) steps += kSchema2;
  if (version < 3) steps += kSchema3;
  if (version < 4) steps += kSchema4;
  if (version < 5) steps += kSchema5;
  absl::Status migrated =
      database.Execute(absl::StrFormat("BEGIN IMMEDIATE; %s PRAGMA application_id=%d; PRAGMA user_version=%d;"
                                       " COMMIT;",
                                       steps, kApplicationId, kSchemaVersion));
  if (!migrated.ok()) database.Execute("ROLLBACK").IgnoreError();
  return migrated;
}

absl::Status CheckSchema(Sqlite& database) {
  RUNG_ASSIGN_OR_RETURN(const int64_t version, database.Integer("PRAGMA user_version"));
  if (version > kSchemaVersion) return NewerSchema(database.path(), version);
  RUNG_ASSIGN_OR_RETURN(const int64_t application, database.Integer("PRAGMA application_id"));
  if (version > 0 && application == kApplicationId) {
    if (version == kSchemaVersion) return absl::OkStatus();
    RUNG_RETURN_IF_ERROR(KeepSnapshot(database, version));
    return Migrate(database, version);
  }
  RUNG_ASSIGN_OR_RETURN(const int64_t tables, database.Integer("SELECT count(*) FROM sqlite_schema"));
  if (tables > 0) {
    return MakeError(absl::StatusCode::kDataLoss, {"E0502", "the database is none of Rung's", database.path(),
                                                   "", "Move it away, or use another directory"});
  }
  return Migrate(database, 0);
}

AttemptKind KindFromName(const std::string& name) {
  return name == Name(AttemptKind::kEvaluate) ? AttemptKind::kEvaluate
                                              : AttemptKind::kTrain;  // the column's CHECK
}

absl::Status ReadTrial(const Statement& row, Event& event) {
  RUNG_ASSIGN_OR_RETURN(
      event.config, ConfigFromJson(nlohmann::json::parse(row.Text(10), nullptr, /*allow_exceptions=*/false)));
  RUNG_ASSIGN_OR_RETURN(event.origin, OriginFromText(row.Text(11)));
  event.bracket = static_cast<int>(row.Integer(12));
  event.first_rung = static_cast<int>(row.Integer(13));
  return absl::OkStatus();
}

absl::Status ReadResult(const Statement& row, Event& event) {
  RUNG_ASSIGN_OR_RETURN(event.result.values, MetricsFromText(row.Text(17)));
  RUNG_ASSIGN_OR_RETURN(event.result.outputs, StringsFromText(row.Text(18)));
  event.result.charged = row.Real(19);
  event.result.device_seconds = row.Real(20);
  event.identity = row.Text(21);
  if (row.IsNull(22)) return absl::OkStatus();
  RUNG_ASSIGN_OR_RETURN(event.copied_from, CopiedFromFromText(row.Text(22)));
  return absl::OkStatus();
}

absl::StatusOr<Event> ReadEvent(const Statement& row) {
  Event event;
  event.seq = row.Integer(0);
  RUNG_ASSIGN_OR_RETURN(event.kind, EventKindFromName(row.Text(2)));
  event.job.trial = TrialId{row.Integer(3)};
  event.job.rung = static_cast<int>(row.Integer(4));
  event.job.replicate = static_cast<int>(row.Integer(5));
  event.job.kind = KindFromName(row.Text(6));
  event.attempt = row.Integer(7);
  event.at = absl::FromUnixMicros(row.Integer(8));
  RUNG_RETURN_IF_ERROR(BodyFromText(row.Text(9), event));
  if (event.kind == EventKind::kTrialCreated) RUNG_RETURN_IF_ERROR(ReadTrial(row, event));
  if (event.kind == EventKind::kAttemptGranted) {
    event.worker = row.Text(14);
    event.resume_rung = static_cast<int>(row.Integer(15));
    event.resume_attempt = row.Integer(16);
  }
  if (event.kind == EventKind::kResult) RUNG_RETURN_IF_ERROR(ReadResult(row, event));
  return event;
}

Statement& BindJob(Statement& statement, StudyId study, const Job& job) {
  return statement.Bind(study.value)
      .Bind(job.trial.value)
      .Bind(int64_t{job.rung})
      .Bind(int64_t{job.replicate});
}

}  // namespace

struct StudyStore::Statements {
  std::unique_ptr<Sqlite> database;
  Statement study, event, trial, attempt, attempt_ended, result, point, request, old_requests, worker, active,
      idle;

  absl::Status InsertEvent(StudyId study_id, const Event& e);
  absl::Status InsertResult(StudyId study_id, const Event& e);
  absl::Status EndAttempt(StudyId study_id, const Event& e, const char* state);
};

absl::Status StudyStore::Statements::EndAttempt(StudyId study_id, const Event& e, const char* state) {
  attempt_ended.Bind(std::string(state)).Bind(e.seq);
  return BindJob(attempt_ended, study_id, e.job).Bind(std::string(Name(e.job.kind))).Bind(e.attempt).Run();
}

absl::Status StudyStore::Statements::InsertResult(StudyId study_id, const Event& e) {
  BindJob(result, study_id, e.job)
      .Bind(std::string(Name(e.job.kind)))
      .Bind(e.attempt)
      .Bind(e.seq)
      .Bind(MetricsToText(e.result.values))
      .Bind(StringsToText(e.result.outputs))
      .Bind(e.result.charged)
      .Bind(e.result.device_seconds)
      .Bind(e.identity);
  if (e.copied_from.has_value()) {
    result.Bind(CopiedFromToText(*e.copied_from));
    return result.Run();
  }
  RUNG_RETURN_IF_ERROR(result.BindNull().Run());
  return EndAttempt(study_id, e, "reported");
}

absl::Status StudyStore::Statements::InsertEvent(StudyId study_id, const Event& e) {
  event.Bind(e.seq).Bind(study_id.value).Bind(std::string(Name(e.kind))).Bind(e.job.trial.value);
  event.Bind(int64_t{e.job.rung}).Bind(int64_t{e.job.replicate}).Bind(std::string(Name(e.job.kind)));
  RUNG_RETURN_IF_ERROR(event.Bind(e.attempt).Bind(absl::ToUnixMicros(e.at)).Bind(BodyToText(e)).Run());
  switch (e.kind) {
    case EventKind::kTrialCreated:
      return trial.Bind(study_id.value)
          .Bind(e.job.trial.value)
          .Bind(e.seq)
          .Bind(CanonicalJson(e.config))
          .Bind(OriginToText(e.origin))
          .Bind(int64_t{e.bracket})
          .Bind(int64_t{e.first_rung})
          .Run();
    case EventKind::kAttemptGranted:
      return BindJob(attempt, study_id, e.job)
          .Bind(std::string(Name(e.job.kind)))
          .Bind(e.attempt)
          .Bind(e.seq)
          .Bind(e.worker)
          .Bind(int64_t{e.resume_rung})
          .Bind(e.resume_attempt)
          .Run();
    case EventKind::kAttemptLost:
      return EndAttempt(study_id, e, "lost");
    case EventKind::kAttemptFailed:
      return EndAttempt(study_id, e, "failed");
    case EventKind::kResult:
      return InsertResult(study_id, e);
    case EventKind::kCheckpoint:
    case EventKind::kPromoted:
    case EventKind::kTrialFinished:
    case EventKind::kStudyState:
      return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status NewerSchema(const std::string& path, int64_t version) {
  return MakeError(
      absl::StatusCode::kFailedPrecondition,
      {"E0501",
       absl::StrFormat("the database has schema %d, this version of Rung knows %d", version, kSchemaVersion),
       path, absl::StrFormat("%d", version), "Use the newer Rung that made it, or another directory"});
}

StudyStore::StudyStore(std::unique_ptr<Statements> statements) : statements_(std::move(statements)) {}

StudyStore::~StudyStore() = default;

absl::StatusOr<std::unique_ptr<StudyStore>> StudyStore::Open(const std::string& path, int64_t max_pages) {
  RUNG_ASSIGN_OR_RETURN(Sqlite opened, Sqlite::Open(path, max_pages));
  auto database = std::make_unique<Sqlite>(std::move(opened));
  RUNG_RETURN_IF_ERROR(CheckSchema(*database));
  // A process that was killed between writing a commit and syncing it leaves one that is read here, and that
  // the power could still take: what is told of it must be safe.
  RUNG_RETURN_IF_ERROR(database->SyncLog());
  return Over(std::move(database));
}

absl::StatusOr<std::unique_ptr<StudyStore>> StudyStore::OpenToRead(const std::string& path) {
  RUNG_ASSIGN_OR_RETURN(Sqlite opened, Sqlite::OpenReadOnly(path));
  return Over(std::make_unique<Sqlite>(std::move(opened)));
}

absl::StatusOr<std::unique_ptr<StudyStore>> StudyStore::Over(std::unique_ptr<Sqlite> database) {
  RUNG_ASSIGN_OR_RETURN(Statement study, database->Prepare("INSERT INTO study VALUES (?,?,?,?,?,?,?,?)"));
  RUNG_ASSIGN_OR_RETURN(Statement event, database->Prepare("INSERT INTO event VALUES (?,?,?,?,?,?,?,?,?,?)"));
  RUNG_ASSIGN_OR_RETURN(Statement trial, database->Prepare("INSERT INTO trial VALUES (?,?,?,?,?,?,?)"));
  RUNG_ASSIGN_OR_RETURN(Statement attempt,
                        database->Prepare("INSERT INTO attempt VALUES (?,?,?,?,?,?,?,NULL,?,?,?,'running')"));
  RUNG_ASSIGN_OR_RETURN(
      Statement ended,
      database->Prepare("UPDATE attempt SET state = ?, ended = ? WHERE study = ? AND trial = ? AND"
                        " rung = ? AND replicate = ? AND kind = ? AND attempt = ?"));
  RUNG_ASSIGN_OR_RETURN(Statement result,
                        database->Prepare("INSERT INTO result VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"));
  // A worker that is not sure sends its points again: they replace themselves.
  RUNG_ASSIGN_OR_RETURN(
      Statement point, database->Prepare("INSERT OR REPLACE INTO metric_point VALUES (?,?,?,?,?,?,?,?,?,?)"));
  RUNG_ASSIGN_OR_RETURN(Statement request,
                        database->Prepare("INSERT OR REPLACE INTO request VALUES (NULL,?,?,?)"));
  RUNG_ASSIGN_OR_RETURN(
      Statement old_requests,
      database->Prepare("DELETE FROM request WHERE number <= (SELECT max(number) FROM request) - ?"));
  RUNG_ASSIGN_OR_RETURN(Statement worker,
                        database->Prepare("INSERT OR REPLACE INTO worker VALUES (?,?,?,?,?,?,?,?,?,?)"));
  RUNG_ASSIGN_OR_RETURN(Statement active,
                        database->Prepare("UPDATE study SET active_seconds = ? WHERE id = ?"));
  RUNG_ASSIGN_OR_RETURN(Statement idle, database->Prepare("UPDATE study SET idle_seconds = ? WHERE id = ?"));
  return std::unique_ptr<StudyStore>(new StudyStore(std::make_unique<Statements>(Statements{
      std::move(database), std::move(study), std::move(event), std::move(trial), std::move(attempt),
      std::move(ended), std::move(result), std::move(point), std::move(request), std::move(old_requests),
      std::move(worker), std::move(active), std::move(idle)})));
}

absl::StatusOr<std::unique_ptr<DatabaseCopy>> StudyStore::BeginCopy(const std::string& path) {
  return DatabaseCopy::Begin(*statements_->database, path);
}

absl::Status StudyStore::Append(const Batch& batch) {
  if (batch.empty()) return absl::OkStatus();
  RUNG_RETURN_IF_ERROR(statements_->database->Execute("BEGIN IMMEDIATE"));
  absl::Status status = WriteRows(batch);
  if (status.ok()) status = statements_->database->Execute("COMMIT");
  // After a full disk SQLite may have rolled back by itself: the second ROLLBACK's complaint says nothing
  // new.
  if (!status.ok()) statements_->database->Execute("ROLLBACK").IgnoreError();
  return status;
}

absl::Status StudyStore::WriteRows(const Batch& batch) {
  Statements& s = *statements_;
  for (const StudyRecord& record : batch.studies) {
    s.study.Bind(record.id.value)
        .Bind(record.name)
        .Bind(record.canonical_json)
        .Bind(StringsToText(record.inputs));
    s.study.Bind(StringsToText(record.data_sha256)).Bind(absl::ToUnixMicros(record.created_at));
    RUNG_RETURN_IF_ERROR(s.study.Bind(record.active_seconds).Bind(record.idle_seconds).Run());
  }
  for (const StoredEvent& stored : batch.events)
    RUNG_RETURN_IF_ERROR(s.InsertEvent(stored.study, stored.event));
  for (const MetricPoint& point : batch.points) {
    s.point.Bind(point.key.study.value)
        .Bind(point.key.job.trial.value)
        .Bind(std::string(Name(point.key.job.kind)))
        .Bind(int64_t{point.key.job.rung})
        .Bind(int64_t{point.key.job.replicate})
        .Bind(point.key.attempt)
        .Bind(point.step)
        .Bind(point.name);
    RUNG_RETURN_IF_ERROR(s.point.Bind(point.budget).Bind(point.value).Run());
  }
  for (const WorkerRecord& record : batch.workers) {
    s.worker.Bind(record.name).Bind(record.slot).Bind(record.instance).Bind(record.host).Bind(record.boot_id);
    s.worker.Bind(record.pid).Bind(record.start_time).Bind(record.device).Bind(record.slurm_job);
    s.worker.Bind(record.sent_home);
    RUNG_RETURN_IF_ERROR(s.worker.Run());
  }
  for (const RequestRecord& record : batch.requests) {
    s.request.Bind(record.request_id).Bind(record.payload_sha256).BindBlob(record.answer);
    RUNG_RETURN_IF_ERROR(s.request.Run());
  }
  if (!batch.requests.empty() && batch.keep_requests > 0) {
    RUNG_RETURN_IF_ERROR(s.old_requests.Bind(batch.keep_requests).Run());
  }
  for (const auto& [study, seconds] : batch.active_seconds) {
    RUNG_RETURN_IF_ERROR(s.active.Bind(seconds).Bind(study.value).Run());
  }
  for (const auto& [study, seconds] : batch.idle_seconds) {
    RUNG_RETURN_IF_ERROR(s.idle.Bind(seconds).Bind(study.value).Run());
  }
  return absl::OkStatus();
}

absl::Status StudyStore::LoadStudies(const std::function<absl::Status(StudyRecord)>& each) {
  RUNG_ASSIGN_OR_RETURN(
      Statement rows, statements_->database->Prepare(
                          "SELECT id, name, canonical_json, inputs, data_sha256, created_at, active_seconds,"
                          " idle_seconds FROM study ORDER BY id"));
  while (true) {
    RUNG_ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) return absl::OkStatus();
    StudyRecord record;
    record.id = StudyId{rows.Integer(0)};
    record.name = rows.Text(1);
    record.canonical_json = rows.Text(2);
    RUNG_ASSIGN_OR_RETURN(record.inputs, StringsFromText(rows.Text(3)));
    RUNG_ASSIGN_OR_RETURN(record.data_sha256, StringsFromText(rows.Text(4)));
    record.created_at = absl::FromUnixMicros(rows.Integer(5));
    record.active_seconds = rows.Real(6);
    record.idle_seconds = rows.Real(7);
    RUNG_RETURN_IF_ERROR(each(std::move(record)));
  }
}

absl::Status StudyStore::LoadEvents(const std::function<absl::Status(StudyId, const Event&)>& each) {
  RUNG_ASSIGN_OR_RETURN(Statement rows,
                        statements_->database->Prepare(std::string(kSelectEvents) + " ORDER BY e.seq"));
  while (true) {
    RUNG_ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) return absl::OkStatus();
    RUNG_ASSIGN_OR_RETURN(const Event event, ReadEvent(rows));
    RUNG_RETURN_IF_ERROR(each(StudyId{rows.Integer(1)}, event));
  }
}

absl::Status StudyStore::LoadWorkers(const std::function<absl::Status(WorkerRecord)>& each) {
  RUNG_ASSIGN_OR_RETURN(Statement rows, statements_->database->Prepare("SELECT * FROM worker ORDER BY name"));
  while (true) {
    RUNG_ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) return absl::OkStatus();
    RUNG_RETURN_IF_ERROR(each({rows.Text(0), rows.Text(1), rows.Text(2), rows.Text(3), rows.Text(4),
                               rows.Integer(5), rows.Integer(6), rows.Text(7), rows.Text(8), rows.Text(9)}));
  }
}

absl::Status StudyStore::LoadRequests(int64_t limit, const std::function<absl::Status(RequestRecord)>& each) {
  RUNG_ASSIGN_OR_RETURN(
      Statement rows,
      statements_->database->Prepare("SELECT request_id, payload_sha256, answer FROM (SELECT * FROM request"
                                     " ORDER BY number DESC LIMIT ?) ORDER BY number"));
  rows.Bind(limit);
  while (true) {
    RUNG_ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) return absl::OkStatus();
    RUNG_RETURN_IF_ERROR(each({rows.Text(0), rows.Text(1), rows.Text(2)}));
  }
}

namespace {

absl::StatusOr<std::vector<Event>> AllEvents(Statement& rows) {
  std::vector<Event> events;
  while (true) {
    RUNG_ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) return events;
    RUNG_ASSIGN_OR_RETURN(Event event, ReadEvent(rows));
    events.push_back(std::move(event));
  }
}

}  // namespace

absl::StatusOr<std::vector<Event>> StudyStore::EventsOf(StudyId study, TrialId trial) {
  RUNG_ASSIGN_OR_RETURN(Statement rows,
                        statements_->database->Prepare(std::string(kSelectEvents) +
                                                       " WHERE e.study = ? AND e.trial = ? ORDER BY e.seq"));
  rows.Bind(study.value).Bind(trial.value);
  return AllEvents(rows);
}

absl::StatusOr<std::vector<Event>> StudyStore::EventsAfter(StudyId study, int64_t after, int64_t limit) {
  RUNG_ASSIGN_OR_RETURN(Statement rows, statements_->database->Prepare(
                                            std::string(kSelectEvents) +
                                            " WHERE e.study = ? AND e.seq > ? ORDER BY e.seq LIMIT ?"));
  rows.Bind(study.value).Bind(after).Bind(limit);
  return AllEvents(rows);
}

absl::StatusOr<std::vector<MetricPoint>> StudyStore::PointsOf(StudyId study, TrialId trial,
                                                              const MetricPoint* after, int64_t limit) {
  RUNG_ASSIGN_OR_RETURN(
      Statement rows,
      statements_->database->Prepare("SELECT kind, rung, replicate, attempt, step, name, budget, value FROM"
                                     " metric_point WHERE study = ? AND trial = ? AND"
                                     " (kind, rung, replicate, attempt, step, name) > (?,?,?,?,?,?)"
                                     " ORDER BY kind, rung, replicate, attempt, step, name LIMIT ?"));
  rows.Bind(study.value).Bind(trial.value);
  const MetricPoint last = after == nullptr ? MetricPoint{} : *after;
  rows.Bind(std::string(after == nullptr ? "" : Name(last.key.job.kind)));
  rows.Bind(int64_t{last.key.job.rung}).Bind(int64_t{last.key.job.replicate}).Bind(last.key.attempt);
  rows.Bind(last.step).Bind(last.name).Bind(limit);
  std::vector<MetricPoint> points;
  while (true) {
    RUNG_ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) return points;
    MetricPoint point;
    point.key.study = study;
    point.key.job = {trial, static_cast<int>(rows.Integer(1)), static_cast<int>(rows.Integer(2)),
                     KindFromName(rows.Text(0))};
    point.key.attempt = rows.Integer(3);
    point.step = rows.Integer(4);
    point.name = rows.Text(5);
    point.budget = rows.Real(6);
    point.value = rows.IsNull(7) ? std::numeric_limits<double>::quiet_NaN() : rows.Real(7);
    points.push_back(std::move(point));
  }
}

}  // namespace rung
