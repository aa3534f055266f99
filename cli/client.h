// A person's connection to a coordinator: one method per call of the gRPC service Studies. Thread-safe after
// Connect.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/endpoint.h"
#include "proto/rung/v1/rung.grpc.pb.h"
#include "search/study.h"

namespace rung {

class Client {
 public:
  // Connects, says Hello and checks the protocol. Errors: as ReadToken and Connect; Unavailable (E0691:
  // nobody answers), FailedPrecondition (the versions do not fit; names both).
  static absl::StatusOr<Client> Connect(const StateDir& dir, const Endpoint& endpoint,
                                        absl::Duration deadline);

  const v1::HelloResponse& hello() const { return hello_; }
  const Endpoint& endpoint() const { return endpoint_; }

  // How to reach a coordinator again: from now on a call during which the coordinator ends is asked again,
  // twice at most. Reads and requests with an id bear that.
  using Again = std::function<absl::StatusOr<Client>()>;
  void OnEnd(Again again) { again_ = std::move(again); }

  // Every call has a deadline of 10 s (GetStudy: wait + 10 s) and returns the coordinator's error as it is.
  absl::StatusOr<v1::CreateStudyResponse> CreateStudy(const v1::CreateStudyRequest& request);
  absl::StatusOr<std::vector<v1::StudyStatus>> ListStudies();
  // With after_version > 0 waits up to `wait` until the study's version is larger.
  absl::StatusOr<v1::StudyStatus> GetStudy(int64_t id, int64_t after_version = 0,
                                           absl::Duration wait = absl::ZeroDuration());
  absl::StatusOr<v1::StudyStatus> SetStudyState(int64_t id, const std::string& wanted,
                                                const std::string& request_id);
  // All pages. state empty and rung -1: all.
  absl::StatusOr<std::vector<v1::TrialRow>> ListTrials(int64_t study, const std::string& state = "",
                                                       int rung = -1);
  absl::StatusOr<v1::TrialDetail> GetTrial(int64_t study, int64_t trial);
  absl::StatusOr<std::vector<v1::WorkerRow>> ListWorkers();
  // A study's log after the event `after`, all pages, and the sha256 of its data.
  struct StudyLog {
    std::vector<Event> events;
    std::map<std::string, std::string> data_sha256;
  };
  absl::StatusOr<StudyLog> ListEvents(int64_t study, int64_t after = 0);
  // All learning curves of a trial, ordered by kind, rung, replicate, attempt, step and name.
  absl::StatusOr<std::vector<v1::CurvePoint>> ListPoints(int64_t study, int64_t trial);
  // It checkpoints and leaves; or its attempt is lost at once. Answers what it held.
  absl::StatusOr<v1::EndWorkerResponse> EndWorker(const std::string& worker, bool evict);
  // The one before it is taken for `overlap` more.
  absl::Status RotateToken(const std::string& role, absl::Duration overlap);
  // `path` absolute, or empty for a name in backups/. Waits as long as the copy takes.
  absl::StatusOr<v1::CreateBackupResponse> CreateBackup(const std::string& path);
  absl::Status WorkerGone(const std::string& host, const std::string& slot, int64_t pid);
  absl::Status Shutdown(bool drain);

  // The study a person named. Errors as ChosenStudy.
  absl::StatusOr<v1::StudyStatus> FindStudy(const std::string& text);
  // "17" or "STUDY/17". Errors: as FindStudy; InvalidArgument (E0106: not a trial).
  struct TrialName {
    v1::StudyStatus study;
    int64_t trial = 0;
  };
  absl::StatusOr<TrialName> FindTrial(const std::string& text);

 private:
  Client() = default;
  template <typename Response, typename Request, typename Method>
  absl::StatusOr<Response> Call(Method method, const Request& request, absl::Duration deadline);
  template <typename Response, typename Request, typename Method>
  absl::StatusOr<Response> CallOnce(Method method, const Request& request, absl::Duration deadline);
  bool TakeNewToken();

  StateDir dir_;
  std::string where_;  // endpoint.json
  Endpoint endpoint_;
  std::string token_;
  v1::HelloResponse hello_;
  std::unique_ptr<v1::Coordinator::Stub> coordinator_;
  std::unique_ptr<v1::Studies::Stub> studies_;
  Again again_;
};

// The id of the study a person named: by name or id; the only one if `text` is empty. Errors: NotFound
// (E0380, with a did-you-mean), InvalidArgument (E0104: several studies, none named; or the name of one and
// the id of another).
absl::StatusOr<int64_t> ChosenStudy(const std::string& text, const std::vector<v1::StudyStatus>& studies);

// True for what may be over in a moment: a coordinator that ends, comes up, did not answer in time, or
// another one that holds the directory.
bool MayPass(const absl::Status& status);
inline constexpr int kHeldExitCode = 75;  // of a rungd that found the directory held

// A new id for a request that changes something.
std::string NewRequestId();

}  // namespace rung
