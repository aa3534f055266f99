#include "worker/model/packed_ops.h"

#include <cmath>

namespace rung {
namespace {

constexpr int64_t kRoundRows = 64;

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

const float* In(const Tensor& tensor) {
  return tensor.const_data_ptr<float>();
}
float* Out(Tensor& tensor) {
  return tensor.data_ptr<float>();
}

// Non-tensor arguments travel through autograd's context as integers.
template <typename T>
int64_t Pointer(const T& object) {
  return static_cast<int64_t>(reinterpret_cast<intptr_t>(&object));
}
template <typename T>
const T& Object(AutogradContext* context, const char* name) {
  return *reinterpret_cast<const T*>(static_cast<intptr_t>(context->saved_data[name].toInt()));
}
void SaveSite(AutogradContext* context, DropoutSite site) {
  context->saved_data["key"] = static_cast<int64_t>(site.key);
  context->saved_data["rate"] = static_cast<double>(site.rate);
}
DropoutSite LoadSite(AutogradContext* context) {
  return {static_cast<uint64_t>(context->saved_data["key"].toInt()),
          static_cast<float>(context->saved_data["rate"].toDouble())};
}

// Products of float32 matrices round their operands while one of these lives: oneDNN and cuBLAS do it inside.
class RoundingScope {
 public:
  explicit RoundingScope(Rounding rounding) : rounds_(rounding != Rounding::kNone) {
    if (rounds_) at::globalContext().setFloat32MatmulPrecision("medium");
  }
  ~RoundingScope() {
    if (rounds_) at::globalContext().setFloat32MatmulPrecision("highest");
  }
  RoundingScope(const RoundingScope&) = delete;
  RoundingScope& operator=(const RoundingScope&) = delete;

 private:
  const bool rounds_;
};

// oneDNN rounds to bfloat16 inside; a GPU only to TF32, so that it gets rounded operands.
bool RoundsBefore(const Tensor& a, Rounding rounding) {
  return rounding == Rounding::kBFloat16 && !a.is_cpu();
}
Tensor RoundedProduct(const Tensor& a, const Tensor& b) {
  return at::mm(a.to(at::kBFloat16), b.to(at::kBFloat16)).to(at::kFloat);
}

// a (n, k) times b (k, m), plus bias (m) where there is one.
Tensor Product(const Tensor& a, const Tensor& b, const Tensor& bias, Rounding rounding) {
  if (RoundsBefore(a, rounding)) {
    const Tensor product = RoundedProduct(a, b);
    return bias.defined() ? product + bias : product;
  }
  const RoundingScope scope(rounding);
  return bias.defined() ? at::addmm(bias, a, b) : at::mm(a, b);
}

// into = keep into + a b; keep is 0 or 1.
void AddProduct(Tensor& into, const Tensor& a, const Tensor& b, int keep, Rounding rounding) {
  if (RoundsBefore(a, rounding)) {
    const Tensor product = RoundedProduct(a, b);
    keep == 0 ? into.copy_(product) : into.add_(product);
    return;
  }
  const RoundingScope scope(rounding);
  at::addmm_out(into, into, a, b, keep, 1);
}

// oneDNN makes code for each number of rows that it meets, and keeps it (1.5 MB for each shape, seen in
// torch 2.13): batches come with few numbers of rows. The rows after x are zero.
Tensor WithRoundRows(const Tensor& x, Rounding rounding) {
  const int64_t rows = x.size(0), round = (rows + kRoundRows - 1) / kRoundRows * kRoundRows;
  if (rounding != Rounding::kBFloat16 || !x.is_cpu() || rows == round) return x;
  Tensor wide = at::empty({round, x.size(1)}, x.options());
  wide.narrow(0, 0, rows).copy_(x);
  wide.narrow(0, rows, round - rows).zero_();
  return wide;
}

// bias is null for a product alone.
class LinearFunction : public Function<LinearFunction> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x, const WeightSlot& weight,
                        const WeightSlot* bias) {
    const Tensor rows = WithRoundRows(x, weight.rounding);
    if (weight.trained) context->save_for_backward({rows});
    context->saved_data["weight"] = Pointer(weight);
    context->saved_data["bias"] = bias == nullptr ? int64_t{0} : Pointer(*bias);
    return Product(rows, weight.value.t(), bias == nullptr ? Tensor() : bias->value, weight.rounding)
        .narrow(0, 0, x.size(0));
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const Tensor d = gradients[0].contiguous();
    const WeightSlot& weight = Object<WeightSlot>(context, "weight");
    const Tensor rows = WithRoundRows(d, weight.rounding);
    if (weight.trained) {
      const Tensor x = context->get_saved_variables()[0];
      Tensor into = weight.gradient;
      AddProduct(into, rows.t(), x, weight.TakeStale() ? 0 : 1, weight.rounding);
    }
    if (context->saved_data["bias"].toInt() != 0) AddBias(d, Object<WeightSlot>(context, "bias"));
    if (!context->needs_input_grad(0)) return {Tensor(), Tensor(), Tensor()};
    return {Product(rows, weight.value, Tensor(), weight.rounding).narrow(0, 0, d.size(0)), Tensor(),
            Tensor()};
  }

