#include "cli/client.h"

#include <openssl/rand.h>

#include <array>
#include <chrono>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "proto/version.h"
#include "proto/wire.h"
#include "search/event_json.h"

namespace rung {
namespace {

constexpr absl::Duration kDeadline = absl::Seconds(10);
constexpr absl::Duration kBackupDeadline = absl::Hours(1);
constexpr int kRepeats = 2;
constexpr int kPage = 1000;  // trials per call: well below the message limit of 1 MiB for usual configs

void SetDeadline(grpc::ClientContext& context, absl::Duration deadline) {
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(deadline));
}

absl::Status Silent(const std::string& where, const Endpoint& endpoint) {
  return MakeError(absl::StatusCode::kUnavailable,
                   {"E0691", "the coordinator does not answer", where,
                    absl::StrFormat("process %d on %s", endpoint.pid, endpoint.host),
                    "Try again in a moment; look into logs/rungd.log in the state directory"});
}

std::vector<std::string> NamesOf(const std::vector<v1::StudyStatus>& studies) {
  std::vector<std::string> names;
  for (const auto& study : studies) names.push_back(study.name());
  return names;
}

std::string Listed(const std::vector<std::string>& names) {
  constexpr size_t kLongest = 200;
  return Shortened(absl::StrJoin(names, ", "), kLongest);
}

absl::Status NoSuchStudy(const std::string& text, const std::vector<v1::StudyStatus>& studies) {
  const std::vector<std::string> names = NamesOf(studies);
  const std::string close = ClosestName(text, names);
  std::string mend = names.empty() ? "Make one with `rung study create FILE` or `rung run FILE`"
                                   : "There are: " + Listed(names);
  if (!close.empty()) mend = "Did you mean `" + close + "`? " + mend;
  return MakeError(absl::StatusCode::kNotFound, {"E0380",
                                                 text.empty() ? "there is no study in this state directory"
                                                              : "there is no study `" + text + "`",
                                                 "", text, mend});
}

}  // namespace

template <typename Response, typename Request, typename Method>
absl::StatusOr<Response> Client::CallOnce(Method method, const Request& request, absl::Duration deadline) {
  grpc::ClientContext context;
  SetDeadline(context, deadline);
  Authorize(context, token_);
  Response response;
  const grpc::Status status = (*studies_.*method)(&context, request, &response);
  if (status.ok()) return response;
  if (status.error_code() == grpc::StatusCode::UNAUTHENTICATED && TakeNewToken())
    return CallOnce<Response>(method, request, deadline);
  const bool silent = status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                      status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED;
  if (silent && status.error_details().empty()) return Silent(where_, endpoint_);
  return FromWire(status);
}

// Tokens are rotated while `rung run` lives for days.
bool Client::TakeNewToken() {
  const absl::StatusOr<std::string> token = ReadToken(dir_, "admin");
  return token.ok() && std::exchange(token_, *token) != *token;
}

template <typename Response, typename Request, typename Method>
absl::StatusOr<Response> Client::Call(Method method, const Request& request, absl::Duration deadline) {
  absl::StatusOr<Response> response = CallOnce<Response>(method, request, deadline);
  for (int i = 0; i < kRepeats && again_ && !response.ok() && MayPass(response.status()); ++i) {
    const Again again = again_;  // it is part of what is replaced
    RUNG_ASSIGN_OR_RETURN(*this, again());
    response = CallOnce<Response>(method, request, deadline);
  }
  return response;
}

absl::StatusOr<Client> Client::Connect(const StateDir& dir, const Endpoint& endpoint,
                                       absl::Duration deadline) {
  Client client;
  client.dir_ = dir;
  client.endpoint_ = endpoint;
  client.where_ = dir.endpoint();
  RUNG_ASSIGN_OR_RETURN(client.token_, ReadToken(dir, "admin"));
  RUNG_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel, rung::Connect(dir, endpoint));
  client.coordinator_ = v1::Coordinator::NewStub(channel);
  client.studies_ = v1::Studies::NewStub(channel);
  grpc::ClientContext context;
  SetDeadline(context, deadline);
  Authorize(context, client.token_);
  v1::HelloRequest request;
  request.set_protocol_min(kProtocolMin);
  request.set_protocol_max(kProtocolMax);
  request.set_build(absl::StrFormat("rung %s", kVersion));
  const grpc::Status status = client.coordinator_->Hello(&context, request, &client.hello_);
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE ||
      status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    return Silent(client.where_, endpoint);
  }
  if (!status.ok()) return FromWire(status);
  return client;
}

