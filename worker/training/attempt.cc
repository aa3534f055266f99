#include "worker/training/attempt.h"

#include <torch/torch.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "worker/training/checkpoint.h"
#include "worker/training/predictions.h"
#include "worker/training/run_plan.h"
#include "worker/training/snapshot.h"
#include "worker/training/torch_errors.h"

namespace rung {
namespace {

using nlohmann::json;

constexpr char kMatrixFile[] = "confusion_matrix.json";
constexpr char kEnvironmentFile[] = "environment.json";
constexpr char kFalseFile[] = "false_predictions.csv";

absl::Status Diverged() {
  return MakeError(absl::StatusCode::kOutOfRange,
                   {.code = "E0756",
                    .message = "training diverged: the loss or the score is not a finite number",
                    .where = "",
                    .value = "",
                    .mend = "Search lower learning rates"});
}

// The trial file's words for why an attempt has no score.
std::string CauseOf(const absl::Status& status) {
  const std::optional<ErrorDetail> detail = GetErrorDetail(status);
  const std::string code = detail ? detail->code : "";
  if (code == "E0750") return "out_of_memory";
  if (code == "E0756") return "diverged";
  if (code.starts_with("E04")) return "bad_data";
  return "crash";
}

std::string CpuModel() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

json ClassJson(const std::string& label, const ClassScore& score) {
  return {{"label", label}, {"precision", score.precision}, {"recall", score.recall},
          {"f1", score.f1}, {"support", score.support},     {"predicted", score.predicted}};
}

// Counts of truths and predictions: one matrix, or one for each label where a row may have several.
json MatrixJson(const std::vector<std::string>& labels, const TaskTally& tally) {
  json all = json::array(), classes = json::array();
  const auto count = static_cast<int>(labels.size());
  for (int truth = 0; truth < count; ++truth) {
    const std::string& label = labels[static_cast<size_t>(truth)];
    if (const MultiLabelTally* several = tally.multi_label()) {
      classes.push_back(ClassJson(label, several->OfClass(truth)));
      all.push_back(several->Matrix(truth));
      continue;
    }
    classes.push_back(ClassJson(label, tally.single_label()->OfClass(truth)));
    json row = json::array();
    for (int predicted = 0; predicted < count; ++predicted)
      row.push_back(tally.single_label()->Count(truth, predicted));
    all.push_back(row);
  }
  return {{"labels", labels},
          {tally.multi_label() == nullptr ? "matrix" : "matrices", all},
          {"classes", classes}};
}

using Outputs = std::map<std::string, std::string>;  // name -> path in output_dir

absl::StatusOr<Outputs> WriteOutputs(const TrialFile& trial, const std::vector<std::string>& labels,
                                     const TaskTally& tally, const Classifier& model, int threads) {
  Outputs outputs = {{"environment", kEnvironmentFile}};
  if (model.task() != Task::kRegression) {
    outputs["confusion_matrix"] = kMatrixFile;
    RUNG_RETURN_IF_ERROR(
        WriteFileAtomic(trial.output_dir + "/" + kMatrixFile, MatrixJson(labels, tally).dump() + "\n"));
  }
  const json environment = {{"device", model.device_name()},
                            {"cpu", CpuModel()},
                            {"instruction_set", at::get_cpu_capability()},
                            {"threads", threads},
                            {"precision", model.precision_name()},
                            {"torch", TORCH_VERSION}};
  RUNG_RETURN_IF_ERROR(
      WriteFileAtomic(trial.output_dir + "/" + kEnvironmentFile, environment.dump(1) + "\n"));
  return outputs;
}

absl::Status WriteFalsePredictions(const TrialFile& trial, Task task, const EncodedData& data,
                                   const std::vector<float>& logits, bool pairs, Outputs* outputs) {
  if (task == Task::kRegression) return absl::OkStatus();
  (*outputs)["false_predictions"] = kFalseFile;
  return WriteFileAtomic(trial.output_dir + "/" + kFalseFile,
                         FalsePredictions(task, data.labels, data.rows->test, logits, pairs));
}

}  // namespace

struct AttemptRunner::Prepared {
  TextOptions options;
  BaseWeights base;
  std::shared_ptr<const EncodedData> data;
  std::string model_directory;
};

AttemptRunner::AttemptRunner(MessagePipe& pipe, Requests& requests, Log& log, Clock& clock)
    : pipe_(pipe), requests_(requests), log_(log), clock_(clock) {}

absl::StatusOr<AttemptRunner::Prepared> AttemptRunner::Prepare(const TrialFile& trial) {
  RUNG_ASSIGN_OR_RETURN(TextOptions options, ResolveOptions(trial.trainer, trial.config));
  const auto input = [&](const std::string& name) {
    const auto found = trial.inputs.find(name);
    return found == trial.inputs.end() ? name : found->second;
  };
  if (!options.data.empty()) RUNG_RETURN_IF_ERROR(ApplyDataDescription(input(options.data), &options));
  at::set_num_threads(options.threads);
  const std::string model_directory = input(options.model_name_or_path);
  RUNG_ASSIGN_OR_RETURN(BaseWeights base, LoadBaseWeights(model_directory));
  RUNG_ASSIGN_OR_RETURN(auto data,
                        data_.Load(options, trial.fold, model_directory, base.config, trial.data_sha256));
  return Prepared{options, std::move(base), data, model_directory};
}

absl::Status AttemptRunner::Train(const TrialFile& trial, AttemptEnd* end) {
  RUNG_ASSIGN_OR_RETURN(Prepared prepared, Prepare(trial));
  RunPlan plan = PlanRun(trial, prepared.options, *prepared.data);
  plan.origin = {{"trainer", trial.trainer},
                 {"config", trial.config},
                 {"model_directory", prepared.model_directory},
                 {"text", prepared.options.text_columns},
                 {"max_seq_length", prepared.options.max_seq_length}};
  Classifier model(prepared.base, static_cast<int>(prepared.data->labels.size()), plan.seed,
                   ModelOptionsOf(prepared.options));
  prepared.base = {};  // the model has its own, and memory is short from now on
  TrainingRun run(plan, {prepared.data->train, prepared.data->validation}, model, pipe_, requests_, clock_);
  if (trial.resume_dir) {
    std::vector<std::string> reasons;
    RUNG_ASSIGN_OR_RETURN(const bool resumed, run.Resume(*trial.resume_dir, &reasons));
    for (const std::string& reason : reasons)
      log_.Write(LogLevel::kWarning, "checkpoint_rejected", {{"reason", reason}});
    if (!resumed) log_.Write(LogLevel::kWarning, "starting_anew", {{"resume_dir", *trial.resume_dir}});
  }
  RUNG_ASSIGN_OR_RETURN(const RunEnd ended, run.Run());
  if (ended == RunEnd::kDiverged) return Diverged();
  if (ended == RunEnd::kReleased) {
    *end = AttemptEnd::kReleased;
    return absl::OkStatus();
  }
  MetricValues values = run.Values();
  if (!values.contains(trial.metric)) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {.code = "E0757",
                      .message = "the trainer has no such metric",
                      .where = "objective.metric",
                      .value = trial.metric,
                      .mend = "Use validation/accuracy, validation/f1_macro, ..."});
  }
  if (prepared.options.limit_rows) values["train/limit_rows"] = *prepared.options.limit_rows;
  RUNG_ASSIGN_OR_RETURN(const Outputs outputs, WriteOutputs(trial, prepared.data->labels, run.validation(),
                                                            model, prepared.options.threads));
  return pipe_.Result(values, outputs);
}