 private:
  static void AddBias(const Tensor& d, const WeightSlot& slot) {
    if (!slot.trained) return;
    Tensor bias = slot.gradient;
    if (d.is_cpu()) {
      ColumnSumKernel(In(d), Out(bias), d.size(0), d.size(1), true);
    } else {
      bias.add_(d.sum(0));
    }
  }
};

class EmbeddingFunction : public Function<EmbeddingFunction> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& /*anchor*/, const PackedInput& input,
                        const EmbeddingWeights& weights) {
    context->saved_data["input"] = Pointer(input);
    context->saved_data["weights"] = Pointer(weights);
    const Tensor &word = weights.word.value, &position = weights.position.value, &type = weights.type.value;
    const int64_t rows = input.ids.size(0), width = word.size(1);
    if (!word.is_cpu()) {
      Tensor sum = word.index_select(0, input.ids);
      if (type.defined()) sum += type.index_select(0, input.token_types);
      if (position.defined()) sum += position.index_select(0, input.positions);
      return sum;
    }
    Tensor out = at::empty({rows, width}, word.options());
    EmbeddingSumKernel(In(word), position.defined() ? In(position) : nullptr,
                       type.defined() ? In(type) : nullptr, input.ids.const_data_ptr<int64_t>(),
                       input.positions.const_data_ptr<int64_t>(), input.token_types.const_data_ptr<int64_t>(),
                       Out(out), rows, width);
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const PackedInput& input = Object<PackedInput>(context, "input");
    const EmbeddingWeights& weights = Object<EmbeddingWeights>(context, "weights");
    const Tensor d = gradients[0].contiguous();
    Add(d, input.ids, weights.word.gradient);
    Add(d, input.positions, weights.position.gradient);
    Add(d, input.token_types, weights.type.gradient);
    return {Tensor(), Tensor(), Tensor()};
  }

 private:
  static void Add(const Tensor& d, const Tensor& index, Tensor table) {
    if (!table.defined()) return;
    if (d.is_cpu()) {
      ScatterAddKernel(In(d), index.const_data_ptr<int64_t>(), Out(table), d.size(0), d.size(1));
    } else {
      table.index_add_(0, index, d);
    }
  }
};

class AddNormFunction : public Function<AddNormFunction> {
 public:
  static Tensor forward(AutogradContext* context, const std::optional<Tensor>& residual, const Tensor& y,
                        const NormWeights& weights, DropoutSite site) {
    const int64_t rows = y.size(0), width = y.size(1);
    Tensor out = at::empty_like(y), normalized = at::empty_like(y), inverse = at::empty({rows}, y.options());
    AddNormForwardKernel({residual ? In(*residual) : nullptr, In(y), In(weights.gamma.value),
                          In(weights.beta.value), Out(out), Out(normalized), Out(inverse), rows, width,
                          static_cast<float>(weights.eps), site});
    context->save_for_backward({normalized, inverse});
    context->saved_data["weights"] = Pointer(weights);
    context->saved_data["residual"] = residual.has_value();
    SaveSite(context, site);
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const NormWeights& weights = Object<NormWeights>(context, "weights");
    const DropoutSite site = LoadSite(context);
    const Tensor d = gradients[0].contiguous();
    Tensor d_sum = at::empty_like(d);
    Tensor d_y = site.active() ? at::empty_like(d) : d_sum;
    Tensor d_gamma = weights.gamma.gradient, d_beta = weights.beta.gradient;
    AddNormBackwardKernel({In(d), In(saved[0]), In(saved[1]), In(weights.gamma.value), Out(d_sum),
                           site.active() ? Out(d_y) : nullptr, Out(d_gamma), Out(d_beta), d.size(0),
                           d.size(1), site});
    const bool residual = context->saved_data["residual"].toBool();
    return {residual ? d_sum : Tensor(), d_y, Tensor(), Tensor()};
  }
};

