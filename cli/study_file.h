// A study file made ready for the coordinator: parsed, its trainer's options checked and filled in, its data
// and its model's header read, before anything is stored. Thread-safe: functions and values only.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/rung/v1/rung.pb.h"
#include "search/study_spec.h"
#include "worker/text/trainer_options.h"

namespace rung {

inline constexpr int64_t kStudyFileLimit_bytes = 256 << 10;

struct PreparedStudy {
  StudySpec spec;
  std::string path;            // absolute
  std::string canonical_json;  // with the trainer's defaults filled in
  std::map<std::string, std::string> inputs;
  std::map<std::string, std::string> data_sha256;
  std::vector<TrainingClasses> classes;  // of each training set that was read
  std::vector<std::string> warnings;
  int64_t train_rows = 0;        // 0: unknown (not read, or trainer "command")
  int64_t model_parameters = 0;  // of the largest model among the inputs; 0: unknown
};

// read_data false (`--no-check`): files are not opened, their sha256 stay unknown. Errors: NotFound (E0382:
// no such file), InvalidArgument with where = file:line:column (the study's), or file:line (the data's).
absl::StatusOr<PreparedStudy> PrepareStudy(const std::string& path, bool read_data);

// Of a JSON file that somebody wrote. Errors: InvalidArgument (E0301: it is UTF-16).
absl::Status CheckNotUtf16(const std::string& text, const std::string& path);

// "train.csv: 16 rows to train on, 2 classes: ham 12, spam 4"
std::string ClassesText(const TrainingClasses& found);
// What a person is told before the study is stored: its classes and warnings, a line each.
std::vector<std::string> NotesOf(const PreparedStudy& study);

v1::CreateStudyRequest CreateRequest(const PreparedStudy& study, bool resume_if_same);

// The space's parameters as the trainer's check wants them.
std::vector<SearchedOption> SearchedOptions(const Space& space);

}  // namespace rung
