#include "worker/model/encoder.h"

namespace rung {

std::unique_ptr<Encoder> MakeEncoder(const ModelConfig& config, Parameters& parameters) {
  switch (config.family) {
    case ModelFamily::kBert:
    case ModelFamily::kRoberta:
    case ModelFamily::kElectra:
      return MakeBert(config, parameters);
    case ModelFamily::kDistilBert:
      return MakeDistilBert(config, parameters);
    case ModelFamily::kAlbert:
      return MakeAlbert(config, parameters);
    case ModelFamily::kDebertaV2:
      return MakeDeberta(config, parameters);
  }
  return nullptr;
}

}  // namespace rung
