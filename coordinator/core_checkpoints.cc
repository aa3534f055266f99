// Which checkpoints are still needed, and which results may stand for a new trial's.
//
// Needed are: the rung-end checkpoint of a trial that is still on its way, completed trials, the incumbent,
// and what another trial's copied result points to. Whether one exists is a question to the present state
// alone, so that a restarted coordinator answers as the old one did; none that was dropped becomes needed
// again.
#include <utility>

#include "absl/strings/str_format.h"
#include "coordinator/core.h"

namespace rung {
namespace {

bool Ended(TrialState state) {
  return state == TrialState::kFailed || state == TrialState::kStopped;
}

}  // namespace

// Finished without success, and nothing of it is wanted later.
bool Core::Unneeded(const StudyEntry& entry, TrialId trial) const {
  const TrialView& view = entry.study.trial(trial);
  if (!Ended(view.state)) return false;
  if (view.origin.source == Origin::Source::kEnqueued && view.bracket < 0)
    return false;  // may be evaluated at the end
  const auto incumbent = entry.study.incumbent();
  if (incumbent.has_value() && incumbent->trial == trial) return false;
  return !leases_.Runs(entry.record.id, trial);
}

// Whether the checkpoint that a train job's result stands for is still there.
bool Core::Kept(StudyId study, const Job& job) const {
  if (pins_.contains({study, job})) return true;
  const StudyEntry& entry = studies_.at(study);
  const std::map<int, RungView>& rungs = entry.study.trial(job.trial).rungs;
  for (auto above = rungs.upper_bound(job.rung); above != rungs.end(); ++above) {
    if (above->second.score.has_value()) return false;
  }
  return !Unneeded(entry, job.trial);
}

std::optional<KnownResults::Known> Core::Find(const std::string& identity) const {
  const auto found = known_.find(identity);
  if (identity.empty() || found == known_.end()) return std::nullopt;
  for (const auto& [study, job] : found->second) {
    const TrialView& trial = studies_.at(study).study.trial(job.trial);
    if (job.kind == AttemptKind::kEvaluate) {
      return Known{CopiedFrom{study, job}, *trial.evaluation, trial.evaluation_attempt};
    }
    if (!Kept(study, job)) continue;
    const ReplicateView& replicate =
        trial.rungs.at(job.rung).replicates.at(static_cast<size_t>(job.replicate));
    return Known{CopiedFrom{study, job}, *replicate.result, replicate.checkpoint_attempt};
  }
  return std::nullopt;
}

void Core::FindObsolete(const StudyEntry& entry, const Event& event) {
  const StudyId study = entry.record.id;
  const TrialId trial = event.job.trial;
  if (trial.value == 0) return;
  if (event.kind == EventKind::kResult && event.job.kind == AttemptKind::kTrain) {
    const RungView& reached = entry.study.trial(trial).rungs.at(event.job.rung);
    if (reached.score.has_value()) DropLowerRungs(entry, trial, effects_.obsolete);
    const ReplicateView& replicate = reached.replicates.at(static_cast<size_t>(event.job.replicate));
    for (int64_t attempt = 1; !event.copied_from.has_value() && attempt < event.attempt; ++attempt) {
      if (replicate.checkpoint_attempt == attempt) continue;
      effects_.obsolete.push_back(
          options_.dir.checkpoints(study.value, trial.value, event.job.rung, event.job.replicate, attempt));
    }
  }
  const bool ends = event.kind == EventKind::kTrialFinished || event.kind == EventKind::kAttemptLost ||
                    event.kind == EventKind::kAttemptFailed || event.kind == EventKind::kResult;
  if (ends && Unneeded(entry, trial)) Drop(entry, trial, std::nullopt, effects_.obsolete);
}

std::vector<std::string> Core::ObsoleteOf(StudyId study, TrialId trial) const {
  std::vector<std::string> paths;
  const StudyEntry& entry = studies_.at(study);
  if (!entry.study.Has(trial)) return paths;
  if (Unneeded(entry, trial)) {
    Drop(entry, trial, std::nullopt, paths);
  } else {
    DropLowerRungs(entry, trial, paths);
  }
  return paths;
}

// Until every replicate of a rung has its result, the score, and so an evaluation, is the lower rung's.
void Core::DropLowerRungs(const StudyEntry& entry, TrialId trial, std::vector<std::string>& paths) const {
  const std::map<int, RungView>& rungs = entry.study.trial(trial).rungs;
  auto scored = rungs.rbegin();
  while (scored != rungs.rend() && !scored->second.score.has_value()) ++scored;
  if (scored == rungs.rend()) return;
  for (auto below = rungs.begin(); below->first < scored->first; ++below)
    Drop(entry, trial, below->first, paths);
}

// One rung of the trial, or all; pinned jobs stay.
void Core::Drop(const StudyEntry& entry, TrialId trial, std::optional<int> rung,
                std::vector<std::string>& paths) const {
  const StudyId study = entry.record.id;
  const std::string root = absl::StrFormat("%s/checkpoints/%d", options_.dir.study(study.value), trial.value);
  const auto pin = pins_.lower_bound({study, Job{trial, rung.value_or(0)}});
  const bool pinned = pin != pins_.end() && pin->first == study && pin->second.trial == trial &&
                      (!rung.has_value() || pin->second.rung == *rung);
  if (!pinned) {
    paths.push_back(rung.has_value() ? absl::StrFormat("%s/%d", root, *rung) : root);
    return;
  }
  for (const auto& [each, view] : entry.study.trial(trial).rungs) {
    if (rung.has_value() && each != *rung) continue;
    for (int replicate = 0; replicate < static_cast<int>(view.replicates.size()); ++replicate) {
      if (pins_.contains({study, Job{trial, each, replicate}})) continue;
      paths.push_back(absl::StrFormat("%s/%d/%d", root, each, replicate));
    }
  }
}

}  // namespace rung
