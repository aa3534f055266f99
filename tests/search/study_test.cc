#include "search/study.h"

#include <catch2/catch.hpp>
#include <limits>

#include "tests/search/study_fixture.h"

namespace rung {
namespace {

TEST_CASE("one worker runs a full set of brackets as planned") {
  Driver driver(Spec(StudyText()));
  driver.Run();
  CHECK(driver.study.state() == StudyState::kDone);
  CHECK(driver.idle == Idle::kDone);
  const auto brackets = driver.study.brackets();
  REQUIRE(brackets.size() == 3);
  CHECK(brackets[0].entered == std::vector<int>{9, 3, 1});
  CHECK(brackets[1].entered == std::vector<int>{3, 1});
  CHECK(brackets[2].entered == std::vector<int>{3});
  for (const auto& bracket : brackets) CHECK(bracket.closed);
  int stopped = 0, completed = 0;
  for (const TrialId id : driver.study.trials()) {
    stopped += driver.study.trial(id).state == TrialState::kStopped;
    completed += driver.study.trial(id).state == TrialState::kCompleted;
  }
  CHECK(stopped == 10);
  CHECK(completed == 5);
  REQUIRE(driver.study.incumbent().has_value());
  CHECK(driver.study.incumbent()->rung == 2);
}

TEST_CASE("how many attempts can still run at once is known when no trial comes any more") {
  Driver driver(Spec(StudyText(R"({"stop": {"brackets": 1}, "objective": {"seeds": [1, 2]}})")));
  CHECK(!driver.study.MostAtOnce().has_value());
  std::vector<Job> first;
  for (int i = 0; i < 17; ++i) {
    first.push_back(*driver.Take());
    CHECK((driver.study.MostAtOnce().has_value() == (driver.study.trials().size() == 9)));
  }
  first.push_back(*driver.Take());
  CHECK(!driver.Take().has_value());
  CHECK(driver.study.MostAtOnce() == 18);  // nine trials, two seeds
  driver.Keep(*driver.study.OnRequest(StudyState::kPaused, "", driver.Now()));
  CHECK(driver.study.MostAtOnce() == 18);  // when it goes on
  driver.Keep(*driver.study.OnRequest(StudyState::kRunning, "", driver.Now()));
  for (const Job& job : first) driver.Report(job, driver.Score(job));
  CHECK(driver.study.MostAtOnce() == 6);  // three climbed
  std::vector<Job> second;
  while (const auto job = driver.Take()) second.push_back(*job);
  REQUIRE(second.size() == 6);
  for (const Job& job : second) driver.Report(job, driver.Score(job));
  CHECK(driver.study.MostAtOnce() == 2);
  const Job last = *driver.Take();
  driver.Lose(last);
  CHECK(driver.study.MostAtOnce() == 2);  // it comes again
  driver.Run();
  CHECK(driver.study.MostAtOnce() == 0);
}

TEST_CASE("a study that is asked to stop has only what runs, and what it will be tested by") {
  for (const bool tested : {false, true}) {
    Driver driver(Spec(StudyText(tested ? R"({"trainer": {"test": "test.csv"}})" : "{}")));
    for (int i = 0; i < 5; ++i) driver.Take();
    driver.Keep(*driver.study.OnRequest(StudyState::kStopping, "", driver.Now()));
    CHECK(driver.study.MostAtOnce() == 5);
    CHECK(!driver.Take().has_value());
  }
}

TEST_CASE("the best of a rung are promoted and resume from their own result") {
  Driver driver(Spec(StudyText()));
  std::map<TrialId, double> scores;
  for (int i = 0; i < 9; ++i) {
    const Job job = *driver.Take();
    CHECK(job.rung == 0);
    CHECK(driver.granted.resume_attempt == 0);
    scores[job.trial] = driver.Score(job);
    driver.Report(job, scores[job.trial]);
  }
  std::vector<std::pair<double, TrialId>> order;
  for (const auto& [trial, score] : scores) order.push_back({-score, trial});
  std::sort(order.begin(), order.end());
  std::set<TrialId> best = {order[0].second, order[1].second, order[2].second};
  for (int i = 0; i < 3; ++i) {
    const Job job = *driver.Take();
    CHECK(job.rung == 1);
    CHECK(best.contains(job.trial));
    CHECK(driver.granted.resume_rung == 0);
    CHECK(driver.granted.resume_attempt == 1);
    driver.Report(job, driver.Score(job));
  }
  CHECK(driver.study.budget_saved() == Approx(3));
}

TEST_CASE("a promoted trial that had to start anew saved nothing") {
  Driver driver(Spec(StudyText()));
  for (int i = 0; i < 9; ++i) driver.Report(*driver.Take(), .1 * i);
  for (const double charged : {3., 2., 2.01}) {
    const Job job = *driver.Take();
    CHECK(job.rung == 1);
    driver.Keep(
        driver.study.OnResult(job, driver.attempts.at(job), driver.Values(.5, charged), driver.Now()));
  }
  CHECK(driver.study.budget_saved() == Approx(2));
}

TEST_CASE("on_promotion restart trains each rung anew") {
  Driver driver(Spec(StudyText(R"({"budget": {"on_promotion": "restart"}})")));
  driver.Run();
  for (const Event& event : driver.log) CHECK(event.resume_attempt == 0);
  CHECK(driver.study.budget_saved() == 0);
}

TEST_CASE("every prefix of the log replays to the same state and the same next decision") {
  const std::string text = StudyText(R"({"objective": {"seeds": [1, 2]}, "stop": {"brackets": 4},
      "trainer": {"test": "test.csv"}, "enqueue": [{"config": "default", "to": "max"}]})");
  Driver driver(Spec(text));
  std::map<size_t, std::string> states;
  const auto remember = [&] { states[driver.log.size()] = Dump(driver.study); };
  remember();
  std::vector<Job> running;
  Rng rng(3, 1);
  // Three workers that lose, fail, checkpoint, pause and report in a mixed order.
  for (int step = 0; step < 2000 && !IsFinished(driver.study.state()); ++step) {
    while (running.size() < 3) {
      const std::optional<Job> job = driver.Take();
      remember();
      if (!job.has_value()) break;
      running.push_back(*job);
    }
    if (running.empty()) continue;
    const size_t which = static_cast<size_t>(rng.Below(static_cast<int64_t>(running.size())));
    const Job job = running[which];
    running.erase(running.begin() + static_cast<std::ptrdiff_t>(which));
    const int64_t dice = rng.Below(20);
    if (dice == 0) {
      driver.Keep(driver.study.OnCheckpoint(job, driver.attempts.at(job), .5, driver.Now()));
      driver.Lose(job);
    } else if (dice == 1) {
      driver.Fail(job, FailureCause::kDiverged);
    } else if (dice == 2) {
      driver.Keep(*driver.study.OnRequest(StudyState::kPaused, "", driver.Now()));
      driver.Report(job, driver.Score(job));
      driver.Keep(*driver.study.OnRequest(StudyState::kRunning, "", driver.Now()));
    } else {
      driver.Report(job, driver.Score(job));
    }
    remember();
  }
  CHECK(driver.study.state() == StudyState::kDone);
  REQUIRE(driver.log.size() > 100);
  for (const auto& [count, state] : states) {
    INFO("after " << count << " events");
    CHECK(Dump(driver.Replayed(count)) == state);
  }
  // Between the events of one decision too: what was missing is decided again, equal to the original.
  for (size_t count = 0; count < driver.log.size(); count += 7) {
    Study fresh = driver.Replayed(count);
    int64_t seq = fresh.last_seq() + 1;
    const Decision decision = fresh.NextWork(driver.known, {absl::UnixEpoch(), seq});
    Study again = driver.Replayed(count);
    int64_t seq_again = again.last_seq() + 1;
    again.NextWork(driver.known, {absl::UnixEpoch(), seq_again});
    CHECK(Dump(fresh) == Dump(again));
    CHECK(seq == seq_again);
  }
}

TEST_CASE("one worker and one seed propose the same configs; another seed others") {
  const auto configs = [](const std::string& text) {
    Driver driver(Spec(text));
    driver.Run();
    std::string all;
    for (const TrialId id : driver.study.trials()) all += CanonicalJson(driver.study.trial(id).config) + "\n";
    return all;
  };
  const std::string text = StudyText(R"({"stop": {"brackets": 6}})");
  CHECK(configs(text) == configs(text));
  CHECK(configs(text) != configs(StudyText(R"({"seed": 8, "stop": {"brackets": 6}})")));
}

TEST_CASE("a trial keeps no room for the ids that were pending when it was made") {
  Driver driver(Spec(StudyText()));
  for (int i = 0; i < 5; ++i) driver.Take();
  CHECK(driver.study.trials().size() == 5);
  for (const TrialId id : driver.study.trials()) {
    CHECK(driver.study.trial(id).origin.pending.capacity() == 0);
  }
}

TEST_CASE("the model proposes once it has results, and says how") {
  Driver driver(Spec(StudyText(R"({"stop": {"brackets": 12}})")));
  driver.Run();
  int model = 0;
  for (const TrialId id : driver.study.trials()) {
    const Origin& origin = driver.study.trial(id).origin;
    if (origin.source != Origin::Source::kModel) continue;
    ++model;
    const auto detail = nlohmann::json::parse(origin.detail_json);
    CHECK(detail["rung"] == origin.model_rung);
    CHECK(detail["n_good"] >= 5);
    CHECK(detail["bandwidths_good"].size() == 4);
    CHECK(detail["score"].get<double>() == Approx(detail["density_good"].get<double>() /
                                                  std::max(1e-32, detail["density_bad"].get<double>())));
  }
  CHECK(model >= 10);
}

TEST_CASE("a trial enqueued to max runs through all rungs outside the brackets") {
  Driver driver(Spec(StudyText(R"({"enqueue": [{"config": {"x": 0.5, "y": 0.5, "c": "c"}},
                                               {"config": "default", "to": "max"}]})")));
  for (int rung = 0; rung < 3; ++rung) {
    const Job job = *driver.Take();
    CHECK(job.trial == TrialId{1});
    CHECK(job.rung == rung);
    driver.Report(job, .1);
  }
  const TrialView& first = driver.study.trial({1});
  CHECK(first.bracket == -1);
  CHECK(first.state == TrialState::kCompleted);
  CHECK(first.config == driver.study.spec().space.Default());
  // The other takes a slot of the first bracket.
  CHECK(driver.Take()->trial == TrialId{2});
  CHECK(driver.study.trial({2}).bracket == 0);
  CHECK(driver.study.trial({2}).origin.source == Origin::Source::kEnqueued);
  driver.Report({{2}, 0}, .2);
  driver.Run();
  CHECK(driver.study.brackets()[0].entered == std::vector<int>{9, 3, 1});
}

TEST_CASE("the score is the aggregate of seeds times folds") {
  Driver driver(Spec(StudyText(R"({"objective": {"seeds": [1, 2], "aggregate": "median"},
                                   "trainer": {"validation": {"folds": 2}}})")));
  CHECK(driver.study.spec().Replicates() == 4);
  const double scores[] = {.1, .9, .2, .4};
  for (int replicate = 0; replicate < 4; ++replicate) {
    const Job job = *driver.Take();
    CHECK(job == Job{{1}, 0, replicate});
    CHECK_FALSE(driver.study.trial({1}).rungs.at(0).score.has_value());
    driver.Report(job, scores[replicate]);
  }
  CHECK(*driver.study.trial({1}).rungs.at(0).score == Approx(.3));
  CHECK(driver.study.spec().SeedOf(1) == 1);
  CHECK(driver.study.spec().SeedOf(2) == 2);
  CHECK(driver.study.spec().FoldOf(3) == 1);
  CHECK(driver.study.Identity({{1}, 0, 0}) != driver.study.Identity({{1}, 0, 1}));
  driver.Run();
  CHECK(driver.study.state() == StudyState::kDone);
}

TEST_CASE("the aggregate is the mean unless the study says otherwise") {
  const auto score = [](const std::string& aggregate) {
    Driver driver(Spec(StudyText(absl::StrCat(R"({"objective": {"seeds": [1, 2, 3])", aggregate, "}}"))));
    for (const double each : {.1, .2, .9}) driver.Report(*driver.Take(), each);
    return *driver.study.trial({1}).rungs.at(0).score;
  };
  CHECK(score("") == Approx(.4));
  CHECK(score(R"(, "aggregate": "mean")") == Approx(.4));
  CHECK(score(R"(, "aggregate": "median")") == Approx(.2));
  CHECK(score(R"(, "aggregate": "min")") == Approx(.1));
}

TEST_CASE("the aggregate of finite values is finite, however large they are") {
  constexpr double kLargest = std::numeric_limits<double>::max();
  for (const char* aggregate : {"mean", "median"}) {
    INFO(aggregate);
    Driver driver(Spec(StudyText(
        absl::StrCat(R"({"objective": {"seeds": [1, 2, 3, 4], "aggregate": ")", aggregate, R"("}})"))));
    for (int i = 0; i < 4; ++i) driver.Report(*driver.Take(), kLargest);
    CHECK(*driver.study.trial({1}).rungs.at(0).score == kLargest);
  }
}

TEST_CASE("with two workers the oldest bracket comes first: its promotions before a younger one's configs") {
  Driver driver(Spec(StudyText()));
  std::optional<Job> running = driver.Take();
  for (int i = 1; i < 9; ++i) {
    const Job job = *driver.Take();
    driver.Report(*running, driver.Score(*running));
    running = job;
  }
  // The first bracket waits for its last config: the other worker begins the second.
  const Job younger = *driver.Take();
  CHECK(driver.study.trial(younger.trial).bracket == 1);
  driver.Report(*running, driver.Score(*running));
  for (int i = 0; i < 3; ++i) {
    const Job promoted = *driver.Take();
    CHECK(promoted.rung == 1);
    CHECK(driver.study.trial(promoted.trial).bracket == 0);
  }
  const Job fresh = *driver.Take();
  CHECK(fresh.rung == 1);
  CHECK(driver.study.trial(fresh.trial).bracket == 1);
}

TEST_CASE("one config failure fails the trial, and its other replicates are no longer wanted") {
  Driver driver(Spec(StudyText(R"({"objective": {"seeds": [1, 2]}})")));
  const Job first = *driver.Take();
  const Job second = *driver.Take();
  CHECK(second == Job{{1}, 0, 1});
  CHECK(driver.study.Wanted(second));
  driver.Fail(first, FailureCause::kOutOfMemory);
  CHECK(driver.study.trial({1}).state == TrialState::kFailed);
  CHECK(driver.study.trial({1}).cause == FailureCause::kOutOfMemory);
  CHECK_FALSE(driver.study.Wanted(second));
  driver.Lose(second, LossReason::kReleased);
  driver.Run();
  CHECK(driver.study.state() == StudyState::kDone);
  CHECK(driver.study.trial({1}).rungs.size() == 1);
}

TEST_CASE("a metric that is missing or not finite is a failure, never a score") {
  Driver driver(Spec(StudyText()));
  Job job = *driver.Take();
  driver.Report(job, std::numeric_limits<double>::quiet_NaN());
  CHECK(driver.study.trial(job.trial).cause == FailureCause::kDiverged);
  job = *driver.Take();
  driver.Keep(driver.study.OnResult(job, 1, ResultValues{}, driver.Now()));
  CHECK(driver.study.trial(job.trial).cause == FailureCause::kCrash);
  CHECK_FALSE(driver.study.incumbent().has_value());
  driver.Run();
  CHECK(driver.study.brackets()[0].entered == std::vector<int>{9, 3, 1});
}

TEST_CASE("survivors that are too few: promotes fewer, or refills") {
  const auto run = [](const char* refill) {
    Driver driver(Spec(
        StudyText(absl::StrCat(R"({"algorithm": {"refill": )", refill, R"(}, "stop": {"brackets": 1}})"))));
    for (int i = 0; i < 9; ++i) {
      const Job job = *driver.Take();
      if (i < 8) {
        driver.Fail(job, FailureCause::kDiverged);
      } else {
        driver.Report(job, .5);
      }
    }
    driver.Run();
    CHECK(driver.study.state() == StudyState::kDone);
    return driver.study.brackets()[0].entered;
  };
  CHECK(run("false") == std::vector<int>{9, 1, 1});
  CHECK(run("true") == std::vector<int>{9, 3, 1});
}

TEST_CASE("a study without any score failed") {
  for (const char* refill : {"false", "true"}) {
    Driver driver(Spec(
        StudyText(absl::StrCat(R"({"algorithm": {"refill": )", refill, R"(}, "stop": {"brackets": 2}})"))));
    while (const std::optional<Job> job = driver.Take()) driver.Fail(*job, FailureCause::kCrash);
    CHECK(driver.study.state() == StudyState::kFailed);
  }
}

TEST_CASE("a lost attempt goes on from its last checkpoint and its config is not blamed") {
  Driver driver(Spec(StudyText()));
  const Job job = *driver.Take();
  driver.Keep(driver.study.OnCheckpoint(job, 1, .5, driver.Now()));
  driver.Lose(job);
  CHECK(driver.study.trial(job.trial).state == TrialState::kQueued);
  CHECK(*driver.Take() == job);
  CHECK(driver.granted.attempt == 2);
  CHECK(driver.granted.resume_attempt == 1);
  CHECK(driver.granted.resume_rung == 0);
  // The second writes nothing before it is lost: the first's checkpoint stays the newest.
  driver.Lose(job, LossReason::kKilled);
  driver.Take();
  CHECK(driver.granted.attempt == 3);
  CHECK(driver.granted.resume_attempt == 1);
  driver.Report(job, .5);
  CHECK(driver.study.trial(job.trial).rungs.at(0).replicates[0].losses == 2);
  CHECK(driver.study.trial(job.trial).rungs.at(0).score.has_value());
}

TEST_CASE("an attempt that resumed at its rung's end stands for the checkpoint it resumed from") {
  Driver driver(Spec(StudyText()));
  const Job job = *driver.Take();
  driver.Keep(driver.study.OnCheckpoint(job, driver.attempts.at(job), 1, driver.Now()));
  driver.Lose(job, LossReason::kReleased);
  CHECK(*driver.Take() == job);
  driver.Report(job, .5);
  const auto point = driver.study.ResumeFrom({job.trial, job.rung + 1});
  REQUIRE(point.has_value());
  CHECK(point->rung == job.rung);
  CHECK(point->attempt == 1);
}

TEST_CASE("five losses in a row without progress fail the trial with cause infrastructure") {
  Driver driver(Spec(StudyText()));
  for (int i = 0; i < Study::kMaxLosses; ++i) {
    CHECK(driver.Take()->trial == TrialId{1});
    if (i == 2) {
      driver.Lose({{1}}, LossReason::kReleased);  // not counted
      CHECK(driver.Take()->trial == TrialId{1});
    }
    driver.Lose({{1}}, i % 2 == 0 ? LossReason::kLost : LossReason::kKilled);
  }
  CHECK(driver.study.trial({1}).state == TrialState::kFailed);
  CHECK(driver.study.trial({1}).cause == FailureCause::kInfrastructure);
  // With progress between them they may go on.
  for (int i = 0; i < 12; ++i) {
    const Job job = *driver.Take();
    CHECK(job.trial == TrialId{2});
    driver.Keep(driver.study.OnCheckpoint(job, driver.attempts.at(job), .05 * (i + 1), driver.Now()));
    driver.Lose(job, LossReason::kKilled);
  }
  CHECK(driver.study.trial({2}).state == TrialState::kQueued);
}

TEST_CASE("trials that lose their workers one after the other pause the study, until a person resumes it") {
  Driver driver(Spec(StudyText()));
  const auto give_up = [&driver](int trials) {
    for (int i = 0; i < trials * Study::kMaxLosses; ++i) driver.Lose(*driver.Take(), LossReason::kKilled);
  };
  give_up(Study::kMaxGivenUp - 1);
  driver.Report(*driver.Take(), .5);
  give_up(Study::kMaxGivenUp - 1);
  CHECK(driver.study.state() == StudyState::kRunning);
  give_up(1);
  CHECK(driver.study.state() == StudyState::kPaused);
  CHECK_THAT(driver.study.state_message(),
             Catch::Contains("3 trials in a row lost their workers 5 times each"));
  CHECK_FALSE(driver.Take().has_value());
  driver.Keep(*driver.study.OnRequest(StudyState::kRunning, "mended", driver.Now()));
  give_up(Study::kMaxGivenUp - 1);
  CHECK(driver.study.state() == StudyState::kRunning);
}

TEST_CASE("trials that were given up during a pause do not pause the study again") {
  Driver driver(Spec(StudyText()));
  std::vector<Job> held;
  for (int i = 0; i < Study::kMaxGivenUp; ++i) {
    for (int loss = 1; loss < Study::kMaxLosses; ++loss) driver.Lose(*driver.Take(), LossReason::kKilled);
    held.push_back(*driver.Take());
    CHECK(held.back().trial == TrialId{i + 1});
  }
  driver.Keep(*driver.study.OnRequest(StudyState::kPaused, "", driver.Now()));
  for (const Job& job : held) driver.Lose(job, LossReason::kKilled);
  CHECK(driver.study.trial({Study::kMaxGivenUp}).state == TrialState::kFailed);
  driver.Keep(*driver.study.OnRequest(StudyState::kRunning, "mended", driver.Now()));
  driver.Lose(*driver.Take(), LossReason::kKilled);
  CHECK(driver.study.state() == StudyState::kRunning);
}

TEST_CASE("a study whose data or program nobody read has results that are never taken for another's") {
  constexpr char kCommand[] =
      R"({"trainer": {"type": "command", "train": null, "argv": ["python3", "t.py"], "deterministic": true}})";
  for (const char* changes : {"{}", kCommand}) {
    Driver driver(Spec(StudyText(changes)));
    driver.Take();
    CHECK_FALSE(driver.study.Identity({{1}}).empty());
    Study same({1}, Spec(StudyText(changes)), {});
    Driver none(Spec(StudyText(changes)));
    int64_t seq = 1;
    same.NextWork(none.known, {absl::UnixEpoch(), seq});
    CHECK(same.Identity({{1}}).empty());
  }
}

TEST_CASE("a known result is copied, charged nothing, and resumed from") {
  Driver first(Spec(StudyText(R"({"stop": {"brackets": 1}})")));
  first.remember = true;
  first.Run();
  Driver second(Spec(StudyText(R"({"name": "t", "stop": {"brackets": 2}})")), {2});
  second.known = first.known;
  const Job job = *second.Take();
  // The whole first bracket was known; the job belongs to the second.
  CHECK(second.study.trial(job.trial).bracket == 1);
  CHECK(second.study.brackets()[0].closed);
  CHECK(second.study.budget_charged() == 0);
  CHECK(second.study.device_seconds() == 0);
  CHECK(second.study.budget_saved() == Approx(9 * 1 + 3 * 3 + 9));
  CHECK(second.study.trial({1}).rungs.at(0).replicates[0].copied_from->study == StudyId{1});
  CHECK(second.study.incumbent()->score == first.study.incumbent()->score);
  const Study::ResumePoint point = *second.study.ResumeFrom({second.study.incumbent()->trial, 2});
  CHECK(point.study == StudyId{1});
  CHECK(point.rung == 1);
  CHECK(Dump(second.Replayed(second.log.size())) == Dump(second.study));
}

TEST_CASE("a result of other data, another split or another schedule is not copied") {
  Driver first(Spec(StudyText()));
  first.remember = true;
  first.Report(*first.Take(), .5);
  const auto copied = [&](const std::string& changes, const std::string& data = "0f") {
    Driver second(Spec(StudyText(changes)), {2}, data);
    second.known = first.known;
    second.Take();
    CHECK(second.study.trial({1}).config == first.study.trial({1}).config);
    return second.study.trial({1}).rungs.at(0).replicates[0].copied_from.has_value();
  };
  CHECK(copied(R"({"name": "t"})"));
  CHECK_FALSE(copied(R"({"name": "t"})", "0e"));
  CHECK_FALSE(copied(R"({"trainer": {"split_seed": 8}})"));
  CHECK_FALSE(copied(R"({"budget": {"max": 27}})"));
}

TEST_CASE("what is being trained elsewhere is waited for") {
  Driver driver(Spec(StudyText(R"({"space": {"c": ["a"], "z": null, "x": [0.5], "y": [0.5]},
                                   "algorithm": {"type": "random"}, "budget": {"min": 9}, "stop": {"trials": 2},
                                   "enqueue": [{"config": "default"}, {"config": "default"}]})")));
  const Job first = *driver.Take();
  driver.known.training.insert(driver.study.Identity(first));
  CHECK_FALSE(driver.Take().has_value());
  CHECK(driver.idle == Idle::kWait);
  driver.remember = true;
  driver.Report(first, .5);
  driver.known.training.clear();
  CHECK_FALSE(driver.Take().has_value());
  CHECK(driver.study.state() == StudyState::kDone);
  CHECK(driver.study.trial({2}).rungs.at(0).replicates[0].copied_from.has_value());
}

TEST_CASE("identity depends on what the result depends on, and on nothing else") {
  const auto identity = [](const std::string& changes, int rung = 0, const std::string& data = "0f") {
    Driver driver(Spec(StudyText(changes)), {1}, data);
    driver.Take();
    return driver.study.Identity({{1}, rung});
  };
  const std::string base = identity("{}");
  CHECK(base.size() == 64);
  CHECK(identity(R"({"name": "other", "stop": {"brackets": 9}, "description": "d"})") == base);
  CHECK(identity("{}", 1) != base);
  CHECK(identity("{}", 0, "0e") != base);
  CHECK(identity(R"({"trainer": {"split_seed": 8}})") != base);
  CHECK(identity(R"({"trainer": {"options": {"threads": 2}}})") != base);
  CHECK(identity(R"({"objective": {"seeds": [8]}})") != base);
  CHECK(identity(R"({"objective": {"report": "best"}})") != base);
  CHECK(identity(R"({"budget": {"on_promotion": "restart"}})") != base);
  CHECK(identity(R"({"budget": {"unit": "steps"}})") != base);
  // A schedule is laid out for the last rung, unless each rung starts anew.
  CHECK(identity(R"({"budget": {"max": 27}})") != base);
  CHECK(identity(R"({"budget": {"max": 27, "on_promotion": "restart"}})") ==
        identity(R"({"budget": {"on_promotion": "restart"}})"));
  CHECK(identity(R"({"trainer": {"type": "command", "argv": ["a"]}})").empty());
  CHECK(identity(R"({"trainer": {"type": "command", "argv": ["a"], "deterministic": true}})").size() == 64);
}

TEST_CASE("stop rules") {
  SECTION("trials: those created run through their rungs, no more are created") {
    Driver driver(Spec(StudyText(R"({"stop": {"trials": 5}})")));
    driver.Run();
    CHECK(driver.study.state() == StudyState::kDone);
    CHECK(driver.study.trials().size() == 5);
    CHECK(driver.study.brackets()[0].entered == std::vector<int>{5, 3, 1});
  }
  SECTION("target: no new leases, running attempts finish") {
    Driver driver(Spec(StudyText(R"({"stop": {"target": 0.9}})")));
    const Job first = *driver.Take();
    const Job second = *driver.Take();
    driver.Report(first, .95);
    CHECK(driver.study.state() == StudyState::kStopping);
    CHECK(driver.study.Wanted(second));
    CHECK_FALSE(driver.Take().has_value());
    driver.Report(second, .99);
    CHECK(driver.study.state() == StudyState::kDone);
    CHECK(driver.study.incumbent()->trial == second.trial);
    CHECK(driver.study.trial(first.trial).state == TrialState::kStopped);
  }
  SECTION("gpu_hours: running attempts are interrupted") {
    Driver driver(Spec(StudyText(R"({"stop": {"gpu_hours": 0.005}})")));  // 18 s at 10 s a result
    driver.Report(*driver.Take(), .1);
    const Job first = *driver.Take();
    const Job second = *driver.Take();
    driver.Report(first, .1);
    CHECK(driver.study.state() == StudyState::kStopping);
    CHECK_FALSE(driver.study.Wanted(second));
    driver.Lose(second, LossReason::kReleased);
    CHECK(driver.study.state() == StudyState::kDone);
  }
  SECTION("wall_time") {
    Driver driver(Spec(StudyText(R"({"stop": {"wall_time": "1h"}})")));
    const Job job = *driver.Take();
    CHECK(driver.study.OnActiveTime(absl::Minutes(59), driver.Now()).empty());
    driver.Keep(driver.study.OnActiveTime(absl::Hours(1), driver.Now()));
    CHECK(driver.study.state() == StudyState::kStopping);
    CHECK_FALSE(driver.study.Wanted(job));
    driver.Lose(job, LossReason::kReleased);
    CHECK(driver.study.state() == StudyState::kFailed);  // nothing was scored
  }
}

TEST_CASE("pause, resume and stop") {
  Driver driver(Spec(StudyText()));
  const Job job = *driver.Take();
  driver.Keep(*driver.study.OnRequest(StudyState::kPaused, "lunch", driver.Now()));
  CHECK(driver.study.state_message() == "lunch");
  CHECK_FALSE(driver.Take().has_value());
  CHECK(driver.idle == Idle::kPaused);
  CHECK(driver.study.OnRequest(StudyState::kPaused, "", driver.Now())->empty());
  driver.Report(job, .5);
  driver.Keep(*driver.study.OnRequest(StudyState::kRunning, "", driver.Now()));
  const Job next = *driver.Take();
  driver.Keep(*driver.study.OnRequest(StudyState::kStopping, "enough", driver.Now()));
  CHECK(driver.study.state() == StudyState::kStopping);
  CHECK(driver.study.OnRequest(StudyState::kPaused, "", driver.Now()).status().code() ==
        absl::StatusCode::kFailedPrecondition);
  driver.Report(next, .6);
  CHECK(driver.study.state() == StudyState::kStopped);
  CHECK(driver.study.OnRequest(StudyState::kRunning, "", driver.Now()).status().code() ==
        absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("why a study was paused or resumed does not outlive the pause") {
  Driver driver(Spec(StudyText()));
  driver.Keep(*driver.study.OnRequest(StudyState::kPaused, "lunch", driver.Now()));
  driver.Keep(*driver.study.OnRequest(StudyState::kRunning, "on request", driver.Now()));
  CHECK(driver.study.state() == StudyState::kRunning);
  CHECK(driver.study.state_message().empty());
  // Paused while it evaluates: why the search ended is told at the end.
  Driver tested(Spec(StudyText(R"({"trainer": {"test": "test.csv"}, "stop": {"brackets": 1}})")));
  std::optional<Job> job = tested.Take();
  for (; job->kind == AttemptKind::kTrain; job = tested.Take()) tested.Report(*job, tested.Score(*job));
  const std::string why = tested.study.state_message();
  CHECK(!why.empty());
  tested.Keep(*tested.study.OnRequest(StudyState::kPaused, "lunch", tested.Now()));
  tested.Keep(*tested.study.OnRequest(StudyState::kRunning, "on request", tested.Now()));
  CHECK(tested.study.state() == StudyState::kEvaluating);
  CHECK(tested.study.state_message() == why);
}

TEST_CASE("what attempts without a result used is charged to the study and to their replicate") {
  Driver driver(Spec(StudyText()));
  const Job job = *driver.Take();
  driver.Lose(job, LossReason::kReleased, {.5, 3});
  REQUIRE(driver.Take() == job);
  driver.Fail(job, FailureCause::kDiverged, Spent{.25, 2});
  CHECK(driver.study.budget_charged() == .75);
  CHECK(driver.study.device_seconds() == 5);
  const Spent& spent = driver.study.trial(job.trial).rungs.at(0).replicates.at(0).without_result;
  CHECK(spent.charged == .75);
  CHECK(spent.device_seconds == 5);
}

TEST_CASE("bad data pauses the study and blames no config") {
  Driver driver(Spec(StudyText()));
  const Job job = *driver.Take();
  driver.Fail(job, FailureCause::kBadData);
  CHECK(driver.study.state() == StudyState::kPaused);
  CHECK(driver.study.state_message() == "bad data: why 1");
  CHECK(driver.study.trial(job.trial).state == TrialState::kQueued);
  driver.Keep(*driver.study.OnRequest(StudyState::kRunning, "", driver.Now()));
  CHECK(*driver.Take() == job);
}

TEST_CASE("a search in which every trial fails alike gives up, one with a score or other failures does not") {
  const auto fail = [](int count, bool scored, bool alike) {
    Driver driver(Spec(StudyText(R"({"algorithm": {"type": "random"}, "stop": {"trials": 20}})")));
    if (scored) driver.Report(*driver.Take(), .5);
    for (int i = 0; i < count; ++i) {
      const std::optional<Job> job = driver.Take();
      if (!job.has_value()) break;
      driver.Fail(*job, FailureCause::kCrash, alike ? "why\nthere\n\nat last\n" : "why " + std::to_string(i));
    }
    return std::make_pair(driver.study.state(), driver.study.state_message());
  };
  CHECK(fail(7, false, true).first == StudyState::kRunning);
  CHECK(fail(8, false, true) ==
        std::make_pair(StudyState::kFailed,
                       std::string("no trial got a score; 8 trials failed alike: why ... at last")));
  CHECK(fail(12, false, false).first == StudyState::kRunning);
  CHECK(fail(12, true, true).first == StudyState::kRunning);
}

TEST_CASE("at the end the incumbent and the default are evaluated on the test file") {
  Driver driver(Spec(StudyText(R"({"trainer": {"test": "test.csv"}, "stop": {"brackets": 2},
                                   "enqueue": [{"config": "default", "to": "max"}]})")));
  std::vector<Job> evaluations;
  while (const std::optional<Job> job = driver.Take()) {
    if (job->kind == AttemptKind::kTrain) {
      CHECK(evaluations.empty());
      driver.Report(*job, job->trial == TrialId{1} ? .1 : driver.Score(*job));
      continue;
    }
    CHECK(driver.study.state() == StudyState::kEvaluating);
    evaluations.push_back(*job);
    CHECK(driver.granted.resume_rung == job->rung);
    driver.Keep(driver.study.OnResult(*job, driver.attempts.at(*job), driver.Values(.7), driver.Now()));
  }
  CHECK(driver.study.state() == StudyState::kDone);
  REQUIRE(evaluations.size() == 2);
  CHECK(evaluations[0].trial == TrialId{1});
  CHECK(evaluations[1].trial == driver.study.incumbent()->trial);
  CHECK(evaluations[0].rung == 2);
  CHECK(driver.study.trial({1}).evaluation.has_value());
  CHECK(Dump(driver.Replayed(driver.log.size())) == Dump(driver.study));
}

TEST_CASE("a data description may name a test file: there is an evaluation, but not of a command") {
  const auto evaluations = [](const std::string& trainer) {
    Driver driver(Spec(StudyText(R"({"trainer": )" + trainer + R"(, "stop": {"brackets": 1}})")));
    int count = 0;
    while (const std::optional<Job> job = driver.Take()) {
      count += job->kind == AttemptKind::kEvaluate ? 1 : 0;
      driver.Keep(driver.study.OnResult(*job, driver.attempts.at(*job), driver.Values(.7), driver.Now()));
    }
    return count;
  };
  CHECK(evaluations(R"({"data": "a.json"})") == 1);
  CHECK(evaluations(R"({"type": "command", "argv": ["true"], "data": "a.json"})") == 0);
}

TEST_CASE("the plan's cost counts each replicate once") {
  const auto cost = [](const std::string& seeds) {
    double all = 0;
    for (const PlanRow& row : Plan(Spec(StudyText(R"({"objective": {"seeds": )" + seeds + "}}"))))
      all += row.cost_resume;
    return all;
  };
  CHECK(cost("[1, 2, 3]") == Approx(3 * cost("[1]")));
}

TEST_CASE("an incumbent never steps down; a tie keeps the older trial") {
  Driver driver(Spec(StudyText(R"({"algorithm": {"type": "random"}, "stop": {"trials": 3}})")));
  driver.Report(*driver.Take(), .5);
  driver.Report(*driver.Take(), .5);
  CHECK(driver.study.incumbent()->trial == TrialId{1});
  driver.Report(*driver.Take(), .6);
  CHECK(driver.study.incumbent()->trial == TrialId{3});
}

TEST_CASE("a search ends when its space has nothing new, whatever rule would have ended it") {
  for (const char* algorithm :
       {R"({"type": "random"})", R"({"type": "sobol"})", R"({"type": "bohb"})",
        R"({"type": "bohb", "refill": true})", R"({"type": "tpe", "scheduler": "asha"})",
        R"({"type": "random", "scheduler": "asha", "variant": "stopping"})",
        R"({"type": "random", "scheduler": "async_hyperband"})", R"({"type": "smac", "scheduler": "pasha"})",
        R"({"type": "random", "scheduler": "median_stop"})", R"({"type": "dehb"})", R"({"type": "auto"})"}) {
    for (const char* stop : {R"({"gpu_hours": 1e6})", R"({"target": 9})", R"({"trials": 100000})"}) {
      INFO(algorithm << " " << stop);
      Driver driver(Spec(
          StudyText(absl::StrCat(R"({"space": {"x": {"values": [0.1, 0.3]}, "y": 0.5, "c": ["a", "b", "c"]},
          "algorithm": )",
                                 algorithm, R"(, "stop": )", stop, "}"))));
      driver.remember = true;
      driver.Run(1000);
      CHECK(driver.study.state() == StudyState::kDone);
      std::set<std::string> configs;
      for (const TrialId id : driver.study.trials())
        configs.insert(CanonicalJson(driver.study.trial(id).config));
      CHECK(configs.size() == 6);
      CHECK(driver.study.trials().size() < 100);
      REQUIRE(driver.study.incumbent().has_value());
      CHECK(driver.study.incumbent()->score > 1.4);
    }
  }
  // A program that does not promise to say the same twice is asked again.
  Driver noisy(Spec(StudyText(
      R"({"space": {"x": {"values": [0.1, 0.3]}, "y": 0.5, "c": "a"}, "algorithm": {"type": "random"},
      "trainer": {"type": "command", "train": null, "argv": ["./t"]}, "stop": {"trials": 20}})")));
  noisy.remember = true;
  noisy.Run(1000);
  CHECK(noisy.study.trials().size() == 20);
}

TEST_CASE("the grid visits every config once") {
  Driver driver(Spec(StudyText(
      R"({"space": {"x": {"low": 0.0, "high": 1.0, "step": 0.25}, "y": [0.5, 0.7], "c": ["a", "b", "c"]},
                                   "algorithm": {"type": "grid"}})")));
  driver.Run();
  CHECK(driver.study.state() == StudyState::kDone);
  std::set<std::string> configs;
  for (const TrialId id : driver.study.trials()) configs.insert(CanonicalJson(driver.study.trial(id).config));
  CHECK(configs.size() == 30);
  CHECK(driver.study.trials().size() == 30);
}

TEST_CASE("the plan prices resumed and restarted brackets") {
  const std::vector<PlanRow> rows = Plan(Spec(StudyText(R"({"budget": {"max": 81}})")));
  REQUIRE(rows.size() == 5);
  const std::vector<double> restart = {405, 324, 243, 324, 405};
  for (size_t i = 0; i < 5; ++i) CHECK(rows[i].cost_restart * 81 == Approx(restart[i]));
  CHECK(rows[0].cost_resume * 81 == Approx(81 + 27 * 2 + 9 * 6 + 3 * 18 + 54));
  const std::vector<PlanRow> more = Plan(Spec(StudyText(
      R"({"stop": {"brackets": 2}, "objective": {"seeds": [1, 2]}, "enqueue": [{"config": "default", "to": "max"}]})")));
  REQUIRE(more.size() == 3);
  CHECK(more[0].bracket == -1);
  CHECK(more[0].cost_resume == Approx(2));
  CHECK(more[1].trials == std::vector<int>{9, 3, 1});
}

}  // namespace
}  // namespace rung
