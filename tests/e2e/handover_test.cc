// Questions at the moments when one coordinator follows another: whoever asks is answered.
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include <catch2/catch.hpp>

#include "base/file.h"
#include "tests/e2e/process.h"
#include "tests/e2e/site.h"

namespace rung {
namespace {

constexpr double kLong = 240;  // far more than a slow machine needs

const std::string kRung = std::string(RUNG_BIN_DIR) + "/rung";

// Asks the same question again and again, from its own thread, each time in a new process.
class Asker {
 public:
  Asker(const Site& site, std::vector<std::string> question) : question_(std::move(question)) {
    std::vector<std::string> argv = {kRung};
    argv.insert(argv.end(), question_.begin(), question_.end());
    thread_ = std::thread([this, argv, root = site.root()] {
      while (!stop_) {
        const Finished finished = RunProgram(argv, root, kLong);
        const std::lock_guard<std::mutex> guard(mutex_);
        ++asked_;
        if (finished.code != 0)
          refusals_ += "exit " + std::to_string(finished.code) + ": " + finished.err + finished.out + "\n";
      }
    });
  }
  ~Asker() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  Asker(const Asker&) = delete;
  Asker& operator=(const Asker&) = delete;

  int asked() const {
    const std::lock_guard<std::mutex> guard(mutex_);
    return asked_;
  }
  // What was not answered, after the last question.
  std::string End() {
    stop_ = true;
    thread_.join();
    return refusals_;
  }

