// The clients of a coordinator that dies again and again: a few workers that train in no time, their spools,
// and a person. They register, lease, tell of checkpoints, report, release, die and come back in an order
// that a seed chooses; between them and the coordinator some calls are doubled and some answers get lost.
// What was acknowledged is noted and compared with what the store holds: by the simulator's ledger, which
// knows all invariants of studies. Not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/core.h"
#include "search/rng.h"
#include "storage/study_store.h"
#include "tests/sim/ledger.h"

namespace rung::soak {

struct Figures {
  int64_t calls = 0;    // answered or not, doubled ones too
  int64_t results = 0;  // acknowledged
  int64_t refused = 0;  // reports of attempts that had lost their lease
  int64_t answers_lost = 0, doubled = 0;
};

class Crew {
 public:
  using Body = decltype(Command::body);
  struct Call {
    int64_t number = 0;
    Body body;
  };

  Crew(uint64_t seed, int workers);

  // What one of the clients that wait for no answer says; nullopt: all wait, or have nothing to say.
  std::optional<Call> Next();
  // UNAVAILABLE says nothing about the call: it is said again.
  void Answered(int64_t number, const absl::Status& status, const std::string& bytes);
  // The coordinator is gone: what was not answered is said again, to the next one.
  void Abandon();
  // Whether the store has all that was acknowledged, once and unchanged, and a coordinator would go on from
  // it. The first breach stays.
  void Check(const CoreOptions& options, StudyStore& store);
  void Breach(const std::string& what) { ledger_.Breach(what); }

  const std::optional<std::string>& breach() const { return ledger_.breach(); }
  bool finished() const { return finished_; }  // somebody was told so
  const Figures& figures() const { return figures_; }

 private:
  enum class Role { kPerson, kWorker, kSpool };
  struct Client {
    Role role = Role::kWorker;
    std::string host;
    int processes = 0;
    std::string instance;
    bool registered = false;
    std::optional<v1::Attempt> attempt;
    double reached = 0;  // budget of its newest checkpoint, or where it began
    double saved = 0;    // of this attempt's own, 0: none
    bool told_to_stop = false;
    int64_t requests = 0;
    std::optional<Body> said;  // not answered yet
    int64_t awaits = 0;        // the number of that call, 0: it is not under way
  };
  struct UnderWay {
    size_t client = 0;
    Body body;
  };
  struct Reported {
    v1::ReportRequest request;
    absl::Status status;
    std::string decision;
  };

  std::optional<Body> Words(Client& client);
  std::optional<Body> PersonsWords();
  Body WorkersWords(Client& worker);
  v1::RegisterRequest Register(Client& worker);
  v1::ProgressRequest Progress(Client& worker);
  v1::ReportRequest Report(Client& worker);
  v1::ReleaseRequest Release(Client& worker);
  void Spool(Client& worker);
  void Begin(Client& worker, const v1::Attempt& attempt);
  void Note(const Body& body, const absl::Status& status, const std::string& bytes);
  void NoteCheckpoint(const v1::JobKey& key, double budget);
  void Take(Client& client, const Body& said, const absl::Status& status, const std::string& bytes);
  void TakeLease(Client& worker, const absl::Status& status, const v1::LeaseResponse& response);
  std::string NextId(Client& client);

  Rng rng_;
  const std::string study_;
  const sim::Disk disk_{};  // of the ledger, which does not look into it here
  sim::Ledger ledger_;
  std::vector<Client> clients_;
  std::deque<v1::ReportRequest> spool_;  // of processes that died, stale ones too
  std::map<int64_t, UnderWay> under_way_;
  std::optional<UnderWay> twice_;  // the call that is said a second time at once
  int64_t numbers_ = 0;
  bool created_ = false, paused_ = false, finished_ = false;
  std::map<std::pair<StudyId, Job>, double> checkpoints_;  // acknowledged, by job
  std::vector<Reported> reported_;                         // since the last Check
  StudyId last_study_;
  int64_t last_seq_ = 0;
  Figures figures_;
};

}  // namespace rung::soak
