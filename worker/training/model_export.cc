#include "worker/training/model_export.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"
#include "worker/model/classifier.h"
#include "worker/text/dataset.h"
#include "worker/text/json_file.h"
#include "worker/text/tokenizer.h"
#include "worker/text/trainer_options.h"
#include "worker/training/checkpoint.h"
#include "worker/training/predictions.h"
#include "worker/training/snapshot.h"
#include "worker/training/training_run.h"

namespace rung {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kTokenizerFiles[] = {
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt",    "vocab.json",
    "merges.txt",     "added_tokens.json",     "sentencepiece.bpe.model", "spiece.model", "spm.model"};
constexpr char kRungFile[] = "rung.json";

const char* ArchitectureOf(const std::string& model_type) {
  if (model_type == "distilbert") return "DistilBertForSequenceClassification";
  if (model_type == "roberta") return "RobertaForSequenceClassification";
  if (model_type == "xlm-roberta") return "XLMRobertaForSequenceClassification";
  if (model_type == "camembert") return "CamembertForSequenceClassification";
  if (model_type == "electra") return "ElectraForSequenceClassification";
  if (model_type == "albert") return "AlbertForSequenceClassification";
  if (model_type == "deberta-v2") return "DebertaV2ForSequenceClassification";
  return "BertForSequenceClassification";
}

absl::Status NeedEmpty(const std::string& directory) {
  std::error_code error;
  const bool there = fs::exists(directory, error);
  const bool is_file = there && !fs::is_directory(directory, error);
  if (!there || (!is_file && fs::is_empty(directory, error))) return MakeDirectories(directory);
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   {.code = "E0759",
                    .message = is_file ? "this is a file, not a directory for the model"
                                       : "the directory for the model is not empty",
                    .where = directory,
                    .value = directory,
                    .mend = "Name a new directory"});
}

absl::StatusOr<json> ReadJsonFile(const std::string& path) {
  RUNG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  json object = ParseJson(text);
  if (object.is_object()) return object;
  return MakeError(absl::StatusCode::kInvalidArgument, {.code = "E0434",
                                                        .message = "the file is not a JSON object",
                                                        .where = path,
                                                        .value = "",
                                                        .mend = "Use the file of the published model"});
}

absl::Status WriteConfig(const std::string& base, const std::vector<std::string>& labels,
                         const TextOptions& options, const std::string& directory) {
  RUNG_ASSIGN_OR_RETURN(json config, ReadJsonFile(base + "/config.json"));
  // A head of another kind is Rung's own: others must not take the directory for a whole classifier.
  if (options.head_type == HeadType::kDefault) {
    config["architectures"] = {ArchitectureOf(config.value("model_type", "bert"))};
  } else {
    config.erase("architectures");
  }
  config["id2label"] = json::object();
  config["label2id"] = json::object();
  for (size_t i = 0; i < labels.size(); ++i) {
    config["id2label"][absl::StrFormat("%d", i)] = labels[i];
    config["label2id"][labels[i]] = i;
  }
  config["problem_type"] = ProblemType(options.task);
  for (const char* key : {"dtype", "torch_dtype"}) config.erase(key);
  config["torch_dtype"] = "float32";
  return WriteFileAtomic(directory + "/config.json", config.dump(2) + "\n", 0644);
}

// For whoever opens the directory with Hugging Face, which would draw an untrained head without a word of
// this one.
absl::Status WriteOwnHeadNote(const TextOptions& options, const std::string& directory) {
  if (options.head_type == HeadType::kDefault) return absl::OkStatus();
  const std::string type = HeadOptionsJson(options)["head.type"].get<std::string>();
  return WriteFileAtomic(
      directory + "/README.md",
      absl::StrFormat(
          "Of this model Hugging Face can open the encoder alone (`AutoModel`). Its classification head "
          "(head.type = %s) is Rung's own:\n`AutoModelForSequenceClassification` would put a new, "
          "untrained one in its place. `rung model predict DIR FILE` labels text\nwith the whole model.\n",
          type),
      0644);
}

absl::Status CopyTokenizer(const std::string& base, const std::string& directory) {
  for (const char* name : kTokenizerFiles) {
    const std::string from = base + "/" + name;
    std::error_code ignored;
    if (!fs::exists(from, ignored)) continue;
    RUNG_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(from));
    RUNG_RETURN_IF_ERROR(WriteFileAtomic(directory + "/" + name, bytes, 0644));
  }
  return absl::OkStatus();
}

