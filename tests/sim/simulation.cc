#include "tests/sim/simulation.h"

#include <functional>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "tests/sim/coordinator_node.h"
#include "tests/sim/worker_node.h"

namespace rung::sim {
namespace {

constexpr absl::Duration kTtl = absl::Seconds(60);
constexpr absl::Duration kCallAgain = absl::Seconds(10);
constexpr int kPeople = -1;  // their link

// Budgets 1, 3, 9 in two replicates; the second has only 3 and 9, and the first's configs: what the first has
// trained is copied where its checkpoint still exists.
constexpr char kStudy[] =
    R"({"name": "%s", "trainer": {"type": "command", "argv": ["true"], "deterministic": true},
  "objective": {"metric": "score", "goal": "maximize", "seeds": %s},
  "budget": {"unit": "epochs", "min": %d, "max": 9, "eta": 3}, "algorithm": {"type": "%s"},
  "space": {"x": {"low": 0, "high": 1}}, "stop": {"brackets": 2}, "seed": %d,
  "enqueue": [{"config": {"x": 0.5}, "to": "max"}]})";

std::vector<std::string> SmallStudies(World& world) {
  const int64_t seed = world.rng.Below(1000);
  const char* seeds = world.rng.Uniform() < 0.3 ? "[1, 2]" : "[1]";
  return {
      absl::StrFormat(kStudy, "first", seeds, 1, "hyperband", seed),
      absl::StrFormat(kStudy, "second", seeds, 3, world.rng.Uniform() < 0.5 ? "hyperband" : "bohb", seed)};
}

// Who creates the studies and changes their mind about them.
class People {
 public:
  People(World& world, Network& network, CoordinatorNode& coordinator)
      : world_(world), network_(network), coordinator_(coordinator) {}

  void Create(const std::string& study, std::function<void()> then) {
    v1::CreateStudyRequest request;
    request.set_request_id(NextId());
    request.set_canonical_json(study);
    (*request.mutable_data_sha256())["/train.py"] = "9f86";  // without any no result is ever copied
    Ask(request, std::move(then));
  }
  void Want(const std::string& state, int64_t study, std::function<void()> then) {
    v1::SetStudyStateRequest request;
    request.set_request_id(NextId());
    request.set_wanted(state);
    request.mutable_study()->set_id(study);
    Ask(request, std::move(then));
  }
  // A worker is told to leave, or evicted. Repeated late, it may be the next process of its slot.
  void EndWorkers(int workers) {
    world_.schedule.In(world_.After(absl::Minutes(20)), [this, workers] {
      if (world_.healed) return;
      v1::EndWorkerRequest request;
      request.set_worker(absl::StrFormat("host%d-0", world_.rng.Below(workers)));
      request.set_evict(world_.rng.Uniform() < 0.5);
      Ask(request, [] {});
      EndWorkers(workers);
    });
  }
  // A study is paused now and then, and sometimes stopped.
  void ChangeMinds(int64_t studies) {
    world_.schedule.In(world_.After(absl::Minutes(20)), [this, studies] {
      if (world_.healed) return;
      const int64_t study = 1 + world_.rng.Below(studies);
      const double dice = world_.rng.Uniform();
      Want(dice < 0.08 ? "stopping" : dice < 0.55 ? "paused" : "running", study, [] {});
      ChangeMinds(studies);
    });
  }

 private:
  std::string NextId() { return absl::StrFormat("people/%d", ++requests_); }

  // Until there is an answer, whatever it is.
  template <typename Request>
  void Ask(const Request& request, std::function<void()> then) {
    auto done = std::make_shared<bool>(false);  // owners: the repetitions and the answers under way
    Repeat(request, done, std::move(then));
  }
  template <typename Request>
  void Repeat(const Request& request, const std::shared_ptr<bool>& done, const std::function<void()>& then) {
    if (*done) return;
    network_.Send(kPeople, [=, this] {
      coordinator_.Receive(request, [=, this](const absl::Status&, const std::string&) {
        network_.Send(kPeople, [=] {
          if (std::exchange(*done, true)) return;
          then();
        });
      });
    });
    world_.schedule.In(kCallAgain, [=, this] { Repeat(request, done, then); });
  }

  World& world_;
  Network& network_;
  CoordinatorNode& coordinator_;
  int64_t requests_ = 0;
};

class Run {
 public:
  explicit Run(const Setup& setup)
      : setup_(setup),
        world_(setup.seed, setup.faults),
        ledger_(world_.disk),
        network_(world_),
        coordinator_(
            world_, ledger_, kTtl, [this](const Push& push) { Pushed(push); },
            [this](const WorkerRecord& worker) { return ProvedGone(worker); }),
        people_(world_, network_, coordinator_) {
    world_.mutation = setup.mutation;
    world_.group = setup.group;
    world_.trace = setup.trace;
  }