absl::Status AttemptRunner::Evaluate(const TrialFile& trial, AttemptEnd* end) {
  RUNG_ASSIGN_OR_RETURN(const Prepared prepared, Prepare(trial));
  std::vector<std::string> reasons;
  const auto found = trial.resume_dir ? FindCheckpoint(*trial.resume_dir, INT64_MAX, &reasons) : std::nullopt;
  for (const std::string& reason : reasons)
    log_.Write(LogLevel::kWarning, "checkpoint_rejected", {{"reason", reason}});
  if (!found) {
    return MakeError(absl::StatusCode::kNotFound, {.code = "E0758",
                                                   .message = "there is no good checkpoint to evaluate",
                                                   .where = trial.resume_dir.value_or(""),
                                                   .value = "",
                                                   .mend = "Train the trial again"});
  }
  if (prepared.data->test.empty() && !prepared.options.data.empty())
    return pipe_.Result({}, {});  // its description names no test file
  if (prepared.data->test.empty()) {
    return MakeError(absl::StatusCode::kInvalidArgument, {.code = "E0445",
                                                          .message = "there is no test file to evaluate on",
                                                          .where = "trainer.test",
                                                          .value = "",
                                                          .mend = "Give trainer.test"});
  }
  Classifier model(prepared.base, static_cast<int>(prepared.data->labels.size()),
                   static_cast<uint64_t>(trial.seed), ModelOptionsOf(prepared.options));
  RUNG_RETURN_IF_ERROR(RestoreSnapshot(found->path, model.parameters(), nullptr));
  const absl::Duration begin = clock_.Steady();
  std::vector<float> logits;
  const std::optional<TaskTally> tally = EvaluateExamples(
      model, prepared.data->test, prepared.options.per_device_eval_batch_size, requests_, &logits);
  if (!tally) {
    *end = AttemptEnd::kReleased;
    return absl::OkStatus();
  }
  MetricValues values = tally->Values("test/");
  values["test/rows"] = static_cast<double>(tally->rows());
  values["test/seconds"] = absl::ToDoubleSeconds(clock_.Steady() - begin);
  RUNG_ASSIGN_OR_RETURN(Outputs outputs,
                        WriteOutputs(trial, prepared.data->labels, *tally, model, prepared.options.threads));
  RUNG_RETURN_IF_ERROR(WriteFalsePredictions(trial, prepared.options.task, *prepared.data, logits,
                                             prepared.options.text_columns.size() == 2, &outputs));
  return pipe_.Result(values, outputs);
}

absl::StatusOr<AttemptEnd> AttemptRunner::Run(const std::string& trial_path) {
  AttemptEnd end = AttemptEnd::kReported;
  const absl::Status status = CatchTorch([&]() -> absl::Status {
    RUNG_ASSIGN_OR_RETURN(const TrialFile trial, ReadTrialFile(trial_path));
    log_.Write(LogLevel::kInfo, "attempt_started",
               {{"trial", absl::StrCat(trial.trial)},
                {"rung", absl::StrCat(trial.rung)},
                {"attempt", absl::StrCat(trial.attempt)}});
    return trial.kind == AttemptKind::kTrain ? Train(trial, &end) : Evaluate(trial, &end);
  });
  if (status.ok()) return end;
  const std::optional<ErrorDetail> detail = GetErrorDetail(status);
  if (detail && detail->code == "E0753") return status;  // nobody would read a failed line either
  // A disk that is full or fails says nothing about the config.
  if (detail && (detail->code == "E0754" || detail->code == "E0603")) return status;
  const std::string message(status.message());
  log_.Write(LogLevel::kError, "attempt_failed", {{"cause", CauseOf(status)}, {"message", message}});
  RUNG_RETURN_IF_ERROR(pipe_.Failed(CauseOf(status), message));
  return AttemptEnd::kReported;
}

}  // namespace rung