struct Reading {
  std::vector<std::string> columns;
  int max_tokens;
  ModelOptions model;
};

// How the model read texts when it was trained; what nobody says is the model's own limit and "sentence".
absl::StatusOr<Reading> ReadingOf(const PredictRequest& request, const ModelConfig& config) {
  Reading reading = {{"sentence"}, config.MaxTokens(), {}};
  std::error_code ignored;
  const std::string path = request.model + "/" + kRungFile;
  if (fs::exists(path, ignored)) {
    RUNG_ASSIGN_OR_RETURN(const json file, ReadJsonFile(path));
    reading.columns = file.value("text", reading.columns);
    RUNG_ASSIGN_OR_RETURN(reading.model, HeadOptionsFromJson(file.value("options", json::object())));
    reading.max_tokens = std::min(reading.max_tokens, file.value("max_seq_length", reading.max_tokens));
  }
  reading.model.task = config.task;
  if (!request.text_columns.empty()) reading.columns = request.text_columns;
  return reading;
}

// What a model says of a file's rows. logits: (rows, labels).
struct Predictions {
  Task task;
  const std::vector<std::string>& columns;
  const std::vector<std::string>& labels;
  const std::vector<Example>& rows;
  std::vector<float> logits;

  std::span<const float> LogitsOf(size_t row) const {
    return {logits.data() + row * labels.size(), labels.size()};
  }
};

std::string CsvOf(const Predictions& said, bool with_logits) {
  std::string csv;
  for (const std::string& column : said.columns) csv += CsvCell(column) + ",";
  const bool regression = said.task == Task::kRegression;
  csv += regression ? "value" : "label";
  for (const std::string& label : said.labels) {
    if (!regression) csv += "," + CsvCell("probability " + label);
  }
  for (const std::string& label : said.labels) {
    if (with_logits) csv += "," + CsvCell("logit " + label);
  }
  csv += "\n";
  for (size_t i = 0; i < said.rows.size(); ++i) {
    const std::span<const float> own = said.LogitsOf(i);
    const Example& row = said.rows[i];
    csv += CsvCell(row.text) + "," + (said.columns.size() == 2 ? CsvCell(row.pair) + "," : "") +
           CsvCell(PredictedLabels(said.task, said.labels, own));
    if (!regression) {
      for (const double value : Probabilities(said.task, own)) csv += absl::StrFormat(",%.9g", value);
    }
    for (const float logit : own) {
      if (with_logits) csv += absl::StrFormat(",%.9g", logit);
    }
    csv += "\n";
  }
  return csv;
}

