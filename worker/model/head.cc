#include "worker/model/head.h"

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/model/layers.h"

namespace rung {
namespace {

using torch::Tensor;

// All families' heads are one: dropout, dense, activation, dropout, linear on the first token.
struct HeadShape {
  std::string dense, activation, linear;
  double input_dropout, dropout;
};

HeadShape ShapeOf(const ModelConfig& c) {
  switch (c.family) {
    case ModelFamily::kBert:
      return {"pooler.dense", "tanh", "classifier", 0, c.classifier_dropout};
    case ModelFamily::kAlbert:
      return {"pooler", "tanh", "classifier", 0, c.classifier_dropout};
    case ModelFamily::kDistilBert:
      return {"pre_classifier", "relu", "classifier", 0, c.classifier_dropout};
    case ModelFamily::kRoberta:
      return {"classifier.dense", "tanh", "classifier.out_proj", c.classifier_dropout, c.classifier_dropout};
    case ModelFamily::kElectra:
      return {"classifier.dense", "gelu", "classifier.out_proj", c.classifier_dropout, c.classifier_dropout};
    case ModelFamily::kDebertaV2:
      return {"pooler.dense", c.pooler_act, "classifier", c.pooler_dropout, c.classifier_dropout};
  }
  return {};
}

class FamilyHead final : public Head {
 public:
  FamilyHead(const HeadShape& shape, Parameters& parameters)
      : shape_(shape),
        dense_(LinearOf(parameters, shape.dense)),
        linear_(LinearOf(parameters, shape.linear)) {}

  RowsRead rows_read() const override { return RowsRead::kFirstTokens; }

  Tensor Logits(const Tensor& hidden, Pass& pass) const override {
    Tensor x = hidden;
    if (shape_.input_dropout > 0) x = Dropout(x, pass.NextSite(shape_.input_dropout));
    x = Activate(PackedLinear(x, dense_), shape_.activation);
    return PackedLinear(Dropout(x, pass.NextSite(shape_.dropout)), linear_);
  }

 private:
  const HeadShape shape_;
  const LinearWeights dense_, linear_;
};

// (sum L, width) -> (n, width): mean or largest over each sequence's tokens.
Tensor PoolTokens(const Tensor& x, HeadPool pool, const Pass& pass) {
  std::vector<Tensor> pooled;
  for (const LengthGroup& group : pass.input().groups) {
    const Tensor tokens = x.narrow(0, group.first_row, group.sequences * group.length)
                              .view({group.sequences, group.length, x.size(1)});
    pooled.push_back(pool == HeadPool::kMax ? tokens.amax(1) : tokens.mean(1));
  }
  return at::cat(pooled);
}

// The last layers' outputs as one: of each row their sum, weighted by attention over the layers.
class LayerMix {
 public:
  LayerMix(const HeadOptions& options, Parameters& parameters) : layers_(options.last_layers) {
    if (layers_ > 1) query_ = parameters.Slot("head.layer_query.weight");
  }

  int layers() const { return layers_; }

  // hidden: those rows of the last layer that `rows` says. -> the same rows
  Tensor Forward(const Tensor& hidden, RowsRead rows, const Pass& pass) const {
    if (layers_ == 1) return hidden;
    std::vector<Tensor> outputs;
    for (const Tensor& x : pass.kept_layers())
      outputs.push_back(rows == RowsRead::kAll ? x : x.index_select(0, pass.input().first_rows));
    outputs.push_back(hidden);
    const Tensor stacked = at::stack(outputs, 1);  // (rows, layers, hidden)
    const int64_t width = hidden.size(1);
    const Tensor products = LowRank(stacked.view({-1, width}), query_).view({-1, layers_});
    const Tensor weights = at::softmax(products / std::sqrt(static_cast<double>(width)), 1);
    return at::bmm(weights.unsqueeze(1), stacked).squeeze(1);
  }

 private:
  const int layers_;
  WeightSlot query_;  // (1, hidden)
};

class FullyConnectedHead final : public Head {
 public:
  FullyConnectedHead(const ModelConfig& config, const HeadOptions& options, Parameters& parameters)
      : options_(options), mix_(options, parameters) {
    const size_t count = options.Widths(config.hidden_size).size();
    for (size_t i = 0; i < count; ++i) layers_.push_back(LinearOf(parameters, absl::StrCat("head.fc.", i)));
    linear_ = LinearOf(parameters, "head.linear");
  }

  RowsRead rows_read() const override {
    return options_.pool == HeadPool::kFirstToken ? RowsRead::kFirstTokens : RowsRead::kAll;
  }
  int layers_read() const override { return mix_.layers(); }

  Tensor Logits(const Tensor& hidden, Pass& pass) const override {
    Tensor x = mix_.Forward(hidden, rows_read(), pass);
    if (options_.pool != HeadPool::kFirstToken) x = PoolTokens(x, options_.pool, pass);
    for (const LinearWeights& layer : layers_)
      x = Dropout(Activate(PackedLinear(x, layer), options_.activation), pass.NextSite(options_.dropout));
    return PackedLinear(x, linear_);
  }

 private:
  const HeadOptions options_;
  const LayerMix mix_;
  std::vector<LinearWeights> layers_;
  LinearWeights linear_;
};

class AttentionHead final : public Head {
 public:
  AttentionHead(const HeadOptions& options, Parameters& parameters)
      : options_(options),
        mix_(options, parameters),
        projection_(LinearOf(parameters, "head.projection")),
        query_key_value_(LinearOf(parameters, "head.query", 3)),
        output_(LinearOf(parameters, "head.output")),
        linear_(LinearOf(parameters, "head.linear")) {}

  RowsRead rows_read() const override { return RowsRead::kAll; }
  int layers_read() const override { return mix_.layers(); }

  Tensor Logits(const Tensor& hidden, Pass& pass) const override {
    const Tensor x = PackedLinear(mix_.Forward(hidden, rows_read(), pass), projection_);
    const Tensor attended = PackedAttention(PackedLinear(x, query_key_value_), pass.input(), options_.heads,
                                            pass.NextSite(options_.dropout));
    return PackedLinear(PoolTokens(PackedLinear(attended, output_), HeadPool::kMean, pass), linear_);
  }

 private:
  const HeadOptions options_;
  const LayerMix mix_;
  const LinearWeights projection_, query_key_value_, output_, linear_;
};

}  // namespace

std::unique_ptr<Head> MakeHead(const ModelConfig& config, const HeadOptions& options,
                               Parameters& parameters) {
  switch (options.type) {
    case HeadType::kDefault:
      return std::make_unique<FamilyHead>(ShapeOf(config), parameters);
    case HeadType::kFullyConnected:
      return std::make_unique<FullyConnectedHead>(config, options, parameters);
    case HeadType::kAttention:
      return std::make_unique<AttentionHead>(options, parameters);
  }
  return nullptr;
}

}  // namespace rung
