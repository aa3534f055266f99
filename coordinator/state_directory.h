// Makes and checks a state directory: sub-directories, tokens, nonce (docs/design.md, "State directory").
// Thread-safe: functions only.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/endpoint.h"

namespace rung {

struct Secrets {
  std::map<std::string, std::string> tokens;  // role -> 64 hexadecimal digits
  std::string nonce;                          // bytes of STATE_DIR/nonce
};

// Everything that is missing, 0700 and 0600. Errors: PermissionDenied (E0671: a token file that others can
// read; E0674: the directory belongs to somebody else, is a symbolic link where it must not be, or is open to
// others and none of Rung's), those of base/file.h.
absl::StatusOr<Secrets> PrepareStateDirectory(const StateDir& dir);

// A new token of the role: written into its file, and returned. Errors: those of base/file.h.
absl::StatusOr<std::string> ReplaceToken(const StateDir& dir, const std::string& role);

// Before the database is opened, which would make a new one. Errors: DataLoss (E0507): studies have files
// here and the database is missing or empty.
absl::Status CheckDatabaseThere(const StateDir& dir, const std::string& database);

// What killed writers left of status.json, endpoint.json and the tokens; not of the last hour, in which
// another process may be about to rename its own.
void RemoveOldTemporaries(const StateDir& dir);

// studies/ID with study.json and its sub-directories.
absl::Status PrepareStudyDirectory(const StateDir& dir, int64_t study, const std::string& canonical_json);

}  // namespace rung
