#include "cli/progress.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "cli/views.h"

namespace rung {
namespace {

constexpr int kResultsForEta = 5;
constexpr int kBarColumns = 16;
constexpr absl::Duration kLineEvery = absl::Seconds(30);
constexpr int kOpenBracketsShown = 6;

int Count(const v1::StudyStatus& study, const std::string& state) {
  const auto found = study.trials_by_state().find(state);
  return found == study.trials_by_state().end() ? 0 : found->second;
}

int Total(const v1::StudyStatus& study) {
  int total = 0;
  for (const auto& [state, count] : study.trials_by_state()) total += count;
  return total;
}

int Results(const v1::StudyStatus& study) {
  int results = 0;
  for (const auto& bracket : study.brackets()) {
    for (const int finished : bracket.finished()) results += finished;
  }
  return results;
}

std::string Cut(const std::string& text, int width) {
  if (width <= 0) return text;
  int columns = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) continue;
    if (++columns >= width) return text.substr(0, i) + "…";
  }
  return text;
}

// In two lines where one is too short, broken between its parts.
std::vector<std::string> Folded(const std::string& head, int width) {
  if (width <= 0 || head.size() < static_cast<size_t>(width)) return {head};
  const size_t gap = head.rfind("  ", static_cast<size_t>(width) - 1);
  if (gap == std::string::npos || gap == 0) return {head};
  return {head.substr(0, gap), head.substr(gap)};
}

// What remains of a bracket, in budget units: each trial still to come at a rung trains from the rung below
// (or from nothing, with restart).
double Remaining(const v1::Bracket& bracket, const StudySpec& spec) {
  const std::vector<double> budgets = spec.RungBudgets();
  double remaining = 0;
  for (int i = 0; i < bracket.planned_size() && i < bracket.finished_size(); ++i) {
    const auto rung = static_cast<size_t>(bracket.first_rung() + i);
    if (rung >= budgets.size()) break;
    const bool from_below = i > 0 && spec.budget.on_promotion == OnPromotion::kResume;
    const double cost = budgets[rung] - (from_below ? budgets[rung - 1] : 0);
    remaining += std::max(0, bracket.planned(i) - bracket.finished(i)) * cost * spec.Replicates();
  }
  return remaining;
}

// 0: not known, or nothing goes on.
double UnitsPerSecond(const v1::StudyStatus& study) {
  if (study.state() == "paused") return 0;
  return study.active_seconds() > 0 ? study.budget_charged() / study.active_seconds() : 0;
}

std::string Bar(double share) {
  const int full = static_cast<int>(std::floor(std::clamp(share, 0.0, 1.0) * kBarColumns + 1e-9));
  std::string bar;
  for (int i = 0; i < kBarColumns; ++i) bar += i < full ? "█" : "░";
  return bar;
}

std::string BracketLine(const v1::StudyStatus& study, const v1::Bracket& bracket, const StudySpec& spec) {
  int planned = 0;
  int finished = 0;
  std::string rungs;
  for (int i = 0; i < bracket.planned_size(); ++i) {
    const int done = i < bracket.finished_size() ? bracket.finished(i) : 0;
    planned += bracket.planned(i);
    finished += done;
    rungs += absl::StrFormat("%s%d/%d", i == 0 ? "" : " ", done, bracket.planned(i));
  }
  std::string eta = "unknown";
  if (Results(study) >= kResultsForEta && UnitsPerSecond(study) > 0) {
    eta = DurationText(absl::Seconds(Remaining(bracket, spec) / UnitsPerSecond(study)));
  }
  return absl::StrFormat("  bracket %-2d %s %3.0f %%  rungs %s  left %s", bracket.index(),
                         Bar(planned == 0 ? 0 : static_cast<double>(finished) / planned),
                         planned == 0 ? 0.0 : 100.0 * finished / planned, rungs, eta);
}