class DropoutFunction : public Function<DropoutFunction> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x, DropoutSite site) {
    SaveSite(context, site);
    Tensor out = at::empty_like(x);
    DropoutKernel(In(x), Out(out), x.numel(), site);
    return out;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const Tensor d = gradients[0].contiguous();
    Tensor out = at::empty_like(d);
    DropoutKernel(In(d), Out(out), d.numel(), LoadSite(context));
    return {out, Tensor()};
  }
};

// One operand of attention: rows of H values inside rows of `stride` values.
struct HeadSource {
  const float* data;
  int64_t stride;
};

// Attention of all groups on the CPU. Each group's heads are gathered, multiplied in one batched product, and
// put back. `single`: one query per sequence (its rows are the sequences), else every row asks.
class CpuAttention {
 public:
  CpuAttention(const PackedInput& input, int64_t heads, int64_t width, bool single, DropoutSite site)
      : input_(input),
        heads_(heads),
        head_width_(width / heads),
        single_(single),
        site_(site),
        scale_(1.0f / std::sqrt(static_cast<float>(width / heads))) {}

  // Probabilities before dropout are put into `probabilities`, one tensor a group, for the backward pass.
  void Forward(HeadSource q, HeadSource k, HeadSource v, float* out, int64_t out_stride,
               std::vector<Tensor>* probabilities) const {
    int64_t element = 0;
    for (const LengthGroup& group : input_.groups) {
      const Tensor queries = Gather(q, group, single_, scale_);
      const Tensor keys = Gather(k, group, false, 1), values = Gather(v, group, false, 1);
      Tensor scores = at::bmm(queries, keys.transpose(1, 2));
      Tensor dropped = site_.active() ? at::empty_like(scores) : scores;
      const int64_t rows = scores.size(0) * scores.size(1);
      SoftmaxKernel(Out(scores), Out(dropped), rows, group.length, site_, element);
      element += rows * group.length;
      Scatter(at::bmm(dropped, values), group, single_, 1, out, out_stride);
      probabilities->push_back(scores);
    }
  }

  void Backward(HeadSource q, HeadSource k, HeadSource v, const std::vector<Tensor>& probabilities,
                HeadSource d, float* d_q, int64_t q_stride, float* d_k, float* d_v, int64_t kv_stride) const {
    int64_t element = 0;
    for (size_t i = 0; i < input_.groups.size(); ++i) {
      const LengthGroup& group = input_.groups[i];
      const Tensor& softmax = probabilities[i];
      const Tensor queries = Gather(q, group, single_, scale_), d_out = Gather(d, group, single_, 1);
      const Tensor keys = Gather(k, group, false, 1), values = Gather(v, group, false, 1);
      Tensor d_scores = at::bmm(d_out, values.transpose(1, 2));
      Tensor dropped = site_.active() ? at::empty_like(softmax) : softmax;
      const int64_t rows = softmax.size(0) * softmax.size(1);
      SoftmaxBackwardKernel(In(softmax), Out(d_scores), Out(dropped), rows, group.length, site_, element);
      element += rows * group.length;
      Scatter(at::bmm(dropped.transpose(1, 2), d_out), group, false, 1, d_v, kv_stride);
      Scatter(at::bmm(d_scores, keys), group, single_, scale_, d_q, q_stride);
      Scatter(at::bmm(d_scores.transpose(1, 2), queries), group, false, 1, d_k,
              kv_stride);  // queries are scaled
    }
  }

 private:
  Tensor Gather(HeadSource source, const LengthGroup& group, bool single, float scale) const {
    const int64_t length = single ? 1 : group.length;
    const int64_t row = single ? group.first_sequence : group.first_row;
    Tensor out = at::empty({group.sequences * heads_, length, head_width_});
    SplitHeadsKernel(source.data + row * source.stride, source.stride, Out(out), group.sequences, length,
                     heads_, head_width_, scale);
    return out;
  }
  void Scatter(const Tensor& source, const LengthGroup& group, bool single, float scale, float* target,
               int64_t stride) const {
    const int64_t row = single ? group.first_sequence : group.first_row;
    JoinHeadsKernel(In(source), target + row * stride, stride, group.sequences, single ? 1 : group.length,
                    heads_, head_width_, scale);
  }

