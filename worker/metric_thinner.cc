#include "worker/metric_thinner.h"

#include <algorithm>
#include <utility>

namespace rung {

std::vector<MetricMessage> MetricThinner::Add(const MetricMessage& message, absl::Duration now) {
  for (const auto& [name, value] : message.values) {
    if (held_.size() < kMaxHeld || held_.contains(name)) held_[name] = {message.step, message.budget, value};
  }
  allowed_ = std::min(kBurst, allowed_ + absl::ToDoubleSeconds(now - last_));
  last_ = now;
  if (allowed_ < 1) return {};
  allowed_ -= 1;
  std::vector<MetricMessage> messages = Rest();
  if (message.values.empty()) messages.push_back(message);  // it says how far the trainer is
  return messages;
}

std::vector<MetricMessage> MetricThinner::Rest() {
  std::map<int64_t, MetricMessage> by_step;
  for (const auto& [name, point] : held_) {
    MetricMessage& message = by_step[point.step];
    message.step = point.step;
    message.budget = point.budget;
    message.values[name] = point.value;
  }
  held_.clear();
  std::vector<MetricMessage> messages;
  for (auto& [step, message] : by_step) messages.push_back(std::move(message));
  return messages;
}

}  // namespace rung