absl::StatusOr<v1::CreateStudyResponse> Client::CreateStudy(const v1::CreateStudyRequest& request) {
  return Call<v1::CreateStudyResponse>(&v1::Studies::Stub::CreateStudy, request, kDeadline);
}

absl::StatusOr<std::vector<v1::StudyStatus>> Client::ListStudies() {
  RUNG_ASSIGN_OR_RETURN(
      const auto response,
      Call<v1::ListStudiesResponse>(&v1::Studies::Stub::ListStudies, v1::ListStudiesRequest(), kDeadline));
  return std::vector<v1::StudyStatus>(response.studies().begin(), response.studies().end());
}

absl::StatusOr<v1::StudyStatus> Client::GetStudy(int64_t id, int64_t after_version, absl::Duration wait) {
  v1::GetStudyRequest request;
  request.mutable_study()->set_id(id);
  request.set_after_version(after_version);
  request.set_wait_seconds(absl::ToDoubleSeconds(wait));
  return Call<v1::StudyStatus>(&v1::Studies::Stub::GetStudy, request, wait + kDeadline);
}

absl::StatusOr<v1::StudyStatus> Client::SetStudyState(int64_t id, const std::string& wanted,
                                                      const std::string& request_id) {
  v1::SetStudyStateRequest request;
  request.mutable_study()->set_id(id);
  request.set_wanted(wanted);
  request.set_request_id(request_id);
  return Call<v1::StudyStatus>(&v1::Studies::Stub::SetStudyState, request, kDeadline);
}

absl::StatusOr<std::vector<v1::TrialRow>> Client::ListTrials(int64_t study, const std::string& state,
                                                             int rung) {
  std::vector<v1::TrialRow> trials;
  v1::ListTrialsRequest request;
  request.mutable_study()->set_id(study);
  request.set_state(state);
  request.set_rung(rung);
  request.set_limit(kPage);
  while (true) {
    RUNG_ASSIGN_OR_RETURN(const auto page,
                          Call<v1::ListTrialsResponse>(&v1::Studies::Stub::ListTrials, request, kDeadline));
    trials.insert(trials.end(), page.trials().begin(), page.trials().end());
    if (!page.more() || page.trials().empty()) return trials;
    request.set_after_trial(trials.back().trial());
  }
}

absl::StatusOr<v1::TrialDetail> Client::GetTrial(int64_t study, int64_t trial) {
  v1::GetTrialRequest request;
  request.mutable_study()->set_id(study);
  request.set_trial(trial);
  return Call<v1::TrialDetail>(&v1::Studies::Stub::GetTrial, request, kDeadline);
}

absl::StatusOr<std::vector<v1::WorkerRow>> Client::ListWorkers() {
  RUNG_ASSIGN_OR_RETURN(
      const auto response,
      Call<v1::ListWorkersResponse>(&v1::Studies::Stub::ListWorkers, v1::ListWorkersRequest(), kDeadline));
  return std::vector<v1::WorkerRow>(response.workers().begin(), response.workers().end());
}

absl::StatusOr<Client::StudyLog> Client::ListEvents(int64_t study, int64_t after) {
  StudyLog log;
  v1::ListEventsRequest request;
  request.mutable_study()->set_id(study);
  request.set_after_seq(after);
  while (true) {
    RUNG_ASSIGN_OR_RETURN(const auto page,
                          Call<v1::ListEventsResponse>(&v1::Studies::Stub::ListEvents, request, kDeadline));
    log.data_sha256 = {page.data_sha256().begin(), page.data_sha256().end()};
    for (const std::string& text : page.events()) {
      RUNG_ASSIGN_OR_RETURN(Event event, EventFromJson(nlohmann::json::parse(text, nullptr, false)));
      log.events.push_back(std::move(event));
    }
    if (!page.more() || page.events().empty()) return log;
    request.set_after_seq(log.events.back().seq);
  }
}

