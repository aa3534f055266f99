#include "cli/progress.h"

#include <catch2/catch.hpp>

#include "base/status.h"
#include "cli/plan.h"
#include "cli/supervisor.h"
#include "proto/wire.h"
#include "tests/fake_clock.h"

namespace rung {
namespace {

StudySpec Spec(const std::string& more = "", const std::string& smallest_budget = "1") {
  const auto spec = StudySpec::Parse(
      R"({"name": "small", "trainer": {"type": "text_classification", "train": "t.csv", "validation": 0.1,
          "text": "text", "label": "label", "options": {"model_name_or_path": "m"}},
      "budget": {"unit": "epochs", "min": )" +
          smallest_budget + R"(, "max": 9, "eta": 3}, "algorithm": {"type": "bohb"},)" + more +
          R"( "space": {"warmup_steps": {"ordinal": [10, 100, 500]},
                              "per_device_train_batch_size": {"ordinal": [4, 16]}}})",
      "small.json", "/");
  INFO(spec.status().message());
  REQUIRE(spec.ok());
  return *spec;
}

v1::StudyStatus Running() {
  v1::StudyStatus study;
  study.set_id(1);
  study.set_name("small");
  study.set_state("running");
  study.set_active_seconds(100);
  study.set_budget_charged(20);
  study.set_budget_planned(60);
  (*study.mutable_trials_by_state())["running"] = 2;
  (*study.mutable_trials_by_state())["waiting"] = 6;
  study.set_running_attempts(2);
  v1::Bracket& bracket = *study.add_brackets();
  for (const int n : {9, 3, 1}) bracket.add_planned(n);
  for (const int n : {8, 2, 0}) bracket.add_entered(n);
  for (const int n : {6, 0, 0}) bracket.add_finished(n);
  v1::TrialRow& best = *study.mutable_incumbent();
  best.set_trial(5);
  *best.mutable_score() = ToWire("validation/accuracy", 0.875);
  return study;
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

v1::WorkerRow Worker(const std::string& state, int64_t study) {
  v1::WorkerRow worker;
  worker.set_state(state);
  if (study == 0) return worker;
  worker.mutable_attempt()->set_study(study);
  worker.mutable_attempt()->set_trial(1);
  return worker;
}

TEST_CASE("without a terminal one line is due at once, then one every 30 s") {
  FakeClock clock;
  LinePace pace(clock);
  CHECK(pace.Due());
  CHECK_FALSE(pace.Due());
  clock.steady += absl::Seconds(29.9);
  CHECK_FALSE(pace.Due());
  clock.steady += absl::Seconds(0.1);
  CHECK(pace.Due());
  CHECK_FALSE(pace.Due());
  // After a long silence one is due, not all that were missed.
  clock.steady += absl::Minutes(5);
  CHECK(pace.Due());
  CHECK_FALSE(pace.Due());
  pace.Hasten();
  CHECK(pace.Due());
  CHECK_FALSE(pace.Due());
}

TEST_CASE("a study that nobody works for says why") {
  const v1::StudyStatus study = Running();
  v1::StudyStatus other;
  other.set_id(2);
  other.set_name("big");
  CHECK(Hindrance(study, {}, {study}) == kNoWorkers);
  CHECK(Hindrance(study, {Worker("gone", 0), Worker("lost", 1)}, {study}) == kNoWorkers);
  CHECK(Hindrance(study, {Worker("busy", 2), Worker("busy", 2)}, {study, other}) ==
        "the workers are busy with study big");
  CHECK(Hindrance(study, {Worker("busy", 2), Worker("idle", 0)}, {study, other}).empty());
  CHECK(Hindrance(study, {Worker("busy", 2), Worker("busy", 1)}, {study, other}).empty());
  v1::StudyStatus done = study;
  done.set_state("done");
  CHECK(Hindrance(done, {}, {done}).empty());
  const std::string line = ProgressLine(study, Spec(), kNoWorkers);
  CHECK(Has(line, "60 epochs  no workers; best"));
  CHECK_FALSE(Has(line, "ETA"));
}

TEST_CASE("progress names state, trials, budget, best and what is left of each bracket") {
  const std::vector<std::string> lines = ProgressLines(Running(), Spec(), 0);
  REQUIRE(lines.size() == 3);
  REQUIRE(Has(lines[0], "small running"));
  REQUIRE(Has(lines[0], "trials 8 (2 running)"));
  REQUIRE(Has(lines[0], "20 of 60 epochs"));
  REQUIRE(Has(lines[0], "ETA 3 min 20 s"));
  REQUIRE(Has(lines[1], "validation/accuracy 0.875 (trial 5, rung 0: 1 epoch)"));
  REQUIRE(Has(lines[2], "rungs 6/9 0/3 0/1"));
  // 3 at 1 epoch, 3 from 1 to 3, 1 from 3 to 9, at 0.2 epochs a second.
  REQUIRE(Has(lines[2], "left 1 min 15 s"));
}

TEST_CASE("a head that is wider than the terminal goes on in a second line: the time left is seen") {
  const std::vector<std::string> whole = ProgressLines(Running(), Spec(), 0);
  const std::vector<std::string> lines = ProgressLines(Running(), Spec(), 50);
  REQUIRE(lines.size() == whole.size() + 1);
  CHECK(lines[0] + lines[1] == whole[0]);
  CHECK(Has(lines[1], "ETA 3 min 20 s"));
}

TEST_CASE("of a paused study nobody knows the time left") {
  v1::StudyStatus study = Running();
  study.set_state("paused");
  CHECK_FALSE(Eta(study).has_value());
  const std::vector<std::string> lines = ProgressLines(study, Spec(), 0);
  CHECK_FALSE(Has(lines[0], "ETA"));
  CHECK(Has(lines[2], "left unknown"));
}

TEST_CASE("a score of a lower rung than the trial's says so") {
  v1::TrialRow trial;
  CHECK(ScoreText(trial) == "-");
  *trial.mutable_score() = ToWire("accuracy", 0.875);
  CHECK(ScoreText(trial) == "0.875");
  trial.set_rung(1);
  CHECK(ScoreText(trial) == "0.875 (rung 0)");
}

TEST_CASE("with few results the time left is unknown") {
  v1::StudyStatus study = Running();
  study.mutable_brackets(0)->set_finished(0, 4);
  REQUIRE_FALSE(Eta(study).has_value());
  REQUIRE(Has(ProgressLine(study, Spec()), "ETA unknown"));
}

TEST_CASE("closed brackets are counted, not shown") {
  v1::StudyStatus study = Running();
  study.mutable_brackets(0)->set_closed(true);
  study.set_planned_brackets(3);
  const std::vector<std::string> lines = ProgressLines(study, Spec(), 0);
  REQUIRE(lines.size() == 3);
  REQUIRE(Has(lines[2], "1 of 3 finished"));
}

TEST_CASE("no line is wider than the terminal") {
  for (const std::string& line : ProgressLines(Running(), Spec(), 30)) {
    const auto columns = std::count_if(line.begin(), line.end(),
                                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
    REQUIRE(columns <= 30);
  }
}

TEST_CASE("a study's message cannot drive the terminal") {
  v1::StudyStatus study = Running();
  study.set_message("bad \x1b[2J row");
  for (const std::string& line : ProgressLines(study, Spec(), 0)) REQUIRE_FALSE(Has(line, "\x1b"));
}

TEST_CASE("children are restarted five times in ten minutes, ever later") {
  RestartBudget budget;
  absl::Duration now = absl::Hours(1);
  absl::Duration last = absl::ZeroDuration();
  for (int i = 0; i < RestartBudget::kRestarts; ++i) {
    const auto due = budget.OnDeath(now);
    REQUIRE(due.has_value());
    REQUIRE(*due - now > last);
    last = *due - now;
    now += absl::Seconds(20);
  }
  REQUIRE_FALSE(budget.OnDeath(now).has_value());
  REQUIRE(budget.OnDeath(now + absl::Minutes(11)).has_value());
}

TEST_CASE("visible GPUs end where CUDA_VISIBLE_DEVICES stops naming them") {
  using Names = std::vector<std::string>;
  REQUIRE(GpusOf("0, 2") == Names{"0", "2"});
  REQUIRE(GpusOf("GPU-8932f937,MIG-41b35014").size() == 2);
  REQUIRE(GpusOf("-1").empty());
  REQUIRE(GpusOf("").empty());
  REQUIRE(GpusOf("NoDevFiles").empty());
  REQUIRE(GpusOf("1,-1,0") == Names{"1"});
}

TEST_CASE("updates of the rungs follow rows, batch and accumulation") {
  const StudySpec spec = Spec();
  const Config config = {{"per_device_train_batch_size", int64_t{16}}, {"warmup_steps", int64_t{10}}};
  REQUIRE(RungUpdates(spec, config, 100) == std::vector<int64_t>{7, 21, 63});
  REQUIRE(RungUpdates(spec, config, 1) == std::vector<int64_t>{1, 3, 9});
}

TEST_CASE("the plan shows brackets, cost and the share of configs whose warm-up never ends") {
  PreparedStudy study;
  study.spec = Spec(R"("enqueue": [{"config": "default", "to": "max"}],)");
  study.train_rows = 200;
  const PlanReport plan = MakePlan(study, PlanTime{});
  REQUIRE(plan.rows.size() == 4);
  REQUIRE(plan.rows[0].bracket == -1);
  REQUIRE(plan.rows[1].trials == std::vector<int>{9, 3, 1});
  REQUIRE(plan.trials == 16);
  REQUIRE(plan.full_budgets == Approx(1 + 21.0 / 9 + 15.0 / 9 + 3));
  // 500 is beyond the 450 or 117 updates of nine epochs: a third of the configs.
  REQUIRE(plan.share_warmup_beyond == Approx(1.0 / 3).margin(0.05));
  REQUIRE(plan.share_rungs_together == 0);
  REQUIRE(plan.fewest_updates_first_rung == 13);
  const std::string text = PlanText(plan, study, Terminal{});
  REQUIRE(Has(text, "9 → 3 → 1"));
  REQUIRE(Has(text, "warm-up"));
  const OrderedJson json = PlanJson(plan, study);
  REQUIRE(json["schema"] == 1);
  REQUIRE(json["brackets"][1]["trials"] == std::vector<int>{9, 3, 1});
}

TEST_CASE("the plan names the classes of the training data") {
  PreparedStudy study;
  study.spec = Spec();
  study.classes.push_back({"/data/train.csv", 16, {{"ham", 12}, {"spam", 4}}});
  const PlanReport plan = MakePlan(study, PlanTime{});
  REQUIRE(Has(PlanText(plan, study, Terminal{}),
              "/data/train.csv: 16 rows to train on, 2 classes: ham 12, spam 4\n"));
  const OrderedJson data = PlanJson(plan, study)["training_data"];
  REQUIRE(
      data.dump() ==
      R"([{"path":"/data/train.csv","rows":16,"classes":[{"class":"ham","rows":12},{"class":"spam","rows":4}]}])");
  study.warnings.emplace_back("1 of 2 test texts are empty");
  REQUIRE(NotesOf(study) ==
          std::vector<std::string>{"/data/train.csv: 16 rows to train on, 2 classes: ham 12, spam 4",
                                   "warning: 1 of 2 test texts are empty"});
  TrainingClasses many{"t.csv", 30, {}};
  for (int i = 0; i < 30; ++i) many.classes.emplace_back("c" + std::to_string(i), 1);
  REQUIRE(Has(ClassesText(many), ", c19 1, and 10 more"));
}

TEST_CASE("the plan says for what share of the configs rungs fall together") {
  PreparedStudy study;
  study.spec = Spec("", "0.01");
  study.train_rows = 200;
  const PlanReport plan = MakePlan(study, PlanTime{});
  // The first rungs are 1/81 and 1/27 of an epoch: with a batch of 16 both are one update, with one of 4 one
  // and two.
  REQUIRE(plan.share_rungs_together == Approx(.5).margin(.05));
  REQUIRE(plan.fewest_updates_first_rung == 1);
  REQUIRE(
      Has(PlanText(plan, study, Terminal{}), "two neighbouring rungs end after the same update (200 rows)"));
  REQUIRE(PlanJson(plan, study)["share_rungs_together"].get<double>() == plan.share_rungs_together);
}

TEST_CASE("the plan says what the checkpoints take and what the training costs, as far as it is known") {
  PreparedStudy study;
  study.spec = Spec(R"("enqueue": [{"config": "default", "to": "max"}],)");
  study.train_rows = 200;
  const PlanReport unknown = MakePlan(study, PlanTime{});
  // The bracket of 9, and the incumbent's.
  REQUIRE(unknown.disk.kept_checkpoints == 10);
  REQUIRE(unknown.disk.Bytes(1) == 0);
  REQUIRE(Has(PlanText(unknown, study, Terminal{}), "not known before the first one"));
  REQUIRE(Has(PlanText(unknown, study, Terminal{}), "time: unknown"));
  REQUIRE(PlanJson(unknown, study)["peak_disk_bytes"].is_null());
  REQUIRE(PlanJson(unknown, study)["device_seconds"].is_null());

  study.model_parameters = 1'000'000;
  const PlanReport known = MakePlan(study, PlanTime{100, 2});
  REQUIRE(known.disk.checkpoint_bytes == 12'000'000);  // weights and the two moments of AdamW
  // Each bracket completes trials: 1, 1 and 3; and there is the enqueued one.
  REQUIRE(known.disk.kept_models == 6);
  REQUIRE(known.disk.Bytes(2) == 16 * 12'000'000 + 6 * 4'000'000);
  REQUIRE(Has(PlanText(known, study, Terminal{}),
              "216 MB (10 checkpoints of 12 MB, 3 for each worker, and 6 models"));
  // Eight full budgets of nine epochs at 100 s.
  REQUIRE(PlanJson(known, study)["device_seconds"].get<double>() == Approx(7200));
  REQUIRE(Has(PlanText(known, study, Terminal{}), "2 device hours"));
  REQUIRE(Has(PlanText(known, study, Terminal{}), "about 1 h 00 min with 2 workers"));
}

TEST_CASE("a study whose checkpoints do not fit on the disk is refused") {
  PreparedStudy study;
  study.spec = Spec();
  REQUIRE(CheckDisk(study, 1, "/tmp").ok());  // an unknown need cannot be refused
  study.model_parameters = int64_t{1} << 50;
  const absl::Status refused = CheckDisk(study, 1, "/tmp");
  REQUIRE(GetErrorDetail(refused)->code == "E0388");
  REQUIRE(ExitCode(refused) == 1);
  study.model_parameters = 1;
  REQUIRE(CheckDisk(study, 1, "/tmp").ok());
}

}  // namespace
}  // namespace rung
