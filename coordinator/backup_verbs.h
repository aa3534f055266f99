// What rungd does with a backup instead of serving: `rung backup verify` and `rung backup restore`. Both
// print what the backup holds to stdout, for a person or as JSON (kErrorFormatVariable).
#pragma once

#include <string>

#include "absl/status/status.h"

namespace rung {

// Errors: those of VerifyDatabase, DataLoss (E0506: a row that cannot be read).
absl::Status VerifyBackup(const std::string& file);

// Takes the directory's lock, so that no coordinator uses the database meanwhile; the database that was there
// stays beside it as DATABASE.replaced-TERM. Errors: Aborted (E0640: a coordinator holds the directory),
// those of VerifyBackup and RestoreDatabase.
absl::Status RestoreBackup(const std::string& dir, const std::string& file);

}  // namespace rung
