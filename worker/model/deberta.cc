// DeBERTa v2 and v3 (He et al. 2021, 2023): disentangled attention. A score is content to content, plus the
// query against the key of the relative position, plus the key against the query of the relative position.
#include <cmath>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/model/encoder.h"
#include "worker/model/layers.h"

namespace rung {
namespace {

using torch::Tensor;

// The row of the relative table for each distance -longest < i - j < longest; element 0 is the smallest.
// Distances beyond half the buckets share buckets that grow as the logarithm. In float32, as the reference
// computes it.
Tensor RelativeRows(const ModelConfig& config, int64_t longest) {
  const Tensor distance = at::arange(1 - longest, longest, at::kLong);
  Tensor bucket = distance;
  if (config.position_buckets > 0) {
    const int64_t middle = config.position_buckets / 2;
    const Tensor near = (distance < middle).logical_and(distance > -middle);
    const Tensor size = at::where(near, at::full_like(distance, middle - 1), distance.abs());
    const double ratio = static_cast<double>(config.max_relative_positions - 1) / static_cast<double>(middle);
    const Tensor far = at::ceil(at::log(size / middle) / at::log(at::full({}, ratio, at::kFloat)) *
                                static_cast<double>(middle - 1)) +
                       middle;
    bucket = at::where(size <= middle, distance, (far * distance.sign()).to(at::kLong));
  }
  const int64_t span = config.RelativeSpan();
  return at::clamp(bucket + span, 0, 2 * span - 1);
}

// (rows, hidden) -> (sequences, heads, length, head width)
Tensor HeadsOf(const Tensor& x, int64_t first, int64_t sequences, int64_t length, int64_t heads) {
  return x.narrow(0, first, sequences * length).view({sequences, length, heads, -1}).transpose(1, 2);
}

class DebertaLayer {
 public:
  DebertaLayer(const ModelConfig& config, Parameters& parameters, int layer)
      : config_(config),
        rest_(config, parameters, BertLayerNames(layer),
              {config.attention_probs_dropout_prob, config.hidden_dropout_prob, config.hidden_dropout_prob}) {
    const std::string self = absl::StrCat("encoder.layer.", layer, ".attention.self.");
    query_key_value_ = LinearOf(parameters, self + "query_proj", 3);
    query_ = LinearOf(parameters, self + "query_proj");
    key_ = LinearOf(parameters, self + "key_proj");
    key_value_ = LinearOf(parameters, self + "key_proj", 2);
    if (config.share_attention_key) return;
    if (config.content_to_position) position_key_ = LinearOf(parameters, self + "pos_key_proj");
    if (config.position_to_content) position_query_ = LinearOf(parameters, self + "pos_query_proj");
  }

  // relative: the table of relative positions, (2 span, hidden), or undefined; relative_rows as RelativeRows.
  Tensor Forward(const Tensor& x, const Tensor& relative, const Tensor& relative_rows, RowsRead rows,
                 Pass& pass) const {
    const bool first_only = rows == RowsRead::kFirstTokens;
    const Tensor asking = first_only ? x.index_select(0, pass.input().first_rows) : x;
    Tensor q, k, v;
    if (first_only) {
      const std::vector<Tensor> parts = Linear(x, key_value_, pass).chunk(2, 1);
      q = Linear(asking, query_, pass);
      k = parts[0];
      v = parts[1];
    } else {
      const std::vector<Tensor> parts = Linear(x, query_key_value_, pass).chunk(3, 1);
      q = parts[0];
      k = parts[1];
      v = parts[2];
    }
    Tensor position_key, position_query;  // (heads, 2 span, head width)
    const DropoutSite position_site = pass.NextSite(config_.hidden_dropout_prob);
    if (relative.defined()) {
      const Tensor table = Dropout(relative, position_site);
      if (config_.content_to_position)
        position_key = Positions(table, position_key_ ? *position_key_ : key_, pass);
      if (config_.position_to_content)
        position_query = Positions(table, position_query_ ? *position_query_ : query_, pass);
    }
    const DropoutSite site = pass.NextSite(config_.attention_probs_dropout_prob);
    std::vector<Tensor> outs;
    for (size_t i = 0; i < pass.input().groups.size(); ++i) {
      const LengthGroup& group = pass.input().groups[i];
      const int64_t heads = config_.num_attention_heads;
      const Tensor queries = first_only ? HeadsOf(q, group.first_sequence, group.sequences, 1, heads)
                                        : HeadsOf(q, group.first_row, group.sequences, group.length, heads);
      const Tensor keys = HeadsOf(k, group.first_row, group.sequences, group.length, heads);
      const Tensor values = HeadsOf(v, group.first_row, group.sequences, group.length, heads);
      const Tensor scores = Scores(queries, keys, position_key, position_query, relative_rows);
      const DropoutSite group_site = {site.key + i, site.rate};
      const Tensor probabilities = Dropout(at::softmax(scores, -1).contiguous(), group_site);
      outs.push_back(at::matmul(probabilities, values).transpose(1, 2).reshape({-1, q.size(1)}));
    }
    return rest_.Forward(asking, at::cat(outs), pass);
  }

