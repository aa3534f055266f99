#include "worker/text/model_tensors.h"

#include <algorithm>
#include <array>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace rung {
namespace {

class TensorList {
 public:
  void Table(const std::string& name, int64_t rows, int64_t width) {
    Add(name + ".weight", {rows, width}, TensorKind::kTable);
  }
  void Linear(const std::string& name, int64_t out, int64_t in) {
    Add(name + ".weight", {out, in}, TensorKind::kMatrix);
    Add(name + ".bias", {out}, TensorKind::kVector);
  }
  void Norm(const std::string& name, int64_t width) {
    Add(name + ".weight", {width}, TensorKind::kVector);
    Add(name + ".bias", {width}, TensorKind::kVector);
  }
  // Several linear layers of the same input, beside each other in memory.
  void Joined(const std::vector<std::string>& names, int64_t out, int64_t in) {
    for (const std::string& name : names)
      Add(name + ".weight", {out, in}, TensorKind::kMatrix, name != names.back());
    for (const std::string& name : names)
      Add(name + ".bias", {out}, TensorKind::kVector, name != names.back());
  }
  std::vector<ModelTensor> Take() { return std::move(tensors_); }
  // Of the tensors to come.
  void set_layer(int layer) { layer_ = layer; }

 private:
  void Add(const std::string& name, std::vector<int64_t> shape, TensorKind kind, bool joins_next = false) {
    tensors_.push_back({name, std::move(shape), kind, joins_next, layer_});
  }
  std::vector<ModelTensor> tensors_;
  int layer_ = kEmbeddingLayer;
};

void AddEmbeddings(const ModelConfig& c, TensorList* list) {
  list->Table("embeddings.word_embeddings", c.vocab_size, c.embedding_size);
  if (c.position_table)
    list->Table("embeddings.position_embeddings", c.max_position_embeddings, c.embedding_size);
  if (c.type_vocab_size > 0)
    list->Table("embeddings.token_type_embeddings", c.type_vocab_size, c.embedding_size);
}

// BERT's layer; RoBERTa, ELECTRA and, but for three names, DeBERTa have it too.
void AddBertLayer(const ModelConfig& c, const std::string& prefix, const std::string& suffix,
                  TensorList* list) {
  const std::string self = prefix + "attention.self.";
  list->Joined({self + "query" + suffix, self + "key" + suffix, self + "value" + suffix}, c.hidden_size,
               c.hidden_size);
  list->Linear(prefix + "attention.output.dense", c.hidden_size, c.hidden_size);
  list->Norm(prefix + "attention.output.LayerNorm", c.hidden_size);
  list->Linear(prefix + "intermediate.dense", c.intermediate_size, c.hidden_size);
  list->Linear(prefix + "output.dense", c.hidden_size, c.intermediate_size);
  list->Norm(prefix + "output.LayerNorm", c.hidden_size);
}

void AddBert(const ModelConfig& c, TensorList* list) {
  AddEmbeddings(c, list);
  list->Norm("embeddings.LayerNorm", c.embedding_size);
  if (c.family == ModelFamily::kElectra && c.embedding_size != c.hidden_size)
    list->Linear("embeddings_project", c.hidden_size, c.embedding_size);
  for (int i = 0; i < c.num_hidden_layers; ++i) {
    list->set_layer(i);
    AddBertLayer(c, absl::StrCat("encoder.layer.", i, "."), "", list);
  }
  list->set_layer(kAboveLayers);
  if (c.family == ModelFamily::kBert) list->Linear("pooler.dense", c.hidden_size, c.hidden_size);
}

void AddDistilBert(const ModelConfig& c, TensorList* list) {
  const int64_t hidden = c.hidden_size;
  AddEmbeddings(c, list);
  list->Norm("embeddings.LayerNorm", hidden);
  for (int i = 0; i < c.num_hidden_layers; ++i) {
    list->set_layer(i);
    const std::string layer = absl::StrCat("transformer.layer.", i, ".");
    list->Joined({layer + "attention.q_lin", layer + "attention.k_lin", layer + "attention.v_lin"}, hidden,
                 hidden);
    list->Linear(layer + "attention.out_lin", hidden, hidden);
    list->Norm(layer + "sa_layer_norm", hidden);
    list->Linear(layer + "ffn.lin1", c.intermediate_size, hidden);
    list->Linear(layer + "ffn.lin2", hidden, c.intermediate_size);
    list->Norm(layer + "output_layer_norm", hidden);
  }
}

void AddAlbert(const ModelConfig& c, TensorList* list) {
  const int64_t hidden = c.hidden_size;
  AddEmbeddings(c, list);
  list->Norm("embeddings.LayerNorm", c.embedding_size);
  list->Linear("encoder.embedding_hidden_mapping_in", hidden, c.embedding_size);
  for (int group = 0; group < c.num_hidden_groups; ++group) {
    int last = 0;
    for (int i = 0; i < c.num_hidden_layers; ++i) last = AlbertGroup(c, i) == group ? i : last;
    list->set_layer(last);
    for (int i = 0; i < c.inner_group_num; ++i) {
      const std::string layer =
          absl::StrCat("encoder.albert_layer_groups.", group, ".albert_layers.", i, ".");
      list->Joined({layer + "attention.query", layer + "attention.key", layer + "attention.value"}, hidden,
                   hidden);
      list->Linear(layer + "attention.dense", hidden, hidden);
      list->Norm(layer + "attention.LayerNorm", hidden);
      list->Linear(layer + "ffn", c.intermediate_size, hidden);
      list->Linear(layer + "ffn_output", hidden, c.intermediate_size);
      list->Norm(layer + "full_layer_layer_norm", hidden);
    }
  }
  list->set_layer(kAboveLayers);
  list->Linear("pooler", hidden, hidden);
}

void AddDeberta(const ModelConfig& c, TensorList* list) {
  AddEmbeddings(c, list);
  list->Norm("embeddings.LayerNorm", c.hidden_size);
  if (c.relative_attention)
    list->Table("encoder.rel_embeddings", 2 * int64_t{c.RelativeSpan()}, c.hidden_size);
  if (c.normalize_relative) list->Norm("encoder.LayerNorm", c.hidden_size);
  for (int i = 0; i < c.num_hidden_layers; ++i) {
    list->set_layer(i);
    const std::string layer = absl::StrCat("encoder.layer.", i, ".");
    AddBertLayer(c, layer, "_proj", list);
    if (c.share_attention_key) continue;
    if (c.content_to_position)
      list->Linear(layer + "attention.self.pos_key_proj", c.hidden_size, c.hidden_size);
    if (c.position_to_content)
      list->Linear(layer + "attention.self.pos_query_proj", c.hidden_size, c.hidden_size);
  }
}

// Names of foreign tensors begin with one of these.
std::vector<std::string> ForeignPrefixes(ModelFamily family) {
  switch (family) {
    case ModelFamily::kBert:
      return {"cls.", "classifier.", "qa_outputs."};
    case ModelFamily::kDistilBert:
      return {"pre_classifier.", "classifier.", "qa_outputs.", "vocab_"};
    case ModelFamily::kRoberta:
      return {"lm_head.", "classifier.", "qa_outputs.", "pooler."};
    case ModelFamily::kElectra:
      return {"discriminator_predictions.", "generator_predictions.", "generator_lm_head.", "classifier.",
              "qa_outputs."};
    case ModelFamily::kAlbert:
      return {"predictions.", "sop_classifier.", "classifier.", "qa_outputs."};
    case ModelFamily::kDebertaV2:
      return {"lm_predictions.", "mask_predictions.", "cls.", "pooler.", "classifier.", "qa_outputs."};
  }
  return {};
}

}  // namespace

