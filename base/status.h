// Errors that a person reads: a code from docs/errors.md, what is wrong, where, the value and the mend.
// They travel inside absl::Status, over gRPC too (proto/wire.h). Thread-safe: values only.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace rung {

struct ErrorDetail {
  std::string code;     // "E0312"; every code stands once in docs/errors.md
  std::string message;  // one sentence, without a full stop at its end
  std::string where;    // "study.json:14:18", "train.csv:7", a path, or empty
  std::string value;    // the offending value as written, or empty
  std::string mend;     // what to type or change: an imperative sentence
};

// A status whose message() is the whole text for a person: message (where). mend.
absl::Status MakeError(absl::StatusCode status_code, ErrorDetail detail);

// The detail of a status made by MakeError, also after annotation; nullopt for other statuses.
std::optional<ErrorDetail> GetErrorDetail(const absl::Status& status);

// The same error with `where` set if it was empty.
absl::Status WithWhere(const absl::Status& status, const std::string& where);

// What a person wrote, as a message quotes it: cut between characters behind `max_bytes`.
std::string Shortened(const std::string& text, size_t max_bytes = 80);

// Exit code of a program that ends with this status (docs/errors.md, "Exit codes"):
// OK 0, NotFound 3, PermissionDenied/Unauthenticated 4, AlreadyExists/FailedPrecondition 5,
// InvalidArgument/DataLoss 6, Unavailable 7, DeadlineExceeded 8, Cancelled 130, Aborted 75 (another
// coordinator holds the directory), others 1. Usage errors (2) and a refused insecure setup (78) are marked
// by detail codes E01xx / E0678.
int ExitCode(const absl::Status& status);

// "did you mean" for a name a person typed: the candidate with the smallest edit distance if it is at most a
// third of the length (and at least 1), else empty.
template <typename Range>
std::string ClosestName(const std::string& name, const Range& candidates);

int EditDistance(const std::string& a, const std::string& b);

template <typename Range>
std::string ClosestName(const std::string& name, const Range& candidates) {
  std::string best;
  int best_distance = static_cast<int>(name.size()) / 3 + 1;
  for (const std::string& candidate : candidates) {
    const int distance = EditDistance(name, candidate);
    if (distance <= best_distance && (best.empty() || distance < best_distance)) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace rung

#define RUNG_RETURN_IF_ERROR(expression)                                \
  do {                                                                  \
    if (absl::Status rung_status_ = (expression); !rung_status_.ok()) { \
      return rung_status_;                                              \
    }                                                                   \
  } while (false)

#define RUNG_STATUS_CONCAT_INNER_(a, b) a##b
#define RUNG_STATUS_CONCAT_(a, b) RUNG_STATUS_CONCAT_INNER_(a, b)

// RUNG_ASSIGN_OR_RETURN(const Space space, Space::Parse(...));
#define RUNG_ASSIGN_OR_RETURN(declaration, expression) \
  RUNG_ASSIGN_OR_RETURN_IMPL_(RUNG_STATUS_CONCAT_(rung_statusor_, __LINE__), declaration, expression)
#define RUNG_ASSIGN_OR_RETURN_IMPL_(holder, declaration, expression) \
  auto holder = (expression);                                        \
  if (!holder.ok()) return std::move(holder).status();               \
  declaration = *std::move(holder)
