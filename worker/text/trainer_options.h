// Every option of the trainer "text_classification": one table (option_table.h) says name, type, range,
// default. Checks a study's trainer object before anything is stored, and gives the trainer its typed
// options. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/text/model_options.h"
#include "worker/text/task.h"

namespace rung {

// A parameter of the search space, as far as the trainer's check needs it.
struct SearchedOption {
  std::string name;
  std::vector<nlohmann::json> values;  // all choices; empty for ranges
  double low = 0, high = 0;            // ranges
  bool integer = false;
};

// Fills defaults in (`version`, and split_seed with default_split_seed, which is study.seed) and checks:
// unknown keys (with did-you-mean), types, ranges, an option that is both fixed and searched, a searched name
// that no trainer reads. An option that is searched gets no default here: where it is inactive,
// ResolveOptions takes the table's. For "command" only the keys of its own are checked (argv, cwd, env,
// pass_env, deterministic, data files, options of any name). Idempotent. Errors: InvalidArgument (E0440
// unknown, E0441 type, E0442 range, E0443 twice, E0444 nobody reads it, E0445 missing) with where =
// "trainer.KEY", "trainer.options.KEY" or "space.NAME".
absl::StatusOr<nlohmann::json> CheckedTrainer(const nlohmann::json& trainer,
                                              const std::vector<SearchedOption>& searched,
                                              int64_t default_split_seed = 0);

// How much each class's rows weigh in the loss. At most one of the three; none: all weigh 1.
struct ClassWeights {
  bool balanced = false;                // rows / (classes x rows of the class), of the training rows
  std::vector<double> listed;           // one for each label, in their order
  std::map<std::string, double> named;  // labels that are not named weigh 1
};

// What is done with the model: all of it trained; nothing trained, only evaluated; adapters trained.
enum class Variant { kFull, kEvaluate, kLora };
enum class Optimizer { kAdam, kAdamW, kSgd, kRAdam };
enum class HeadActivation { kRelu, kGelu, kTanh };
enum class Schedule { kLinear, kCosine, kCosineHardRestarts, kPolynomial, kConstant };

// The options of one attempt: trainer, trainer.options and the config, merged and typed.
struct TextOptions {
  // data
  std::string train, validation_path,
      test;                     // empty where `data` names a description that has not been applied yet
  std::string data;             // a data description as the study names it; its path stands in the inputs
  double validation_share = 0;  // 0: not a share
  int folds = 0;                // 0: no folds
  std::vector<std::string> text_columns;
  Task task = Task::kSingleLabel;
  std::vector<std::string> label_columns;  // several: multi-label, a column of 0 and 1 for each
  std::string label_separator = ",";       // multi-label: between the names in one column
  ClassWeights class_weights;              // single-label
  int64_t split_seed = 0;
  std::optional<int> limit_rows;  // first rows of the training set (after the split); shown in every result
  // running
  int threads = 1;
  Precision precision = Precision::kFloat32;
  double evaluate_every = 1;              // whole training epochs; 0: rung ends only
  double checkpoint_every_seconds = 300;  // 0: rung ends only
  int keep_last = 1;
  // model and optimisation (searchable)
  std::string model_name_or_path;
  int max_seq_length = 128;
  int per_device_train_batch_size = 16;
  int per_device_eval_batch_size = 32;
  int gradient_accumulation_steps = 1;
  Optimizer optimizer_name = Optimizer::kAdamW;
  double learning_rate = 5e-5;
  double sgd_momentum = 0;
  double adam_beta1 = 0.9, adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  double weight_decay = 0;
  double max_grad_norm = 1.0;  // 0: no clipping
  Schedule scheduler_name = Schedule::kLinear;
  int warmup_steps = 0;
  double scheduler_cycles = 1;  // "scheduler.cycles"
  double scheduler_power = 1;   // "scheduler.power"
  double hidden_dropout = -1;   // "dropout": -1 = as in config.json
  // head, freezing, adapters: "head.type", "head.layers", ..., "freeze.layers", ..., "peft.method", "lora.r",
  // ...
  HeadType head_type = HeadType::kDefault;
  int head_layers = 2, head_size = 0, head_dim = 128, head_heads = 1;
  HeadPool head_pool = HeadPool::kFirstToken;
  HeadActivation head_activation = HeadActivation::kRelu;
  double head_dropout = 0.3;
  std::string head_sizes;  // empty: as head_layers and head_size say
  int head_last_layers = 1;
  int freeze_layers = 0;
  bool freeze_embeddings = false;
  Variant variant = Variant::kFull;  // kLora says peft_method too
  PeftMethod peft_method = PeftMethod::kNone;
  int lora_r = 8;
  double lora_alpha = 16, lora_dropout = 0;
  std::string lora_targets = "query,value";
  bool lora_rank_stabilised = false;
};

ModelOptions ModelOptionsOf(const TextOptions& options);

// The options "head..." as an exported model keeps them, and back. Errors: E0441, E0442.
nlohmann::json HeadOptionsJson(const TextOptions& options);
absl::StatusOr<ModelOptions> HeadOptionsFromJson(const nlohmann::json& options);

// Defaults, then trainer and trainer.options, then config. Errors as CheckedTrainer.
absl::StatusOr<TextOptions> ResolveOptions(const nlohmann::json& trainer, const nlohmann::json& config);

// What the checked trainer predicts: "multi_label" and "regression".
Task TaskOf(const nlohmann::json& trainer);
// As the trainer object writes them; null for none.
nlohmann::json ClassWeightsJson(const ClassWeights& weights);

// Reads the data description (JSON: name, train, validation, test, text, label, label_separator; paths
// relative to its file) at the absolute `path` into the data members of *options, which know the task.
// Errors: NotFound (E0409), InvalidArgument (E0440, E0441, E0442, E0445; where = path).
absl::Status ApplyDataDescription(const std::string& path, TextOptions* options);

// The rows that are trained on, after the split, by class; where rows have several labels, those that have
// the label.
struct TrainingClasses {
  std::string path;  // of the training data
  int64_t rows = 0;
  std::vector<std::pair<std::string, int64_t>> classes;  // in the labels' order; empty for a regression
};

// Reads what the study will read, before anything is stored: datasets (train, validation, test, each data
// description) and model directories' headers. Returns inputs (name as written -> absolute path) and
// data_sha256 (absolute path -> hex). Of a command: its directory, program and script must be there too
// (E0721). Data paths in `trainer` are absolute by then; names of models and data
// descriptions are resolved against base_directory.
struct CheckedInputs {
  std::vector<std::pair<std::string, std::string>> inputs;
  std::vector<std::pair<std::string, std::string>> data_sha256;
  int64_t train_rows = 0;                // of the smallest training set, after the split; 0 for "command"
  std::vector<TrainingClasses> classes;  // of each training set; empty for "command"
  std::vector<std::string> warnings;
};
absl::StatusOr<CheckedInputs> CheckInputs(const nlohmann::json& trainer,
                                          const std::vector<SearchedOption>& searched,
                                          const std::string& base_directory);

// Does this trainer (a checked one), with its task, give the metric that the study is judged by? "command"
// may name what it likes. Errors: InvalidArgument (E0757, where = "objective.metric").
absl::Status CheckMetric(const nlohmann::json& trainer, const std::string& metric);

}  // namespace rung