std::string JsonOf(const Predictions& said, bool with_logits) {
  using nlohmann::ordered_json;
  ordered_json rows = ordered_json::array();
  for (size_t i = 0; i < said.rows.size(); ++i) {
    const std::span<const float> own = said.LogitsOf(i);
    ordered_json row;
    row["text"][said.columns[0]] = said.rows[i].text;
    if (said.columns.size() == 2) row["text"][said.columns[1]] = said.rows[i].pair;
    const std::vector<double> values = Probabilities(said.task, own);
    if (said.task == Task::kRegression) {
      row["value"] = values[0];
    } else {
      row["label"] = PredictedLabels(said.task, said.labels, own);
      for (size_t k = 0; k < values.size(); ++k) row["probabilities"][said.labels[k]] = values[k];
    }
    for (size_t k = 0; k < own.size(); ++k) {
      if (with_logits) row["logits"][said.labels[k]] = own[k];
    }
    rows.push_back(std::move(row));
  }
  return rows.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

absl::Status ExportModel(const std::string& checkpoints, const std::string& directory) {
  std::vector<std::string> rejected;
  const std::optional<FoundCheckpoint> found = FindCheckpoint(checkpoints, INT64_MAX, &rejected);
  if (!found) {
    return MakeError(absl::StatusCode::kNotFound, {.code = "E0758",
                                                   .message = "there is no good checkpoint to export",
                                                   .where = checkpoints,
                                                   .value = "",
                                                   .mend = "Train the trial again"});
  }
  RUNG_ASSIGN_OR_RETURN(const json state, ReadCheckpointState(found->path));
  const json origin = state.value("origin", json::object());
  const std::string base_directory = origin.value("model_directory", "");
  const auto labels = state.value("labels", std::vector<std::string>());
  RUNG_ASSIGN_OR_RETURN(const TextOptions options, ResolveOptions(origin.value("trainer", json::object()),
                                                                  origin.value("config", json::object())));
  const absl::StatusOr<BaseWeights> base = LoadBaseWeights(base_directory);
  if (!base.ok()) {
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     {.code = "E0760",
                      .message = absl::StrFormat("the model that was fine-tuned cannot be read any more: %s",
                                                 base.status().message()),
                      .where = base_directory,
                      .value = base_directory,
                      .mend = "Put the base model back: its config.json and tokenizer belong to the export"});
  }
  Classifier model(*base, static_cast<int>(labels.size()), 0, ModelOptionsOf(options));
  RUNG_RETURN_IF_ERROR(RestoreSnapshot(found->path, model.parameters(), nullptr));
  model.MergeAdapters();
  RUNG_RETURN_IF_ERROR(NeedEmpty(directory));
  const Snapshot snapshot(model.parameters(), nullptr);
  std::vector<StoredTensor> tensors = snapshot.model();
  std::erase_if(tensors, [](const StoredTensor& tensor) { return tensor.name.starts_with("lora."); });
  RUNG_RETURN_IF_ERROR(WriteSafetensors(directory + "/model.safetensors", tensors));
  fs::permissions(directory + "/model.safetensors", fs::perms(0644));
  RUNG_RETURN_IF_ERROR(CopyTokenizer(base_directory, directory));
  const json reading = {{"text", origin.value("text", json())},
                        {"max_seq_length", origin.value("max_seq_length", json())},
                        {"updates", found->update},
                        {"config", origin.value("config", json())},
                        {"options", HeadOptionsJson(options)}};
  RUNG_RETURN_IF_ERROR(WriteFileAtomic(directory + "/" + kRungFile, reading.dump(2) + "\n", 0644));
  RUNG_RETURN_IF_ERROR(WriteOwnHeadNote(options, directory));
  return WriteConfig(base_directory, labels, options, directory);
}

absl::Status PredictFile(const PredictRequest& request) {
  RUNG_ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(request.model));
  const std::vector<std::string>& labels = config.labels;
  if (labels.empty() || (labels.size() < 2 && config.task == Task::kSingleLabel)) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {.code = "E0761",
                      .message = "config.json names no classes (id2label)",
                      .where = request.model + "/config.json",
                      .value = "",
                      .mend = "Use a fine-tuned model, for example of `rung study best --export`"});
  }
  RUNG_ASSIGN_OR_RETURN(const auto tokenizer, LoadTokenizer(request.model));
  RUNG_ASSIGN_OR_RETURN(const Reading reading, ReadingOf(request, config));
  RUNG_ASSIGN_OR_RETURN(const std::vector<Example> rows, LoadTexts(request.file, reading.columns));
  std::vector<EncodedExample> examples;
  for (const Example& row : rows) {
    EncodedExample example;
    const auto pair = reading.columns.size() == 2 ? std::optional<std::string_view>(row.pair) : std::nullopt;
    if (config.task != Task::kSingleLabel) example.targets.assign(labels.size(), 0);  // nobody knows them
    example.ids = tokenizer->EncodeForModel(row.text, pair, reading.max_tokens, &example.token_types);
    examples.push_back(std::move(example));
  }
  const bool family_head = reading.model.head.type == HeadType::kDefault;
  RUNG_ASSIGN_OR_RETURN(
      const BaseWeights base,
      LoadBaseWeights(request.model, family_head ? ModelPart::kWithHead : ModelPart::kEncoder));
  Classifier model(base, static_cast<int>(labels.size()), 0, reading.model);
  if (!family_head) RUNG_RETURN_IF_ERROR(RestoreSnapshot(request.model, model.parameters(), nullptr));
  Predictions said = {config.task, reading.columns, labels, rows, {}};
  EvaluateExamples(model, examples, request.batch_size, Requests(), &said.logits);
  const std::string text = request.as_json ? JsonOf(said, request.logits) : CsvOf(said, request.logits);
  return WriteFileAtomic(request.out, text, 0644);
}

}  // namespace rung
