#include "worker/model/head.h"

#include <string>

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

}  // namespace

std::unique_ptr<Head> MakeFamilyHead(const ModelConfig& config, Parameters& parameters) {
  return std::make_unique<FamilyHead>(ShapeOf(config), parameters);
}

}  // namespace rung