 private:
  Tensor Positions(const Tensor& table, const LinearWeights& weights, Pass& pass) const {
    return Linear(table, weights, pass)
        .view({table.size(0), config_.num_attention_heads, -1})
        .transpose(0, 1);
  }

  // queries (n, heads, 1 or L, width), keys (n, heads, L, width) -> (n, heads, 1 or L, L)
  Tensor Scores(const Tensor& queries, const Tensor& keys, const Tensor& position_key,
                const Tensor& position_query, const Tensor& relative_rows) const {
    Tensor scores = at::matmul(queries, keys.transpose(2, 3));
    const int64_t asking = queries.size(2), length = keys.size(2), sequences = keys.size(0);
    const int64_t heads = keys.size(1);
    int terms = 1;
    if (position_key.defined() || position_query.defined()) {
      // Row i, column j: the distance i - j.
      const Tensor place = at::arange(asking, at::kLong).unsqueeze(1) - at::arange(length, at::kLong) +
                           (relative_rows.size(0) - 1) / 2;
      const Tensor rows = relative_rows.index({place.to(relative_rows.device())});
      const int64_t low = rows.min().item<int64_t>(), count = rows.max().item<int64_t>() - low + 1;
      const Tensor column = rows - low;
      if (position_key.defined()) {
        ++terms;
        const Tensor all = at::matmul(queries, position_key.narrow(1, low, count).transpose(1, 2));
        scores = scores + all.gather(3, column.expand({sequences, heads, asking, length}));
      }
      if (position_query.defined()) {
        ++terms;
        const Tensor all = at::matmul(keys, position_query.narrow(1, low, count).transpose(1, 2));
        scores =
            scores + all.gather(3, column.t().expand({sequences, heads, length, asking})).transpose(2, 3);
      }
    }
    return scores / std::sqrt(static_cast<double>(queries.size(3) * terms));
  }

  const ModelConfig config_;
  LinearWeights query_key_value_, query_, key_, key_value_;
  std::optional<LinearWeights> position_key_, position_query_;
  LayerRest rest_;
};

class Deberta final : public Encoder {
 public:
  Deberta(const ModelConfig& config, Parameters& parameters)
      : config_(config), embeddings_(config, parameters) {
    for (int i = 0; i < config.num_hidden_layers; ++i) layers_.emplace_back(config, parameters, i);
    if (!config.relative_attention) return;
    relative_ = parameters.Slot("encoder.rel_embeddings.weight");
    relative_rows_ = RelativeRows(config, config.MaxTokens()).to(relative_.value.device());
    if (config.normalize_relative)
      relative_norm_ = NormOf(parameters, "encoder.LayerNorm", config.layer_norm_eps);
  }

  Tensor Forward(Pass& pass, RowsRead rows) const override {
    const Tensor x = embeddings_.Forward(pass);
    const Tensor relative = Relative(pass);
    return RunLayers(
        config_.num_hidden_layers, x, rows, pass, [&](int i, const Tensor& input, RowsRead read) {
          return layers_[static_cast<size_t>(i)].Forward(input, relative, relative_rows_, read, pass);
        });
  }

 private:
  Tensor Relative(Pass& pass) const {
    if (!config_.relative_attention) return {};
    const bool trained = pass.training() && pass.trained_from() < 0;
    Tensor table;
    {
      const torch::AutoGradMode recording(trained);
      table = WeightLeaf(pass.anchor(), relative_);
      if (relative_norm_) table = AddNorm(Tensor(), table, *relative_norm_, {});
    }
    // What projects the table must be recorded where it is trained and the table is not.
    return trained ? table : table.detach().requires_grad_(pass.training());
  }

  const ModelConfig config_;
  const Embeddings embeddings_;
  std::vector<DebertaLayer> layers_;
  WeightSlot relative_;
  Tensor relative_rows_;
  std::optional<NormWeights> relative_norm_;
};

}  // namespace

std::unique_ptr<Encoder> MakeDeberta(const ModelConfig& config, Parameters& parameters) {
  return std::make_unique<Deberta>(config, parameters);
}

}  // namespace rung