std::string Head(const v1::StudyStatus& study, const StudySpec& spec, const std::string& hindrance) {
  std::string text = absl::StrFormat("%s %s  %s  trials %d (%d running", Printable(study.name()),
                                     study.state(), DurationText(absl::Seconds(study.active_seconds())),
                                     Total(study), study.running_attempts());
  if (const int failed = Count(study, "failed"); failed > 0) text += absl::StrFormat(", %d failed", failed);
  text += ")  ";
  const bool planned = study.budget_planned() > 0;
  if (planned) text += NumberText(study.budget_charged()) + " of ";
  text += AmountText(planned ? study.budget_planned() : study.budget_charged(), spec.budget.unit);
  if (IsOver(study)) return text;
  if (!hindrance.empty()) return text + "  " + hindrance;
  if (study.state() == "paused") return text;
  const std::optional<absl::Duration> eta = Eta(study);
  return text + "  ETA " + (eta.has_value() ? DurationText(*eta) : "unknown");
}

std::string BestText(const v1::StudyStatus& study, const StudySpec& spec) {
  if (!study.has_incumbent() || !study.incumbent().has_score()) return "no score yet";
  const v1::TrialRow& best = study.incumbent();
  const std::vector<double> budgets = spec.RungBudgets();
  const auto rung = static_cast<size_t>(best.score_rung());
  return absl::StrFormat(
      "best %s %s (trial %d, %s)", Printable(spec.objective.metric), MetricText(best.score()), best.trial(),
      BudgetText(best.score_rung(), rung < budgets.size() ? budgets[rung] : 0, spec.budget.unit));
}

}  // namespace

std::optional<absl::Duration> Eta(const v1::StudyStatus& study) {
  const double rate = UnitsPerSecond(study);
  if (Results(study) < kResultsForEta || rate <= 0 || study.budget_planned() <= 0) return std::nullopt;
  return absl::Seconds(std::max(0.0, study.budget_planned() - study.budget_charged()) / rate);
}

std::vector<std::string> ProgressLines(const v1::StudyStatus& study, const StudySpec& spec, int width,
                                       const std::string& hindrance) {
  std::vector<std::string> lines = Folded(Head(study, spec, hindrance), width);
  lines.push_back("  " + BestText(study, spec));
  if (!study.message().empty()) lines.push_back("  " + Printable(study.message()));
  int closed = 0;
  std::vector<std::string> open;
  for (const auto& bracket : study.brackets()) {
    if (bracket.closed()) {
      ++closed;
    } else {
      open.push_back(BracketLine(study, bracket, spec));
    }
  }
  if (closed > 0) {
    lines.push_back(absl::StrFormat("  brackets    %d of %d finished", closed,
                                    std::max(closed, study.planned_brackets())));
  }
  if (open.size() > kOpenBracketsShown) {
    const size_t more = open.size() - kOpenBracketsShown;
    open.resize(kOpenBracketsShown);
    open.push_back(absl::StrFormat("  ... and %d more brackets", more));
  }
  lines.insert(lines.end(), open.begin(), open.end());
  for (std::string& line : lines) line = Cut(line, width);
  return lines;
}

std::string ProgressLine(const v1::StudyStatus& study, const StudySpec& spec, const std::string& hindrance) {
  const std::string why = study.state() == "paused" ? "; " + Printable(study.message()) : "";
  return Head(study, spec, hindrance) + "; " + BestText(study, spec) + why;
}

bool LinePace::Due() {
  const absl::Duration now = clock_.Steady();
  if (now < next_) return false;
  next_ = now + kLineEvery;
  return true;
}

void LinePace::Hasten() {
  next_ = -absl::InfiniteDuration();
}

void LiveBlock::Draw(const std::vector<std::string>& lines) {
  if (!terminal_.out_is_tty) return;
  std::string text;
  if (drawn_ > 0) text += absl::StrFormat("\x1b[%dA", drawn_);
  for (const std::string& line : lines) text += "\r\x1b[K" + line + "\n";
  // Lines of a taller block before this one are cleared.
  if (lines.size() < drawn_) text += "\x1b[J";
  drawn_ = lines.size();
  PrintText(text);
}

void LiveBlock::Clear() {
  if (drawn_ > 0) PrintText(absl::StrFormat("\x1b[%dA\r\x1b[J", drawn_));
  drawn_ = 0;
}

void LiveBlock::Leave() {
  drawn_ = 0;
}

}  // namespace rung
