// Between the wire and the domain: the only file that names both protobuf and domain types. Thread-safe:
// functions only.
#pragma once

#include <string>

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/rung/v1/rung.pb.h"
#include "search/study.h"
#include "search/trial.h"

namespace rung {

inline constexpr int kProtocolMin = 1;
inline constexpr int kProtocolMax = 1;

// Status codes map one to one; ErrorDetail travels in the status' details.
grpc::Status ToWire(const absl::Status& status);
absl::Status FromWire(const grpc::Status& status);

v1::AttemptKind ToWire(AttemptKind kind);
AttemptKind FromWire(v1::AttemptKind kind);  // unspecified: a training
v1::JobKey ToWire(const AttemptKey& key);
AttemptKey FromWire(const v1::JobKey& key);

v1::Metric ToWire(const std::string& name, double value);  // non-finite: value 0 and its state
double FromWire(const v1::Metric& metric);

v1::Result ToWire(const ResultValues& result);
ResultValues FromWire(const v1::Result& result);

v1::FailureCause ToWire(FailureCause cause);
FailureCause FromWire(v1::FailureCause cause);
v1::LossReason ToWire(LossReason reason);
LossReason FromWire(v1::LossReason reason);

v1::TrialRow ToWire(const Study& study, const TrialView& trial);
v1::StudyStatus ToWire(
    const Study& study);  // fields the study knows; times, inputs and active seconds are the caller's

}  // namespace rung
