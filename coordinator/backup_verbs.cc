#include "coordinator/backup_verbs.h"

#include <sys/stat.h>

#include <cstdio>
#include <memory>

#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/status.h"
#include "coordinator/state_directory.h"
#include "coordinator/state_lock.h"
#include "proto/daemon_output.h"
#include "storage/backup.h"
#include "storage/schema.h"
#include "storage/study_store.h"

namespace rung {
namespace {

void PrintFacts(const std::string& verb, const std::string& file, const DatabaseFacts& facts,
                const std::string& kept) {
  if (WantsJson()) {
    nlohmann::ordered_json json = {{"schema", 1},
                                   {"path", file},
                                   {"database_schema", facts.schema},
                                   {"studies", facts.studies},
                                   {"events", facts.events},
                                   {"size_bytes", facts.bytes}};
    if (!kept.empty()) json["kept"] = kept;
    absl::PrintF("%s\n", json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    return;
  }
  absl::PrintF("%s %s: schema %d, %d studies, %d events, %d bytes\n", OneLine(file), verb, facts.schema,
               facts.studies, facts.events, facts.bytes);
  if (!kept.empty()) absl::PrintF("The database before it is kept as %s\n", OneLine(kept));
}

// Pages may be whole and a row not. Rows of an older schema are read when it is migrated.
absl::Status ReadRows(const std::string& file) {
  RUNG_ASSIGN_OR_RETURN(const std::unique_ptr<StudyStore> store, StudyStore::OpenToRead(file));
  RUNG_RETURN_IF_ERROR(store->LoadStudies([](const StudyRecord& study) {
    return StudySpec::Parse(study.canonical_json, "study " + study.name, "/").status();
  }));
  RUNG_RETURN_IF_ERROR(store->LoadEvents([](StudyId, const Event&) { return absl::OkStatus(); }));
  return store->LoadWorkers([](const WorkerRecord&) { return absl::OkStatus(); });
}

absl::StatusOr<DatabaseFacts> Verified(const std::string& file) {
  RUNG_ASSIGN_OR_RETURN(const DatabaseFacts facts, VerifyDatabase(file));
  if (facts.schema < kSchemaVersion) return facts;
  const absl::Status read = ReadRows(file);
  if (read.ok()) return facts;
  const ErrorDetail found = GetErrorDetail(read).value_or(ErrorDetail{});
  return MakeError(absl::StatusCode::kDataLoss, {"E0506", "a stored row cannot be read", file, found.value,
                                                 "Use another copy: they lie in backups/"});
}

}  // namespace

absl::Status VerifyBackup(const std::string& file) {
  RUNG_ASSIGN_OR_RETURN(const DatabaseFacts facts, Verified(file));
  PrintFacts("is whole", file, facts, "");
  return absl::OkStatus();
}

absl::Status RestoreBackup(const std::string& dir_path, const std::string& file) {
  umask(077);
  const StateDir dir{dir_path};
  SystemClock clock;
  RUNG_RETURN_IF_ERROR(Verified(file).status());  // before anything is made or taken
  RUNG_RETURN_IF_ERROR(PrepareStateDirectory(dir).status());
  const LockOptions options{ThisProcess(), /*gives_way=*/false, absl::Seconds(30),
                            [](absl::Duration time) { absl::SleepFor(time); }};
  RUNG_ASSIGN_OR_RETURN(const std::unique_ptr<StateLock> lock, StateLock::Acquire(dir, options, clock));
  const std::string kept = absl::StrFormat("%s.replaced-%d", lock->database(), lock->term());
  const absl::StatusOr<DatabaseFacts> facts = RestoreDatabase(file, lock->database(), kept);
  lock->Release();
  RUNG_RETURN_IF_ERROR(facts.status());
  struct stat info {};
  PrintFacts("is restored", file, *facts, stat(kept.c_str(), &info) == 0 ? kept : "");
  return absl::OkStatus();
}

}  // namespace rung
