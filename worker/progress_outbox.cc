#include "worker/progress_outbox.h"

#include <algorithm>
#include <utility>

#include "worker/attempt_plan.h"

namespace rung {

void ProgressOutbox::Add(v1::ProgressRequest message) {
  unsent_.push_back(std::move(message));
  if (size() <= kMaxOutboxMessages) return;
  for (std::deque<v1::ProgressRequest>* queue : {&sent_, &unsent_}) {
    const auto oldest = std::find_if(queue->begin(), queue->end(),
                                     [](const v1::ProgressRequest& kept) { return !kept.checkpointed(); });
    if (oldest == queue->end()) continue;
    queue->erase(oldest);
    ++dropped_;
    return;
  }
}

void ProgressOutbox::StartStream() {
  unsent_.insert(unsent_.begin(), std::make_move_iterator(sent_.begin()),
                 std::make_move_iterator(sent_.end()));
  sent_.clear();
  last_seq_ = 0;
}

v1::ProgressRequest ProgressOutbox::Next(const v1::ProgressRequest& heartbeat) {
  if (unsent_.empty()) {
    v1::ProgressRequest message = heartbeat;
    message.set_seq(++last_seq_);
    return message;
  }
  v1::ProgressRequest message = std::move(unsent_.front());
  unsent_.pop_front();
  while (!unsent_.empty() && !message.checkpointed() && message.points_size() < kMaxPointsPerMessage &&
         SameAttempt(unsent_.front().attempt(), message.attempt())) {
    const v1::ProgressRequest& more = unsent_.front();
    if (message.points_size() + more.points_size() > kMaxPointsPerMessage) break;
    message.mutable_points()->MergeFrom(more.points());
    message.set_step(more.step());
    message.set_budget(more.budget());
    message.set_checkpointed(more.checkpointed());
    unsent_.pop_front();
  }
  message.set_seq(++last_seq_);
  sent_.push_back(message);
  return message;
}

void ProgressOutbox::Acknowledge(int64_t seq) {
  while (!sent_.empty() && sent_.front().seq() <= seq) sent_.pop_front();
}

void ProgressOutbox::ForEach(const std::function<void(const v1::ProgressRequest&)>& visit) const {
  for (const std::deque<v1::ProgressRequest>* queue : {&sent_, &unsent_}) {
    for (const v1::ProgressRequest& message : *queue) visit(message);
  }
}

}  // namespace rung
