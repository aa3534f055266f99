// What a study brought: incumbent and default side by side, from what the coordinator has stored.
// Thread-safe: functions only.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/views.h"

namespace rung {

struct ConfusionMatrix {
  std::vector<std::string> labels;
  std::vector<std::vector<int64_t>> counts;  // counts[true label][predicted label]
};

// The evaluation's confusion matrix: a file {"labels": [...], "matrix": [[...]]} that the trainer wrote.
// nullopt if there is none.
std::optional<ConfusionMatrix> ReadConfusionMatrix(const v1::TrialRow& trial);

// Where the checkpoints of a trial's score lie: those of its first replicate, or of the trial it was copied
// from. Errors: NotFound (E0399: it has no result).
absl::StatusOr<std::string> CheckpointsOf(const StateDir& dir, const v1::TrialRow& trial);

struct Outcome {
  v1::StudyStatus study;
  std::optional<v1::TrialRow> incumbent;
  std::optional<v1::TrialRow> default_trial;  // the enqueued trial with the space's default config
  std::optional<v1::TrialRow> first_failure;
  int resumed_at_top = 0;  // trials whose top rung went on from a checkpoint instead of starting anew
};

absl::StatusOr<Outcome> ReadOutcome(Client& client, const v1::StudyStatus& study, const StudySpec& spec);

std::string OutcomeText(const Outcome& outcome, const StudySpec& spec, const Terminal& terminal);
// Failures by cause, the first failed trial's message, and where to read more; empty without failures.
std::string FailuresText(const v1::StudyStatus& study, const std::optional<v1::TrialRow>& first);
OrderedJson OutcomeJson(const Outcome& outcome, const StudySpec& spec);

}  // namespace rung
