// What a classifier says of a text. Values.
#pragma once

namespace rung {

// One of several labels; any number of several labels; a number.
enum class Task { kSingleLabel, kMultiLabel, kRegression };

// Hugging Face's name for it: problem_type of config.json.
inline const char* ProblemType(Task task) {
  if (task == Task::kMultiLabel) return "multi_label_classification";
  return task == Task::kRegression ? "regression" : "single_label_classification";
}

}  // namespace rung