std::vector<ModelTensor> EncoderTensors(const ModelConfig& config) {
  TensorList list;
  switch (config.family) {
    case ModelFamily::kBert:
    case ModelFamily::kRoberta:
    case ModelFamily::kElectra:
      AddBert(config, &list);
      break;
    case ModelFamily::kDistilBert:
      AddDistilBert(config, &list);
      break;
    case ModelFamily::kAlbert:
      AddAlbert(config, &list);
      break;
    case ModelFamily::kDebertaV2:
      AddDeberta(config, &list);
      break;
  }
  return list.Take();
}

std::vector<ModelTensor> HeadTensors(const ModelConfig& config, int labels) {
  TensorList list;
  list.set_layer(kAboveLayers);
  const int64_t hidden = config.hidden_size;
  switch (config.family) {
    case ModelFamily::kBert:
    case ModelFamily::kAlbert:
      list.Linear("classifier", labels, hidden);
      break;
    case ModelFamily::kDistilBert:
      list.Linear("pre_classifier", hidden, hidden);
      list.Linear("classifier", labels, hidden);
      break;
    case ModelFamily::kRoberta:
    case ModelFamily::kElectra:
      list.Linear("classifier.dense", hidden, hidden);
      list.Linear("classifier.out_proj", labels, hidden);
      break;
    case ModelFamily::kDebertaV2:
      list.Linear("pooler.dense", hidden, hidden);
      list.Linear("classifier", labels, hidden);
      break;
  }
  return list.Take();
}

