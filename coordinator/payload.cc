#include "coordinator/payload.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "base/file.h"

namespace rung {
namespace {

// Maps in a fixed order: equal messages give equal bytes.
std::string Deterministic(const google::protobuf::Message& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream output(&stream);
    output.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&output);
  }
  return bytes;
}

}  // namespace

std::string PayloadSha256(v1::ReportRequest request) {
  request.clear_worker();
  request.clear_instance();
  request.clear_want_next();
  return Sha256Hex("report" + Deterministic(request));
}

std::string PayloadSha256(v1::ReleaseRequest request) {
  request.clear_worker();
  request.clear_instance();
  return Sha256Hex("release" + Deterministic(request));
}

std::string PayloadSha256(const v1::CreateStudyRequest& request) {
  return Sha256Hex("create" + Deterministic(request));
}

std::string PayloadSha256(const v1::SetStudyStateRequest& request) {
  return Sha256Hex("set_state" + Deterministic(request));
}

}  // namespace rung
