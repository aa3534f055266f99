#include "worker/training/run_plan.h"

#include "base/file.h"

namespace rung {

using nlohmann::json;

std::string TrainingIdentity(const TrialFile& trial, const TextOptions& o, int64_t total_updates) {
  json hashes = json::object();
  for (const std::string& path : {o.train, o.validation_path}) {
    const auto found = trial.data_sha256.find(path);
    if (!path.empty()) hashes[path] = found == trial.data_sha256.end() ? "" : found->second;
  }
  json identity = {
      {"data", hashes},
      {"text", o.text_columns},
      {"label", o.label_columns.size() == 1 ? json(o.label_columns[0]) : json(o.label_columns)},
      {"validation_share", o.validation_share},
      {"folds", o.folds},
      {"fold", trial.fold ? json(*trial.fold) : json()},
      {"split_seed", o.split_seed},
      {"limit_rows", o.limit_rows ? json(*o.limit_rows) : json()},
      {"threads", o.threads},
      {"seed", trial.seed},
      {"total_updates", total_updates},
      {"model", o.model_name_or_path},
      {"max_seq_length", o.max_seq_length},
      {"batch", o.per_device_train_batch_size},
      {"accumulation", o.gradient_accumulation_steps},
      {"optimizer", o.optimizer_name},
      {"learning_rate", o.learning_rate},
      {"momentum", o.sgd_momentum},
      {"betas", {o.adam_beta1, o.adam_beta2}},
      {"epsilon", o.adam_epsilon},
      {"weight_decay", o.weight_decay},
      {"max_grad_norm", o.max_grad_norm},
      {"scheduler", {o.scheduler_name, o.warmup_steps, o.scheduler_cycles, o.scheduler_power}},
      {"dropout", o.hidden_dropout},
      {"head",
       {o.head_type, o.head_layers, o.head_size, o.head_pool, o.head_activation, o.head_dim, o.head_heads,
        o.head_dropout}},
      {"freeze", {o.freeze_layers, o.freeze_embeddings}},
      {"peft",
       {o.peft_method, o.lora_r, o.lora_alpha, o.lora_dropout, o.lora_targets, o.lora_rank_stabilised}}};
  if (o.precision != Precision::kFloat32) identity["precision"] = o.precision;
  if (o.task != Task::kSingleLabel) identity["task"] = {o.task, o.label_separator};
  if (o.variant == Variant::kEvaluate) identity["variant"] = o.variant;
  if (!o.head_sizes.empty()) identity["head.sizes"] = o.head_sizes;
  if (o.head_last_layers > 1) identity["head.last_layers"] = o.head_last_layers;
  const json weights = ClassWeightsJson(o.class_weights);
  if (!weights.is_null()) identity["class_weights"] = weights;
  return Sha256Hex(identity.dump());
}

RunPlan PlanRun(const TrialFile& trial, const TextOptions& o, const EncodedData& data) {
  RunPlan plan;
  plan.scale = BudgetScale(trial.unit, static_cast<int64_t>(data.train.size()), o.per_device_train_batch_size,
                           o.gradient_accumulation_steps);
  plan.end_update = plan.scale.Updates(trial.budget_to);
  const double laid_out = trial.resume_on_promotion ? trial.budget_max : trial.budget_to;
  plan.further_rungs = trial.resume_on_promotion && trial.budget_to < trial.budget_max;
  if (o.variant == Variant::kEvaluate) {  // whatever the budget
    plan.end_update = 0;
    plan.further_rungs = false;
  }
  plan.schedule = {o.scheduler_name, o.warmup_steps,     plan.scale.Updates(laid_out),
                   o.learning_rate,  o.scheduler_cycles, o.scheduler_power};
  plan.rule = {o.optimizer_name, o.sgd_momentum, o.adam_beta1,   o.adam_beta2,
               o.adam_epsilon,   o.weight_decay, o.max_grad_norm};
  plan.seed = static_cast<uint64_t>(trial.seed);
  plan.batch_size = o.per_device_train_batch_size;
  plan.evaluation_batch_size = o.per_device_eval_batch_size;
  plan.accumulation = o.gradient_accumulation_steps;
  plan.evaluate_every = o.evaluate_every;
  plan.checkpoint_every =
      o.checkpoint_every_seconds > 0 ? absl::Seconds(o.checkpoint_every_seconds) : absl::InfiniteDuration();
  plan.keep_checkpoints = o.keep_last;
  plan.checkpoint_dir = trial.checkpoint_dir;
  plan.identity = TrainingIdentity(trial, o, plan.schedule.total_updates);
  plan.labels = data.labels;
  plan.metric = trial.metric;
  plan.maximize = trial.maximize;
  plan.report_best = trial.report_best;
  return plan;
}

}  // namespace rung