  Outcome ToTheEnd() {
    const std::vector<std::string> studies = setup_.studies.empty() ? SmallStudies(world_) : setup_.studies;
    CreateFrom(studies, 0);
    for (int i = 0; i < setup_.workers; ++i) {
      WorkerNode::Options options;
      options.number = i;
      options.bad = i < setup_.bad_hosts;
      options.local = i % 2 == 0;
      options.unit = setup_.unit;
      options.checkpoints = setup_.checkpoints;
      workers_.push_back(std::make_unique<WorkerNode>(world_, network_, coordinator_, ledger_, options));
    }
    for (const auto& worker : workers_) {
      world_.schedule.In(absl::Seconds(60 * world_.rng.Uniform()), [&worker] { worker->StartProcess(); });
    }
    CutLinks();
    JumpClocks();
    const absl::Duration begin = world_.schedule.now();
    while (!ledger_.breach().has_value() && world_.schedule.Step()) {
      const absl::Duration time = world_.schedule.now() - begin;
      if (time > setup_.stop_at) break;
      if (!world_.healed && time > setup_.faulty) Heal(studies.size());
      if (world_.healed && created_ == studies.size() && coordinator_.AllFinished()) {
        coordinator_.Export();
        break;
      }
      if (time > setup_.faulty + setup_.patience) ledger_.Breach("no end: " + coordinator_.Progress());
    }
    Outcome outcome{std::nullopt,          world_.schedule.now() - begin, coordinator_.steps(),
                    coordinator_.events(), coordinator_.restarts(),       coordinator_.power_cuts(),
                    ledger_.lost()};
    if (ledger_.breach().has_value())
      outcome.breach = absl::StrFormat("after %s: %s", absl::FormatDuration(outcome.time), *ledger_.breach());
    return outcome;
  }

 private:
  void CreateFrom(const std::vector<std::string>& studies, size_t index) {
    if (index == studies.size()) {
      if (!setup_.people) return;
      people_.ChangeMinds(static_cast<int64_t>(studies.size()));
      people_.EndWorkers(setup_.workers);
      return;
    }
    people_.Create(studies[index], [=, this] {
      ++created_;
      const double minutes = world_.healed ? 0 : 30 * world_.rng.Uniform();
      world_.schedule.In(absl::Minutes(minutes), [=, this] { CreateFrom(studies, index + 1); });
    });
  }

  void CutLinks() {
    world_.schedule.In(world_.After(setup_.faults.cut_every), [this] {
      if (world_.healed) return;
      const bool all = world_.rng.Uniform() < 0.2;
      const absl::Duration time = absl::Minutes(8) * world_.rng.Uniform();
      const auto link = static_cast<int>(world_.rng.Below(setup_.workers));
      for (int i = kPeople; i < setup_.workers; ++i) {
        if (all || i == link) network_.Cut(i, time);
      }
      CutLinks();
    });
  }

  void JumpClocks() {
    world_.schedule.In(world_.After(absl::Hours(1)), [this] {
      if (world_.healed) return;
      world_.wall_jump = absl::Hours(48) * (world_.rng.Uniform() - 0.5);
      JumpClocks();
    });
  }

  void Heal(size_t studies) {
    world_.healed = true;
    for (size_t i = 1; i <= studies; ++i) people_.Want("running", static_cast<int64_t>(i), [] {});
    // One that is created later is running anyway; one that heard an old "paused" late hears this again.
    world_.schedule.In(absl::Minutes(5), [this, studies] {
      for (size_t i = 1; i <= studies; ++i) people_.Want("running", static_cast<int64_t>(i), [] {});
    });
  }

  void Pushed(const Push& push) {
    for (const auto& worker : workers_) {
      if (worker->name() != push.worker) continue;
      network_.Send(worker->options().number,
                    [&worker, response = push.response] { worker->OnPush(response); });
    }
  }

  bool ProvedGone(const WorkerRecord& record) const {
    for (const auto& worker : workers_) {
      if (worker->name() == record.name) return worker->options().local && !worker->Runs(record.instance);
    }
    return false;
  }

  const Setup setup_;
  World world_;
  Ledger ledger_;
  Network network_;
  CoordinatorNode coordinator_;
  People people_;
  std::vector<std::unique_ptr<WorkerNode>> workers_;
  size_t created_ = 0;
};

}  // namespace

Outcome Simulate(const Setup& setup) {
  return Run(setup).ToTheEnd();
}

}  // namespace rung::sim