absl::StatusOr<std::vector<v1::CurvePoint>> Client::ListPoints(int64_t study, int64_t trial) {
  std::vector<v1::CurvePoint> points;
  v1::ListPointsRequest request;
  request.mutable_study()->set_id(study);
  request.set_trial(trial);
  while (true) {
    RUNG_ASSIGN_OR_RETURN(const auto page,
                          Call<v1::ListPointsResponse>(&v1::Studies::Stub::ListPoints, request, kDeadline));
    points.insert(points.end(), page.points().begin(), page.points().end());
    if (!page.more() || page.points().empty()) return points;
    *request.mutable_after() = points.back();
  }
}

absl::Status Client::RotateToken(const std::string& role, absl::Duration overlap) {
  v1::RotateTokenRequest request;
  request.set_role(role);
  request.set_overlap_seconds(absl::ToDoubleSeconds(overlap));
  return CallOnce<v1::RotateTokenResponse>(&v1::Studies::Stub::RotateToken, request, kDeadline).status();
}

absl::StatusOr<v1::EndWorkerResponse> Client::EndWorker(const std::string& worker, bool evict) {
  v1::EndWorkerRequest request;
  request.set_worker(worker);
  request.set_evict(evict);
  return Call<v1::EndWorkerResponse>(&v1::Studies::Stub::EndWorker, request, kDeadline);
}

absl::StatusOr<v1::CreateBackupResponse> Client::CreateBackup(const std::string& path) {
  v1::CreateBackupRequest request;
  request.set_path(path);
  return CallOnce<v1::CreateBackupResponse>(&v1::Studies::Stub::CreateBackup, request, kBackupDeadline);
}

absl::Status Client::WorkerGone(const std::string& host, const std::string& slot, int64_t pid) {
  v1::WorkerGoneRequest request;
  request.set_host(host);
  request.set_slot(slot);
  request.set_pid(pid);
  return Call<v1::WorkerGoneResponse>(&v1::Studies::Stub::WorkerGone, request, kDeadline).status();
}

absl::Status Client::Shutdown(bool drain) {
  v1::ShutdownRequest request;
  request.set_drain(drain);
  return CallOnce<v1::ShutdownResponse>(&v1::Studies::Stub::Shutdown, request, kDeadline).status();
}

absl::StatusOr<int64_t> ChosenStudy(const std::string& text, const std::vector<v1::StudyStatus>& studies) {
  if (text.empty() && studies.size() == 1) return studies.front().id();
  if (text.empty() && studies.size() > 1) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {"E0104", "there are several studies, and none is named", "command line", "",
                      "Name one of them: " + Listed(NamesOf(studies))});
  }
  for (const auto& study : studies) {
    if (study.name() == text) return study.id();
  }
  int64_t id = 0;
  const bool number = absl::SimpleAtoi(text, &id);
  for (const auto& study : studies) {
    if (number && study.id() == id) return id;
  }
  return NoSuchStudy(text, studies);
}

absl::StatusOr<v1::StudyStatus> Client::FindStudy(const std::string& text) {
  RUNG_ASSIGN_OR_RETURN(const std::vector<v1::StudyStatus> studies, ListStudies());
  RUNG_ASSIGN_OR_RETURN(const int64_t id, ChosenStudy(text, studies));
  return GetStudy(id);
}

absl::StatusOr<Client::TrialName> Client::FindTrial(const std::string& text) {
  const size_t slash = text.rfind('/');
  TrialName name;
  if (!absl::SimpleAtoi(slash == std::string::npos ? text : text.substr(slash + 1), &name.trial) ||
      name.trial < 1) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {"E0106", "`" + text + "` is not a trial", "command line", text,
                      "Type its number, or STUDY/NUMBER as in `gnad10/17`"});
  }
  RUNG_ASSIGN_OR_RETURN(name.study, FindStudy(slash == std::string::npos ? "" : text.substr(0, slash)));
  return name;
}

bool MayPass(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kDeadlineExceeded: {
      const auto detail = GetErrorDetail(status);
      return !detail.has_value() || detail->code == "E0691" || detail->code == "E0643" ||
             detail->code == "E0642";
    }
    default:
      return ExitCode(status) == kHeldExitCode;
  }
}

std::string NewRequestId() {
  std::array<unsigned char, 16> bytes{};
  RAND_bytes(bytes.data(), static_cast<int>(bytes.size()));
  std::string id;
  for (const unsigned char byte : bytes) id += absl::StrFormat("%02x", byte);
  return id;
}

}  // namespace rung
