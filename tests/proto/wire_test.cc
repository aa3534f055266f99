#include "proto/wire.h"

#include <cmath>
#include <limits>

#include <catch2/catch.hpp>

#include "base/status.h"
#include "tests/search/study_fixture.h"

namespace rung {
namespace {

TEST_CASE("a call that a server cut off at its end is one to repeat") {
  CHECK(absl::IsUnavailable(FromWire(grpc::Status(grpc::StatusCode::CANCELLED, "CANCELLED"))));
}

TEST_CASE("an error crosses the wire with its code, place and mend") {
  const absl::Status sent = MakeError(absl::StatusCode::kAborted, {"E0650", "a newer attempt holds the job",
                                                                   "3/17", "attempt 2", "Stop this attempt"});
  const absl::Status received = FromWire(ToWire(sent));
  CHECK(received.code() == absl::StatusCode::kAborted);
  CHECK(received.message() == sent.message());
  const auto detail = GetErrorDetail(received);
  REQUIRE(detail.has_value());
  CHECK(detail->code == "E0650");
  CHECK(detail->where == "3/17");
  CHECK(detail->value == "attempt 2");
  CHECK(detail->mend == "Stop this attempt");
  CHECK(FromWire(ToWire(absl::OkStatus())).ok());
}

TEST_CASE("numbers that are not finite cross as their state, never as NaN") {
  for (const double value :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
        -std::numeric_limits<double>::infinity(), -0.0, 0.1, 5e-324}) {
    const v1::Metric metric = ToWire("train/loss", value);
    CHECK(std::isfinite(metric.value()));
    CHECK(metric.name() == "train/loss");
    const double back = FromWire(metric);
    if (std::isnan(value)) {
      CHECK(std::isnan(back));
    } else {
      CHECK(back == value);
    }
  }
}

TEST_CASE("keys, results, causes and reasons come back as they went") {
  const AttemptKey key{{3}, {{17}, 2, 1, AttemptKind::kEvaluate}, 4};
  CHECK(FromWire(ToWire(key)) == key);
  const ResultValues result{
      {{"validation/accuracy", 0.9}, {"train/loss", INFINITY}}, {{"confusion_matrix", "/o/c.json"}}, 2.5, 11};
  const ResultValues back = FromWire(ToWire(result));
  CHECK(back.values == result.values);
  CHECK(back.outputs == result.outputs);
  CHECK(back.charged == 2.5);
  CHECK(back.device_seconds == 11);
  for (const FailureCause cause :
       {FailureCause::kOutOfMemory, FailureCause::kDiverged, FailureCause::kBadData, FailureCause::kCrash,
        FailureCause::kInfrastructure}) {
    CHECK(FromWire(ToWire(cause)) == cause);
  }
  for (const LossReason reason : {LossReason::kReleased, LossReason::kLost, LossReason::kKilled}) {
    CHECK(FromWire(ToWire(reason)) == reason);
  }
}

TEST_CASE("a copied result says under whose numbers its checkpoint lies") {
  Driver driver(Spec(StudyText()));
  driver.Take();
  TrialView trial = driver.study.trial({1});
  ReplicateView& replicate = trial.rungs.at(0).replicates.at(0);
  replicate.result = driver.Values(.5);
  replicate.copied_from = CopiedFrom{{7}, Job{{3}, 2, 1}};
  replicate.checkpoint_attempt = 4;
  const v1::ReplicateResult row = ToWire(driver.study, trial).rungs(0).replicates(0);
  CHECK(row.copied_from() == "7/3");
  CHECK(row.copied_rung() == 2);
  CHECK(row.copied_replicate() == 1);
  CHECK(row.checkpoint_attempt() == 4);
}

}  // namespace
}  // namespace rung