  const PackedInput& input_;
  const int64_t heads_, head_width_;
  const bool single_;
  const DropoutSite site_;
  const float scale_;
};

class AttentionFunction : public Function<AttentionFunction> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& qkv, const PackedInput& input, int64_t heads,
                        DropoutSite site) {
    const int64_t width = qkv.size(1) / 3;
    Tensor out = at::empty({qkv.size(0), width}, qkv.options());
    const float* data = In(qkv);
    variable_list saved;
    CpuAttention(input, heads, width, false, site)
        .Forward({data, 3 * width}, {data + width, 3 * width}, {data + 2 * width, 3 * width}, Out(out), width,
                 &saved);
    saved.push_back(qkv);
    context->save_for_backward(saved);
    context->saved_data["input"] = Pointer(input);
    context->saved_data["heads"] = heads;
    SaveSite(context, site);
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    variable_list saved = context->get_saved_variables();
    const Tensor qkv = saved.back();
    saved.pop_back();
    const int64_t width = qkv.size(1) / 3;
    const Tensor d = gradients[0].contiguous();
    Tensor d_qkv = at::empty_like(qkv);
    const float* data = In(qkv);
    float* out = Out(d_qkv);
    CpuAttention(Object<PackedInput>(context, "input"), context->saved_data["heads"].toInt(), width, false,
                 LoadSite(context))
        .Backward({data, 3 * width}, {data + width, 3 * width}, {data + 2 * width, 3 * width}, saved,
                  {In(d), width}, out, 3 * width, out + width, out + 2 * width, 3 * width);
    return {d_qkv, Tensor(), Tensor(), Tensor()};
  }
};

class FirstTokenFunction : public Function<FirstTokenFunction> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& q, const Tensor& kv, const PackedInput& input,
                        int64_t heads, DropoutSite site) {
    const int64_t width = q.size(1);
    Tensor out = at::empty_like(q);
    variable_list saved;
    CpuAttention(input, heads, width, true, site)
        .Forward({In(q), width}, {In(kv), 2 * width}, {In(kv) + width, 2 * width}, Out(out), width, &saved);
    saved.push_back(q);
    saved.push_back(kv);
    context->save_for_backward(saved);
    context->saved_data["input"] = Pointer(input);
    context->saved_data["heads"] = heads;
    SaveSite(context, site);
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    variable_list saved = context->get_saved_variables();
    const Tensor kv = saved.back();
    saved.pop_back();
    const Tensor q = saved.back();
    saved.pop_back();
    const int64_t width = q.size(1);
    const Tensor d = gradients[0].contiguous();
    Tensor d_q = at::empty_like(q), d_kv = at::empty_like(kv);
    CpuAttention(Object<PackedInput>(context, "input"), context->saved_data["heads"].toInt(), width, true,
                 LoadSite(context))
        .Backward({In(q), width}, {In(kv), 2 * width}, {In(kv) + width, 2 * width}, saved, {In(d), width},
                  Out(d_q), width, Out(d_kv), Out(d_kv) + width, 2 * width);
    return {d_q, d_kv, Tensor(), Tensor(), Tensor()};
  }
};

// A mask of 0 and 1/(1-rate) on a device: its generator is seeded with the site's key.
Tensor DeviceMask(const Tensor& like, DropoutSite site) {
  at::Generator generator = at::globalContext().defaultGenerator(like.device());
  generator.set_current_seed(site.key);
  const double keep = 1.0 - static_cast<double>(site.rate);
  return at::empty_like(like).bernoulli_(keep, generator).div_(keep);
}

// (n, heads, rows of the group, head width).
Tensor HeadsOf(const Tensor& x, int64_t first, int64_t sequences, int64_t length, int64_t heads) {
  return x.narrow(0, first, sequences * length).reshape({sequences, length, heads, -1}).transpose(1, 2);
}

Tensor DeviceAttention(const Tensor& q, const Tensor& k, const Tensor& v, const PackedInput& input,
                       int64_t heads, bool single, DropoutSite site) {
  variable_list outs;
  uint64_t number = 0;
  for (const LengthGroup& group : input.groups) {
    const Tensor queries = single ? HeadsOf(q, group.first_sequence, group.sequences, 1, heads)
                                  : HeadsOf(q, group.first_row, group.sequences, group.length, heads);
    const Tensor keys = HeadsOf(k, group.first_row, group.sequences, group.length, heads);
    const Tensor values = HeadsOf(v, group.first_row, group.sequences, group.length, heads);
    const double scale = 1.0 / std::sqrt(static_cast<double>(queries.size(3)));
    Tensor probabilities = at::softmax(at::matmul(queries, keys.transpose(2, 3)) * scale, -1);
    if (site.active())
      probabilities = probabilities * DeviceMask(probabilities, {site.key + number++, site.rate});
    outs.push_back(at::matmul(probabilities, values).transpose(1, 2).reshape({-1, q.size(1)}));
  }
  return at::cat(outs);
}

}  // namespace

