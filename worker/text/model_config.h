// config.json of a Hugging Face encoder, read without torch. Values.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/text/task.h"

namespace rung {

// Families differ in names, embeddings, attention and head; RoBERTa's shapes are those of XLM-R and
// CamemBERT.
enum class ModelFamily { kBert, kDistilBert, kRoberta, kElectra, kAlbert, kDebertaV2 };

// Tells the second text of a pair by its token type; the other families by separators alone.
inline bool TypesTellPairs(ModelFamily family) {
  return family == ModelFamily::kBert || family == ModelFamily::kElectra || family == ModelFamily::kAlbert;
}

// Names as in Hugging Face, where its families have one name for a thing.
struct ModelConfig {
  ModelFamily family = ModelFamily::kBert;
  int vocab_size = 0;
  int embedding_size = 0;  // of the embeddings; hidden_size but for ELECTRA and ALBERT
  int hidden_size = 0;
  int num_hidden_layers = 0;
  int num_attention_heads = 0;
  int intermediate_size = 0;
  int max_position_embeddings = 0;  // rows of the table, or what a model without one was trained on
  int type_vocab_size = 0;          // 0: the family has no token types
  int pad_token_id = 0;
  double layer_norm_eps = 1e-12;
  double hidden_dropout_prob = 0.1;
  double attention_probs_dropout_prob = 0.1;
  double classifier_dropout = 0.1;  // before the last linear layer
  double initializer_range = 0.02;
  std::string hidden_act = "gelu";  // gelu (erf) | gelu_new | relu | silu | tanh
  // Of a directory with a classification head: id2label and problem_type.
  std::vector<std::string> labels;
  Task task = Task::kSingleLabel;
  // ALBERT
  int num_hidden_groups = 1, inner_group_num = 1;
  // DeBERTa
  bool position_table = true;       // false: word embeddings say nothing of positions
  bool relative_attention = false;  // disentangled attention
  bool content_to_position = false, position_to_content = false;
  bool share_attention_key = false;  // positions go through the content's query and key projections
  bool normalize_relative = false;   // LayerNorm on the relative embeddings
  int position_buckets = 0;          // 0: no logarithmic buckets
  int max_relative_positions = 0;
  double pooler_dropout = 0;
  std::string pooler_act = "gelu";

  // The longest sequence the model can read, special tokens included.
  int MaxTokens() const;
  // Half the rows of DeBERTa's table of relative positions.
  int RelativeSpan() const { return position_buckets > 0 ? position_buckets : max_relative_positions; }
};

// Reads directory/config.json. Errors: NotFound (E0433: no directory, or no config.json in it),
// InvalidArgument (E0434: key and value; an unsupported model_type is named).
absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& directory);

}  // namespace rung
