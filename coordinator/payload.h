// The fingerprint of a request, for "the same id and payload gets the stored answer". Thread-safe.
#pragma once

#include <string>

#include "proto/rung/v1/rung.pb.h"

namespace rung {

// sha256 of what the request says. Who brings it does not count: a new process of a worker may repeat what
// the old one had spooled.
std::string PayloadSha256(v1::ReportRequest request);
std::string PayloadSha256(v1::ReleaseRequest request);
std::string PayloadSha256(const v1::CreateStudyRequest& request);
std::string PayloadSha256(const v1::SetStudyStateRequest& request);

}  // namespace rung