PackedInput ToDevice(const PackedBatch& batch, torch::Device device) {
  const auto tensor = [&](const std::vector<int64_t>& values, size_t count) {
    const Tensor host =
        torch::from_blob(const_cast<int64_t*>(values.data()), {static_cast<int64_t>(count)}, torch::kInt64);
    return device.is_cpu() ? host.clone() : host.to(device);
  };
  PackedInput input;
  input.ids = tensor(batch.ids, batch.ids.size());
  input.token_types = tensor(batch.token_types, batch.ids.size());
  input.positions = tensor(batch.positions, batch.ids.size());
  input.first_rows = tensor(batch.starts, batch.labels.size());
  input.sequences = batch.sequences();
  for (size_t i = 0; i + 1 < batch.starts.size(); ++i) {
    const int64_t length = batch.starts[i + 1] - batch.starts[i];
    if (!input.groups.empty() && input.groups.back().length == length) {
      ++input.groups.back().sequences;
    } else {
      input.groups.push_back({batch.starts[i], static_cast<int64_t>(i), 1, length});
    }
  }
  return input;
}

Tensor PackedLinear(const Tensor& x, const LinearWeights& weights) {
  return LinearFunction::apply(x, weights.weight, &weights.bias);
}

Tensor LowRank(const Tensor& x, const WeightSlot& weight) {
  return LinearFunction::apply(x, weight, static_cast<const WeightSlot*>(nullptr));
}

Tensor PackedEmbedding(const Tensor& anchor, const PackedInput& input, const EmbeddingWeights& weights) {
  return EmbeddingFunction::apply(anchor, input, weights);
}

namespace {

// A weight whose gradient is moved to the flat array when it arrives.
class GradientTap : public Function<GradientTap> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& /*anchor*/, const Tensor& weight,
                        const Tensor& gradient) {
    context->saved_data["gradient"] = gradient;
    return weight.view_as(weight);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    context->saved_data["gradient"].toTensor().add_(gradients[0]);
    return {Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor WeightLeaf(const Tensor& anchor, const WeightSlot& weight) {
  return GradientTap::apply(anchor, weight.value, weight.gradient);
}

Tensor AddNorm(const Tensor& residual, const Tensor& y, const NormWeights& weights, DropoutSite site) {
  if (y.is_cpu()) {
    const std::optional<Tensor> added = residual.defined() ? std::optional<Tensor>(residual) : std::nullopt;
    return AddNormFunction::apply(added, y, weights, site);
  }
  Tensor sum = site.active() ? y * DeviceMask(y, site) : y;
  if (residual.defined()) sum = sum + residual;
  const Tensor anchor = at::zeros({}, y.options()).requires_grad_(y.requires_grad());
  const Tensor gamma = WeightLeaf(anchor, weights.gamma), beta = WeightLeaf(anchor, weights.beta);
  return at::layer_norm(sum, {y.size(1)}, gamma, beta, weights.eps);
}

Tensor Dropout(const Tensor& x, DropoutSite site) {
  if (!site.active()) return x;
  return x.is_cpu() ? DropoutFunction::apply(x, site) : x * DeviceMask(x, site);
}

Tensor PackedAttention(const Tensor& qkv, const PackedInput& input, int64_t heads, DropoutSite site) {
  if (qkv.is_cpu()) return AttentionFunction::apply(qkv, input, heads, site);
  const variable_list parts = qkv.chunk(3, 1);
  return DeviceAttention(parts[0], parts[1], parts[2], input, heads, false, site);
}

Tensor FirstTokenAttention(const Tensor& q, const Tensor& kv, const PackedInput& input, int64_t heads,
                           DropoutSite site) {
  if (q.is_cpu()) return FirstTokenFunction::apply(q, kv, input, heads, site);
  const variable_list parts = kv.chunk(2, 1);
  return DeviceAttention(q, parts[0], parts[1], input, heads, true, site);
}

}  // namespace rung
