// Events as text for the store: the JSON of configs, origins, metrics and what is left of an event.
// Thread-safe.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "search/study.h"

namespace rung {

// Errors of all readers: DataLoss (E0506: a row that this version cannot read).

std::string OriginToText(const Origin& origin);
absl::StatusOr<Origin> OriginFromText(const std::string& text);

// Numbers keep every bit; what is not finite becomes "nan", "inf" or "-inf".
std::string MetricsToText(const std::map<std::string, double>& values);
absl::StatusOr<std::map<std::string, double>> MetricsFromText(const std::string& text);

std::string StringsToText(const std::map<std::string, std::string>& values);
absl::StatusOr<std::map<std::string, std::string>> StringsFromText(const std::string& text);

std::string CopiedFromToText(const CopiedFrom& source);
absl::StatusOr<CopiedFrom> CopiedFromFromText(const std::string& text);

absl::StatusOr<EventKind> EventKindFromName(const std::string& name);

// What no table has a column for: message, loss, cause, states, checkpointed budget.
std::string BodyToText(const Event& event);
absl::Status BodyFromText(const std::string& text, Event& event);

}  // namespace rung
