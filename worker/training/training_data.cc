#include "worker/training/training_data.h"

#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "worker/text/model_fit.h"

namespace rung {
namespace {

absl::Status CheckFit(const Tokenizer& tokenizer, const TextOptions& options,
                      const std::string& model_directory, const ModelConfig& model) {
  RUNG_RETURN_IF_ERROR(
      CheckModelFit(tokenizer, model, model_directory, /*pairs=*/options.text_columns.size() == 2));
  if (options.head_type == HeadType::kAttention && options.head_dim % options.head_heads != 0) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {.code = "E0762",
                      .message = "head.heads does not divide head.dim",
                      .where = "head.heads",
                      .value = absl::StrCat(options.head_heads, " heads, dim ", options.head_dim),
                      .mend = "Forbid the combination in the space, or search other values"});
  }
  if (options.head_last_layers > LayerCount(model)) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {.code = "E0442",
                      .message = "head.last_layers is more layers than the model has",
                      .where = model_directory,
                      .value = absl::StrCat(options.head_last_layers),
                      .mend = absl::StrCat("Give at most ", LayerCount(model))});
  }
  if (options.max_seq_length > model.MaxTokens()) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {.code = "E0442",
                      .message = "max_seq_length is more than the model can read",
                      .where = model_directory,
                      .value = absl::StrCat(options.max_seq_length),
                      .mend = absl::StrCat("Give at most ", model.MaxTokens())});
  }
  return absl::OkStatus();
}

std::vector<EncodedExample> EncodeAll(const std::vector<Example>& examples, const Tokenizer& tokenizer,
                                      bool pairs, int max_tokens) {
  std::vector<EncodedExample> out;
  out.reserve(examples.size());
  for (const Example& example : examples) {
    EncodedExample encoded;
    const auto pair = pairs ? std::optional<std::string_view>(example.pair) : std::nullopt;
    encoded.ids = tokenizer.EncodeForModel(example.text, pair, max_tokens, &encoded.token_types);
    encoded.label = example.label;
    encoded.targets = example.targets;
    encoded.weight = example.weight;
    out.push_back(std::move(encoded));
  }
  return out;
}

}  // namespace

absl::StatusOr<std::string> TrainingData::Hash(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) {
    return MakeError(absl::StatusCode::kNotFound,
                     {.code = "E0409",
                      .message = "there is no such data file",
                      .where = path,
                      .value = "",
                      .mend = "Put the file back, or create a study on another one"});
  }
  const std::string stamp =
      absl::StrFormat("%d.%d.%d.%d", info.st_ino, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
  KnownHash& known = hashes_[path];
  if (known.stamp != stamp) {
    RUNG_ASSIGN_OR_RETURN(known.sha256, FileSha256Hex(path));
    known.stamp = stamp;
  }
  return known.sha256;
}

absl::StatusOr<std::string> TrainingData::KeyOf(const TextOptions& o, std::optional<int> fold,
                                                const Hashes& expected) {
  std::string key =
      absl::StrCat(absl::StrJoin(o.text_columns, "\t"), "|", absl::StrJoin(o.label_columns, "\t"), "|",
                   static_cast<int>(o.task), o.label_separator, "|", ClassWeightsJson(o.class_weights).dump(),
                   "|", o.validation_share, "|", o.folds, "|", fold.value_or(-1), "|", o.split_seed, "|",
                   o.limit_rows.value_or(-1));
  for (const std::string& path : {o.train, o.validation_path, o.test}) {
    if (path.empty()) continue;
    RUNG_ASSIGN_OR_RETURN(const std::string hash, Hash(path));
    const auto known = expected.find(path);
    if (known != expected.end() && known->second != hash) {
      return MakeError(absl::StatusCode::kInvalidArgument,
                       {.code = "E0413",
                        .message = "the data file has other bytes than when the study was created",
                        .where = path,
                        .value = hash,
                        .mend = "Put the old file back, or create a new study on the new one"});
    }
    absl::StrAppend(&key, "|", path, "|", hash);
  }
  return key;
}

absl::StatusOr<std::shared_ptr<const EncodedData>> TrainingData::Load(const TextOptions& options,
                                                                      std::optional<int> fold,
                                                                      const std::string& model_directory,
                                                                      const ModelConfig& model,
                                                                      const Hashes& expected) {
  RUNG_ASSIGN_OR_RETURN(const std::string rows_key, KeyOf(options, fold, expected));
  const std::string key = absl::StrCat(rows_key, "|", model_directory, "|", options.max_seq_length);
  if (auto found = encoded_.Find(key)) return found;
  auto rows = rows_.Find(rows_key);
  if (rows == nullptr) {
    RUNG_ASSIGN_OR_RETURN(StudyData loaded, LoadStudyData(options, fold));
    rows = rows_.Add(rows_key, std::move(loaded));
  }
  auto tokenizer = tokenizers_.Find(model_directory);
  if (tokenizer == nullptr) {
    RUNG_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> loaded, LoadTokenizer(model_directory));
    tokenizer = tokenizers_.Add(model_directory, std::move(loaded));
  }
  RUNG_RETURN_IF_ERROR(CheckFit(**tokenizer, options, model_directory, model));
  const auto encode = [&](const std::vector<Example>& examples) {
    return EncodeAll(examples, **tokenizer, options.text_columns.size() == 2, options.max_seq_length);
  };
  return encoded_.Add(
      key, {rows->labels, encode(rows->train), encode(rows->validation), encode(rows->test), rows});
}

}  // namespace rung
