#include "search/replay.h"

#include <catch2/catch.hpp>

#include "search/event_json.h"
#include "tests/search/study_fixture.h"

namespace rung {
namespace {

const std::map<std::string, std::string> kData = {{"train.csv", "0f"}};

ReplayReport Replayed(const Driver& driver, const std::vector<Event>& log) {
  return Replay(driver.study.id(), driver.study.spec(), kData, log);
}

Driver Eventful() {
  Driver driver(Spec(StudyText(R"({"objective": {"seeds": [1, 2]}, "stop": {"brackets": 4, "wall_time": "1h"},
      "trainer": {"test": "test.csv"}, "enqueue": [{"config": "default", "to": "max"}]})")));
  for (int i = 0; !IsFinished(driver.study.state()); ++i) {
    const std::optional<Job> job = driver.Take();
    if (!job.has_value()) break;
    if (i % 11 == 3) {
      driver.Keep(driver.study.OnCheckpoint(*job, driver.attempts.at(*job), .5, driver.Now()));
      driver.Lose(*job, LossReason::kKilled, {.5, 4});
    } else if (i % 17 == 5 && job->kind == AttemptKind::kTrain) {
      driver.Fail(*job, FailureCause::kDiverged, Spent{.25, 2});
    } else if (i == 20) {
      driver.Fail(*job, FailureCause::kBadData);
      driver.Keep(*driver.study.OnRequest(StudyState::kRunning, "mended", driver.Now()));
    } else if (i == 30) {
      driver.Keep(*driver.study.OnRequest(StudyState::kPaused, "lunch", driver.Now()));
      driver.Report(*job, driver.Score(*job));
      driver.Keep(*driver.study.OnRequest(StudyState::kRunning, "", driver.Now()));
    } else if (job->kind == AttemptKind::kEvaluate) {
      driver.Keep(driver.study.OnResult(*job, driver.attempts.at(*job), driver.Values(.7), driver.Now()));
    } else {
      driver.Report(*job, driver.Score(*job));
    }
  }
  return driver;
}

TEST_CASE("an eventful study is derived again without a difference") {
  const Driver driver = Eventful();
  CHECK(driver.study.state() == StudyState::kDone);
  const ReplayReport report = Replayed(driver, driver.log);
  for (const ReplayDifference& difference : report.differences)
    UNSCOPED_INFO(difference.stored + "\n" + difference.derived);
  CHECK(report.differences.empty());
  CHECK(report.events == static_cast<int64_t>(driver.log.size()));
  CHECK(report.proposals > 20);
  CHECK(report.decisions > 100);
}

TEST_CASE(
    "a limit on GPU hours counts attempts without a result, and a log without their share stays as it was") {
  for (const double device_seconds : {9.0, 0.0}) {  // 0: as it was written before they were counted
    Driver driver(Spec(StudyText(R"({"stop": {"gpu_hours": 0.005}})")));  // 18 s at 10 s a result
    driver.Report(*driver.Take(), .5);
    driver.Lose(*driver.Take(), LossReason::kReleased, {0, device_seconds});
    CHECK((driver.study.state() == StudyState::kRunning) == (device_seconds == 0));
    while (!IsFinished(driver.study.state())) driver.Report(*driver.Take(), .6);
    CHECK(Replayed(driver, driver.log).differences.empty());
  }
}

TEST_CASE("a log that ends in the middle has no difference either") {
  const Driver driver = Eventful();
  for (size_t count = 0; count < driver.log.size(); count += 13) {
    std::vector<Event> start(driver.log.begin(), driver.log.begin() + static_cast<std::ptrdiff_t>(count));
    // A decision and what led to it are stored together: cut behind a grant or a checkpoint only.
    while (!start.empty() && start.back().kind != EventKind::kAttemptGranted) start.pop_back();
    CHECK(Replayed(driver, start).differences.empty());
  }
}

TEST_CASE("stop rules and requests to stop are derived again") {
  for (const char* stop : {R"({"target": 0.9})", R"({"gpu_hours": 0.01})", R"({"wall_time": "1h"})"}) {
    INFO(stop);
    Driver driver(Spec(StudyText(absl::StrCat(R"({"stop": )", stop, "}"))));
    driver.Run(5);
    driver.Keep(driver.study.OnActiveTime(absl::Hours(2), driver.Now()));
    driver.Run();
    CHECK(IsFinished(driver.study.state()));
    CHECK(Replayed(driver, driver.log).differences.empty());
  }
  for (const char* reason : {"", "enough"}) {
    Driver driver(Spec(StudyText()));
    const Job job = *driver.Take();
    driver.Keep(*driver.study.OnRequest(StudyState::kStopping, reason, driver.Now()));
    driver.Lose(job, LossReason::kReleased);
    CHECK(driver.study.state() == StudyState::kStopped);
    CHECK(Replayed(driver, driver.log).differences.empty());
  }
}

TEST_CASE("results that another study had are taken from the log") {
  Driver first(Spec(StudyText(R"({"stop": {"brackets": 1}})")));
  first.remember = true;
  first.Run();
  Driver second(Spec(StudyText(R"({"name": "t", "stop": {"brackets": 2}})")), {2});
  second.known = first.known;
  second.Run();
  CHECK(second.study.trial({1}).rungs.at(0).replicates[0].copied_from.has_value());
  CHECK(Replayed(second, second.log).differences.empty());
}

TEST_CASE("what was not decided that way is found and named, and the rest is still checked") {
  const Driver driver = Eventful();
  const auto first = [&](EventKind kind, int64_t after = 0) {
    for (size_t i = 0; i < driver.log.size(); ++i) {
      const Event& event = driver.log[i];
      if (event.kind == kind && event.seq > after && event.origin.source != Origin::Source::kEnqueued)
        return i;
    }
    FAIL("no such event");
    return size_t{0};
  };
  SECTION("another config") {
    std::vector<Event> log = driver.log;
    const size_t at = first(EventKind::kTrialCreated, 10);
    log[at].config["x"] = std::get<double>(log[at].config.at("x")) / 2;
    const ReplayReport report = Replayed(driver, log);
    REQUIRE_FALSE(report.differences.empty());
    CHECK(report.differences[0].seq == log[at].seq);
    CHECK(nlohmann::json::parse(report.differences[0].derived)["config"] == ToJson(driver.log[at].config));
  }
  SECTION("a last bit that another machine rounds differently is no difference") {
    std::vector<Event> log = driver.log;
    const size_t at = first(EventKind::kTrialCreated, 10);
    log[at].config["x"] = std::nextafter(std::get<double>(log[at].config.at("x")), 1);
    const ReplayReport report = Replayed(driver, log);
    // The trial's own creation is alike; whatever follows from its identity is not compared here.
    CHECK((report.differences.empty() || report.differences[0].seq > log[at].seq));
  }
  SECTION("another reason for a verdict") {
    std::vector<Event> log = driver.log;
    size_t at = 0;
    while (log[at].decision_json.empty()) ++at;
    nlohmann::json inputs = nlohmann::json::parse(log[at].decision_json);
    inputs["place"] = 99;
    log[at].decision_json = inputs.dump();
    const ReplayReport report = Replayed(driver, log);
    REQUIRE_FALSE(report.differences.empty());
    CHECK(report.differences[0].seq == log[at].seq);
  }
}

TEST_CASE("events are written as JSON and read again") {
  const Driver driver = Eventful();
  for (const Event& event : driver.log) {
    const nlohmann::json json = ToJson(event);
    const absl::StatusOr<Event> back = EventFromJson(nlohmann::json::parse(json.dump()));
    REQUIRE(back.ok());
    CHECK(ToJson(*back) == json);
  }
  for (const char* text :
       {"null", "[]", "{}", R"({"event": "odd"})",
        R"({"event": "promoted", "seq": 1, "at": 0, "trial": "x", "rung": 0, "replicate": 0})"}) {
    CHECK_FALSE(EventFromJson(nlohmann::json::parse(text)).ok());
  }
  Event odd;
  odd.kind = EventKind::kResult;
  odd.result.values = {{"a", std::numeric_limits<double>::infinity()}, {"b", std::nan("")}};
  const Event back = *EventFromJson(ToJson(odd));
  CHECK(std::isinf(back.result.values.at("a")));
  CHECK(std::isnan(back.result.values.at("b")));
  Event lost;
  lost.kind = EventKind::kAttemptLost;
  lost.spent = {1.7999999999999998, 2.125};
  CHECK(EventFromJson(ToJson(lost))->spent.charged == lost.spent.charged);
  CHECK(EventFromJson(ToJson(lost))->spent.device_seconds == lost.spent.device_seconds);
}

}  // namespace
}  // namespace rung
