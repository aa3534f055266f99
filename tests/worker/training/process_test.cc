// The real rung-trainer as a child: warm between attempts, signals, exit codes.
#include <signal.h>
#include <sys/wait.h>

#include <array>
#include <optional>

#include "tests/worker/training/small_world.h"
#include "worker/training/checkpoint.h"

namespace rung {
namespace {

class Child {
 public:
  Child() {
    std::array<int, 2> input, messages;
    REQUIRE(pipe2(input.data(), O_CLOEXEC) == 0);
    REQUIRE(pipe2(messages.data(), O_CLOEXEC) == 0);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(input[0], STDIN_FILENO);
      const int descriptor = dup(messages[1]);
      setenv("RUNG_METRICS_FD", std::to_string(descriptor).c_str(), 1);
      const int nothing = open("/dev/null", O_WRONLY);
      dup2(nothing, STDERR_FILENO);
      execl(RUNG_BIN_DIR "/rung-trainer", "rung-trainer", nullptr);
      _exit(127);
    }
    close(input[0]);
    close(messages[1]);
    input_ = input[1];
    messages_ = fdopen(messages[0], "r");
  }
  ~Child() {
    CloseInput();
    fclose(messages_);
    if (!exited_) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }
  Child(const Child&) = delete;

  void Start(const std::string& trial_path) {
    const std::string line = trial_path + "\n";
    REQUIRE(write(input_, line.data(), line.size()) == static_cast<ssize_t>(line.size()));
  }
  void Signal(int number) { kill(pid_, number); }
  void CloseInput() {
    if (input_ >= 0) close(input_);
    input_ = -1;
  }
  // Reads up to and with the next line of this type; nullopt at the end.
  std::optional<json> Await(const std::string& type) {
    char* text = nullptr;
    size_t capacity = 0;
    std::optional<json> found;
    while (!found && getline(&text, &capacity, messages_) > 0) {
      json line = json::parse(text);
      if (line["type"] == type) found = line;
    }
    free(text);
    return found;
  }
  int ExitCode() {
    int status = 0;
    waitpid(pid_, &status, 0);
    exited_ = true;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t pid_ = -1;
  int input_ = -1;
  FILE* messages_ = nullptr;
  bool exited_ = false;
};

std::string Written(SmallWorld& world, const std::string& name, const json& trial) {
  const std::string path = world.Path(name);
  std::ofstream(path) << trial;
  return path;
}

json Long(SmallWorld& world) {
  json trial = world.Trial();
  trial["budget"] = {{"unit", "epochs"}, {"from", 0}, {"to", 100000}, {"max", 100000}};
  return trial;
}

}  // namespace

TEST_CASE(
    "a warm trainer runs attempt after attempt, goes on after a failed one, and exits 0 at the end of its "
    "input") {
  SmallWorld world;
  const json first = world.Trial(), second = world.Trial();
  json broken = world.Trial();
  broken["trainer"]["train"] = world.Path("nowhere.csv");
  Child child;
  child.Start(Written(world, "first.json", first));
  CHECK(child.Await("result"));
  child.Start(Written(world, "broken.json", broken));
  const std::optional<json> failed = child.Await("failed");
  REQUIRE(failed);
  CHECK((*failed)["cause"] == "bad_data");
  child.Start(Written(world, "second.json", second));
  CHECK(child.Await("result"));
  CHECK(world.WeightsAt(first, 13) == world.WeightsAt(second, 13));
  child.CloseInput();
  CHECK(child.ExitCode() == 0);
}

TEST_CASE("SIGUSR1 asks for a checkpoint, SIGTERM for one and the end with 85") {
  SmallWorld world;
  const json trial = Long(world);
  Child child;
  child.Start(Written(world, "long.json", trial));
  REQUIRE(child.Await("metric"));
  child.Signal(SIGUSR1);
  const std::optional<json> asked = child.Await("checkpoint");
  REQUIRE(asked);
  child.Signal(SIGTERM);
  const std::optional<json> last = child.Await("checkpoint");
  CHECK(child.ExitCode() == 85);
  std::vector<std::string> rejected;
  const auto found = FindCheckpoint(trial["checkpoint_dir"], INT64_MAX, &rejected);
  REQUIRE(found);
  CHECK(rejected.empty());
  CHECK(std::filesystem::path(found->path).filename().string() ==
        (last ? *last : *asked)["path"].get<std::string>());
}

TEST_CASE("SIGTERM ends an idle trainer") {
  SmallWorld world;
  Child child;
  child.Start(Written(world, "one.json", world.Trial()));
  REQUIRE(child.Await("result"));
  child.Signal(SIGTERM);
  CHECK(child.ExitCode() == 0);
}

}  // namespace rung