int AlbertGroup(const ModelConfig& config, int layer) {
  return layer * config.num_hidden_groups / config.num_hidden_layers;
}

std::vector<std::string> LinearParts() {
  return {"query", "key", "value", "attention_output", "intermediate", "output"};
}

std::string LinearPartName(const ModelConfig& config, int layer, const std::string& part) {
  const std::vector<std::string> parts = LinearParts();
  const auto number = static_cast<size_t>(std::find(parts.begin(), parts.end(), part) - parts.begin());
  using Names = std::array<const char*, 6>;
  switch (config.family) {
    case ModelFamily::kBert:
    case ModelFamily::kRoberta:
    case ModelFamily::kElectra:
      return absl::StrCat("encoder.layer.", layer, ".",
                          Names{"attention.self.query", "attention.self.key", "attention.self.value",
                                "attention.output.dense", "intermediate.dense", "output.dense"}
                              .at(number));
    case ModelFamily::kDebertaV2:
      return absl::StrCat(
          "encoder.layer.", layer, ".",
          Names{"attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj",
                "attention.output.dense", "intermediate.dense", "output.dense"}
              .at(number));
    case ModelFamily::kDistilBert:
      return absl::StrCat("transformer.layer.", layer, ".",
                          Names{"attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin",
                                "ffn.lin1", "ffn.lin2"}
                              .at(number));
    case ModelFamily::kAlbert:
      return absl::StrCat(
          "encoder.albert_layer_groups.", AlbertGroup(config, layer / config.inner_group_num),
          ".albert_layers.", layer % config.inner_group_num, ".",
          Names{"attention.query", "attention.key", "attention.value", "attention.dense", "ffn", "ffn_output"}
              .at(number));
  }
  return "";
}

std::string WordTableName() {
  return "embeddings.word_embeddings.weight";
}

std::string FamilyPrefix(ModelFamily family) {
  switch (family) {
    case ModelFamily::kBert:
      return "bert.";
    case ModelFamily::kDistilBert:
      return "distilbert.";
    case ModelFamily::kRoberta:
      return "roberta.";
    case ModelFamily::kElectra:
      return "electra.";
    case ModelFamily::kAlbert:
      return "albert.";
    case ModelFamily::kDebertaV2:
      return "deberta.";
  }
  return "";
}

std::string PlainName(ModelFamily family, const std::string& name) {
  const std::string prefix = FamilyPrefix(family);
  std::string plain = absl::StartsWith(name, prefix) ? name.substr(prefix.size()) : name;
  if (absl::EndsWith(plain, ".gamma")) plain.replace(plain.size() - 5, 5, "weight");
  if (absl::EndsWith(plain, ".beta")) plain.replace(plain.size() - 4, 4, "bias");
  return plain;
}

bool IsForeignTensor(ModelFamily family, const std::string& name) {
  if (absl::EndsWith(name, "position_ids") || absl::EndsWith(name, "embeddings.token_type_ids")) return true;
  if (absl::StartsWith(name, "head.")) return true;  // of a model that Rung exported
  for (const std::string& prefix : ForeignPrefixes(family)) {
    if (absl::StartsWith(name, prefix)) return true;
  }
  return false;
}

}  // namespace rung