 private:
  const std::vector<std::string> question_;
  std::atomic<bool> stop_{false};
  mutable std::mutex mutex_;
  int asked_ = 0;         // guarded by mutex_
  std::string refusals_;  // guarded by mutex_ until the thread has ended
  std::thread thread_;
};

void Create(const Site& site, const std::string& name) {
  const Finished made = RunProgram({"/bin/sh", "-c",
                                    "sed 's/\"e2e\"/\"" + name + "\"/' study.json > " + name +
                                        ".json && exec " + kRung + " study create " + name + ".json"},
                                   site.root(), kLong);
  INFO(made.err);
  REQUIRE(made.code == 0);
}

std::unique_ptr<Process> Serve(const Site& site) {
  Process::Options options;
  options.argv = {kRung, "serve", "--dir", site.state_dir()};
  options.directory = site.root();
  options.output_path = site.root() + "/output";
  return std::make_unique<Process>(options);
}

pid_t CoordinatorPid(const Site& site) {
  const auto text = ReadFile(site.state_dir() + "/endpoint.json", 1 << 16);
  const auto json = nlohmann::json::parse(text.value_or(""), nullptr, false);
  return json.is_object() ? json.value("pid", 0) : 0;
}

TEST_CASE("every question is answered while coordinators come, end and follow one another") {
  const Site site(0.01);
  Create(site, "e2e");
  Asker studies(site, {"study", "list"});
  Asker trials(site, {"trial", "list", "e2e", "-o", "json"});
  Asker shown(site, {"study", "show", "e2e", "-o", "json"});
  // Commands that write replace a coordinator that was started for reading.
  for (const char* name : {"second", "third", "fourth"}) Create(site, name);
  // `rung run`, ended in the middle and killed in the middle.
  for (const int signal : {SIGTERM, SIGTERM, SIGKILL}) {
    const auto run = site.Run(1);
    const size_t before = site.Trace().size();
    REQUIRE(WaitFor(kLong, [&] { return site.Trace().size() > before; }));
    run->Kill(signal);
    const std::optional<int> code = run->Wait(kLong);
    INFO(site.Output());
    REQUIRE(code.has_value());
    CHECK(*code == (signal == SIGTERM ? 130 : 128 + SIGKILL));
  }
  // A coordinator that somebody starts and ends by hand.
  for (int i = 0; i < 2; ++i) {
    std::unique_ptr<Process> serve;
    REQUIRE(WaitFor(kLong, [&] {
      // The one of the killed run may still be ending: then the directory is refused (75), rightly.
      if (serve == nullptr || serve->Wait(0).has_value()) serve = Serve(site);
      return CoordinatorPid(site) == serve->pid();
    }));
    serve->Kill(SIGTERM);
    const std::optional<int> code = serve->Wait(kLong);
    REQUIRE(code.has_value());
    CHECK(*code == 0);
  }
  for (Asker* asker : {&studies, &trials, &shown}) {
    const int before = asker->asked();
    REQUIRE(WaitFor(kLong, [&] { return asker->asked() > before; }));
    CHECK(asker->End() == "");
  }
}

// What `rung run` has started: programs of this name below it.
std::vector<pid_t> Find(const Process& run, const std::string& program) {
  std::vector<pid_t> found;
  for (const pid_t pid : Descendants(run.pid())) {
    if (ProgramOf(pid) == program) found.push_back(pid);
  }
  return found;
}

TEST_CASE("a run that only watches another's coordinator goes on with the study when that ends") {
  const Site site(0.05);
  auto first = site.Run(1);
  REQUIRE(WaitFor(kLong, [&] { return !site.Trace().empty(); }));
  Process::Options options;
  options.argv = {kRung, "run", "study.json"};  // no --workers: the first one's are enough
  options.directory = site.root();
  options.output_path = site.root() + "/second";
  Process second(options);
  const auto said = [&](const std::string& text) {
    return RunProgram({"/bin/cat", options.output_path}, site.root(), kLong).out.find(text) !=
           std::string::npos;
  };
  REQUIRE(WaitFor(kLong, [&] { return said("attached to the coordinator"); }));
  CHECK(Find(second, "rung-worker").empty());
  first = nullptr;  // SIGKILL to it and all below
  REQUIRE(WaitFor(kLong, [&] { return !Find(second, "rung-worker").empty(); }));
  const std::optional<int> code = second.Wait(kLong);
  INFO(RunProgram({"/bin/cat", options.output_path}, site.root(), kLong).out);
  REQUIRE(code.has_value());
  CHECK(*code == 0);
  CHECK(site.Ask({"study", "show"})["state"] == "done");
}

// A question right after the coordinator's death is answered by one that only reads, and shows the dead one's
// leases: nobody may take it for one that works.
TEST_CASE("a run goes on although a question started a coordinator that only reads") {
  const Site site(0.02);
  const auto run = site.Run(1);
  REQUIRE(WaitFor(kLong, [&] { return !site.Trace().empty(); }));
  const std::vector<pid_t> coordinators = Find(*run, "rungd");
  REQUIRE(coordinators.size() == 1);
  run->Kill(SIGSTOP);  // so that the question comes first
  REQUIRE(kill(coordinators.front(), SIGKILL) == 0);
  const nlohmann::json shown = site.Ask({"study", "show"});
  CHECK(shown["running_attempts"] == 1);
  run->Kill(SIGCONT);
  const std::optional<int> code = run->Wait(kLong);
  INFO(site.Output());
  REQUIRE(code.has_value());
  CHECK(*code == 0);
  CHECK(site.Ask({"study", "show"})["state"] == "done");
}

TEST_CASE("a coordinator that only reads gives way to one that serves, whatever it shows") {
  const Site site(0.05);
  auto run = site.Run(1);
  REQUIRE(WaitFor(kLong, [&] { return !site.Trace().empty(); }));
  run = nullptr;  // SIGKILL to it and all below
  CHECK(site.Ask({"study", "show"})["running_attempts"] == 1);
  const pid_t reader = CoordinatorPid(site);
  const std::unique_ptr<Process> serve = Serve(site);
  CHECK(WaitFor(kLong, [&] { return CoordinatorPid(site) == serve->pid(); }));
  CHECK(serve->Wait(0) == std::nullopt);
  CHECK_FALSE(Lives(reader));
  serve->Kill(SIGTERM);
  CHECK(serve->Wait(kLong) == 0);
}

}  // namespace
}  // namespace rung
