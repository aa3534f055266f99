// What a person types while a study runs: logs, watch, export, doctor, through the real programs.
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include <catch2/catch.hpp>

#include "base/file.h"
#include "tests/e2e/process.h"
#include "tests/e2e/site.h"

namespace rung {
namespace {

constexpr double kLong = 240;  // far more than a slow machine needs

const std::string kRung = std::string(RUNG_BIN_DIR) + "/rung";

// A trainer that prints what would drive a terminal, then trains as trainer.py does.
nlohmann::json TalkingStudy(const std::string& root) {
  const std::string trainer = std::string(RUNG_SOURCE_DIR) + "/tests/e2e/trainer.py";
  std::ofstream(root + "/talk.py") << "import os, sys\n"
                                      "os.write(1, b'\\x1b[31mred \\xff \\xc2\\x9b caf\\xc3\\xa9\\n')\n"
                                      "os.execv(sys.executable, [sys.executable, '"
                                   << trainer << "'])\n";
  return {{"name", "talk"},
          {"trainer",
           {{"type", "command"},
            {"argv", {"python3", root + "/talk.py"}},
            {"env", {{"E2E_TRACE", root + "/trace"}, {"E2E_STEP_SECONDS", "0.1"}}}}},
          {"objective", {{"metric", "validation/accuracy"}, {"goal", "maximize"}}},
          {"budget", {{"unit", "epochs"}, {"min", 1}, {"max", 3}, {"eta", 3}}},
          {"algorithm", {{"type", "hyperband"}}},
          {"space", {{"x", {{"low", 0.0}, {"high", 1.0}}}}},
          {"stop", {{"brackets", 1}}},
          {"seed", 7}};
}

std::unique_ptr<Process> Start(const Site& site, const std::vector<std::string>& arguments,
                               const std::string& output) {
  Process::Options options;
  options.argv = {kRung};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  options.directory = site.root();
  options.output_path = site.root() + "/" + output;
  return std::make_unique<Process>(options);
}

std::string Read(const Site& site, const std::string& name) {
  return ReadFile(site.root() + "/" + name).value_or("");
}

int64_t Lines(const std::string& path) {
  const std::string text = ReadFile(path).value_or("");
  return std::count(text.begin(), text.end(), '\n');
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("logs, watch and export of a study that runs") {
  const Site site(TalkingStudy);
  const auto run = site.Run(1);
  REQUIRE(WaitFor(kLong, [&] {
    const auto lines = site.Trace();
    return std::any_of(lines.begin(), lines.end(), [](const TraceLine& line) { return line.trial == 2; });
  }));
  const auto follow = Start(site, {"trial", "logs", "2", "-f"}, "followed");
  const auto watch = Start(site, {"study", "watch", "talk"}, "watched");
  const auto watch_json = Start(site, {"study", "watch", "talk", "-o", "json"}, "watched-json");

  // Half-finished: what is there so far, in whole files.
  for (const std::string format : {"csv", "jsonl"}) {
    const nlohmann::json files = site.Ask({"study", "export", "talk", "--format", format});
    const int64_t header = format == "csv" ? 1 : 0;
    CHECK(Lines(files.at("trials_path")) >= 2 + header);
    CHECK(Lines(files.at("results_path")) >= 1 + header);
  }

  REQUIRE(run->Wait(kLong) == std::optional<int>(0));
  CHECK(follow->Wait(kLong) == std::optional<int>(0));
  CHECK(watch->Wait(kLong) == std::optional<int>(0));
  CHECK(watch_json->Wait(kLong) == std::optional<int>(0));
  const std::string followed = Read(site, "followed");
  INFO(followed);
  CHECK(Has(followed, "trial 2, rung 0"));
  CHECK(Has(followed, "\\x1b[31mred \\xff \\u009b caf\xC3\xA9\n"));
  CHECK_FALSE(Has(followed, "\x1b"));
  CHECK(Has(Read(site, "watched"), "talk done"));
  const std::string json = Read(site, "watched-json");
  const size_t last = json.rfind('\n', json.size() - 2);
  CHECK(nlohmann::json::parse(json.substr(last == std::string::npos ? 0 : last + 1))["state"] == "done");

  // The finished study says how long a unit took, so that the plan knows what it would cost again.
  CHECK(site.Ask({"study", "plan", "study.json"})["device_seconds"].get<double>() > 0);
}

TEST_CASE("a command about a directory that no coordinator ever used leaves it as it is") {
  const Site site(0.001);
  const std::string other = site.root() + "/other";
  REQUIRE(std::filesystem::create_directory(other));
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"study", "list"}, {"study", "pause", "e2e"}, {"worker", "list"}}) {
    for (const std::string& directory : {other, site.root() + "/none"}) {
      std::vector<std::string> argv = {kRung};
      argv.insert(argv.end(), command.begin(), command.end());
      argv.insert(argv.end(), {"--dir", directory});
      const Finished finished = RunProgram(argv, site.root(), kLong);
      INFO(finished.out << finished.err);
      CHECK(finished.code == 3);
      CHECK(Has(finished.err, "E0690"));
      CHECK(Has(finished.err, directory));
    }
  }
  CHECK(std::filesystem::is_empty(other));
  CHECK_FALSE(std::filesystem::exists(site.root() + "/none"));
}

TEST_CASE("what cannot be printed is no success, and a reader that leaves is no failure") {
  const Site site(0.001);
  site.Ask({"study", "create", "study.json"});
  const auto shell = [&](const std::string& command) {
    return RunProgram({"/bin/bash", "-c", "set -o pipefail; " + std::string(kRung) + command}, site.root(),
                      kLong);
  };
  const Finished full = shell(" study list > /dev/full");
  CHECK(full.code == 1);
  CHECK(Has(full.err, "E0603"));
  CHECK(Has(full.err, "standard output"));
  const Finished left = shell(" events e2e | true");
  INFO(left.err);
  CHECK(left.code == 0);
  CHECK(left.err.empty());
}

TEST_CASE("the learning curve of a trial is shown point by point") {
  const Site site(0.001);
  const auto run = site.Run(1);
  REQUIRE(run->Wait(kLong) == 0);
  const nlohmann::json points = site.Ask({"trial", "show", "1", "--curve"})["points"];
  REQUIRE(points.size() >= 4);  // as many steps as the lowest rung has
  for (size_t i = 0; i < 4; ++i) {
    CHECK(points[i]["rung"] == 0);
    CHECK(points[i]["kind"] == "train");
    CHECK(points[i]["step"] == i + 1);
    CHECK(points[i]["budget"] == static_cast<double>(i + 1) / 4);
    CHECK(points[i]["metric"] == "validation/accuracy");
    CHECK(points[i]["value"].is_number());
  }
  const nlohmann::json shown = site.Ask({"trial", "show", "1"});
  CHECK(shown["rungs"][0]["replicates"][0]["values"]["validation/accuracy"] == points[3]["value"]);
  CHECK(Has(RunProgram({kRung, "trial", "show", "1", "--curve"}, site.root(), kLong).out,
            "validation/accuracy"));
}

TEST_CASE("every command that reads gives people a table and scripts JSON of schema 1") {
  const Site site([](const std::string& root) {
    nlohmann::json study = TalkingStudy(root);
    study["trainer"]["env"]["E2E_STEP_SECONDS"] = "0.001";
    return study;
  });
  const auto run = site.Run(1);
  REQUIRE(run->Wait(kLong) == 0);
  const std::vector<std::vector<std::string>> commands = {
      {"study", "list"},
      {"study", "show"},
      {"study", "best"},
      {"study", "plan", "study.json"},
      {"study", "export", "--format", "csv", "--to", "csv", "--force"},
      {"study", "export", "--format", "jsonl", "--to", "jsonl", "--force"},
      {"study", "watch"},
      {"trial", "list"},
      {"trial", "show", "1"},
      {"trial", "logs", "1"},
      {"trial", "why", "1"},
      {"events"},
      {"events", "-f"},
      {"worker", "list"},
      {"doctor"},
      {"version"},
  };
  for (const std::vector<std::string>& command : commands) {
    std::vector<std::string> argv = {kRung};
    argv.insert(argv.end(), command.begin(), command.end());
    const Finished table = RunProgram(argv, site.root(), kLong);
    argv.insert(argv.end(), {"-o", "json"});
    const Finished json = RunProgram(argv, site.root(), kLong);
    CAPTURE(command, table.out, table.err, json.out, json.err);
    const bool findings = command.front() == "doctor" && table.code == 9;
    CHECK((table.code == 0 || findings));
    CHECK(json.code == table.code);
    REQUIRE(Has(table.out, "\n"));
    CHECK(table.out.front() != '{');
    const bool stream = command.back() == "-f";  // an object a line
    const nlohmann::json document =
        nlohmann::json::parse(stream ? json.out.substr(0, json.out.find('\n')) : json.out, nullptr, false);
    REQUIRE(document.is_object());
    CHECK(document.value("schema", 0) == 1);
    CHECK(document.size() > 1);
  }
}

// Four of Hyperband's brackets judge 18 configs at rung 0, 9 at rung 1 and 6 at rung 2.
TEST_CASE("a finished study tells which parameter decided, by the highest rung with enough results") {
  const Site site(0.001, {{"space", {{"unread", {"a", "b"}}}}, {"stop", {{"brackets", 4}}}});
  REQUIRE(site.Run(2)->Wait(kLong) == std::optional<int>(0));
  const nlohmann::json shown = site.Ask({"study", "importance"});
  CAPTURE(shown);
  CHECK(shown["rung"] == 0);
  CHECK(shown["budget"] == 1);
  CHECK(shown["results"] == 18);
  CHECK(shown["results_used"] == 18);
  REQUIRE(shown["parameters"].size() == 2);
  CHECK(shown["parameters"][0]["parameter"] == "x");
  CHECK(shown["parameters"][0]["share"].get<double>() > 0.5);
  CHECK(shown["parameters"][1]["parameter"] == "unread");
  CHECK(site.Ask({"study", "importance", "e2e", "--rung", "0"}) == shown);
  const auto told = [&](const std::string& rung) {
    return RunProgram({kRung, "study", "importance", "--rung", rung}, site.root(), kLong);
  };
  const Finished table = told("0");
  CHECK(table.code == 0);
  CHECK(Has(table.out, "\nx "));
  CHECK(Has(table.err, "at rung 0: 1 epoch, from 18 results"));
  const Finished few = told("1");
  CHECK(few.code == 5);
  CHECK(Has(few.err, "E0392"));
  CHECK(Has(few.err, "--rung 0"));
  const Finished none = told("3");
  CHECK(none.code == 2);
  CHECK(Has(none.err, "E0105"));
}

// A terminal of 100 columns that a program may be started on, and what was written to it.
class PseudoTerminal {
 public:
  PseudoTerminal() : master_(posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)) {
    REQUIRE(master_.get() >= 0);
    REQUIRE((grantpt(master_.get()) == 0 && unlockpt(master_.get()) == 0));
    winsize size{};
    size.ws_row = 30;
    size.ws_col = 100;
    REQUIRE(ioctl(master_.get(), TIOCSWINSZ, &size) == 0);
    path_ = ptsname(master_.get());
  }
  const std::string& path() const { return path_; }
  const std::string& Written() {
    std::array<char, 4096> buffer;
    for (ssize_t n; (n = read(master_.get(), buffer.data(), buffer.size())) > 0;)
      written_.append(buffer.data(), static_cast<size_t>(n));
    return written_;
  }

 private:
  const Descriptor master_;
  std::string path_;
  std::string written_;
};

TEST_CASE("on a terminal a run draws a line per bracket, again and again in place") {
  const Site site(0.02);
  PseudoTerminal terminal;
  Process::Options options;
  options.argv = {kRung, "run", "study.json", "--workers", "1"};
  options.directory = site.root();
  options.output_path = terminal.path();
  Process run(options);
  REQUIRE(WaitFor(kLong, [&] {
    terminal.Written();
    return run.Wait(0).has_value();
  }));
  const std::string shown = terminal.Written();
  CAPTURE(shown);
  CHECK(*run.Wait(0) == 0);
  // Head, incumbent and bracket: drawn over the three lines before.
  const std::regex again(
      "\x1b\\[3A\r\x1b\\[Ke2e running [^\n]*\n\r\x1b\\[K  [^\n]*\n\r\x1b\\[K  bracket 0 [^\n]* %  rungs "
      "[0-9]+/9 [0-3]/3 [01]/1 ");
  const auto drawn =
      std::distance(std::sregex_iterator(shown.begin(), shown.end(), again), std::sregex_iterator());
  CHECK(drawn >= 2);
  // A run that is watched through a pipe has one line at once, one at the end, and no codes.
  const Site piped(0.001);
  const auto quiet = piped.Run(1);
  REQUIRE(quiet->Wait(kLong) == 0);
  CHECK_FALSE(Has(piped.Output(), "\x1b"));
  CHECK(Has(piped.Output(), "e2e running"));
  CHECK_FALSE(Has(piped.Output(), "bracket 0"));
}

TEST_CASE("watching ends by Ctrl-C with 130 and leaves the study alone") {
  const Site site(TalkingStudy);
  const auto run = site.Run(1);
  REQUIRE(WaitFor(kLong, [&] { return !site.Trace().empty(); }));
  const auto watch = Start(site, {"study", "watch", "talk"}, "watched");
  REQUIRE(WaitFor(kLong, [&] { return Has(Read(site, "watched"), "talk running"); }));
  watch->Kill(SIGINT);
  CHECK(watch->Wait(kLong) == std::optional<int>(130));
  CHECK(Has(Read(site, "watched"), "the study goes on"));
  CHECK(run->Wait(kLong) == std::optional<int>(0));
}

// Printed below the lines it would leave a part of them above the next ones.
TEST_CASE("on a terminal a note takes the place of the lines of a watched study") {
  const Site site(0.1);
  const auto run = site.Run(1);
  REQUIRE(WaitFor(kLong, [&] { return !site.Trace().empty(); }));
  PseudoTerminal terminal;
  Process::Options options;
  options.argv = {kRung, "study", "watch", "e2e"};
  options.directory = site.root();
  options.output_path = terminal.path();
  Process watch(options);
  REQUIRE(WaitFor(kLong, [&] { return Has(terminal.Written(), "e2e running"); }));
  run->Kill(SIGINT);  // its coordinator ends with it, and its workers
  REQUIRE(run->Wait(kLong) == std::optional<int>(130));
  const bool told = WaitFor(kLong, [&] { return Has(terminal.Written(), "no workers: go on with"); });
  const std::string shown = terminal.Written();
  CAPTURE(shown);
  REQUIRE(told);
  const std::regex cleared("\x1b\\[J(waiting for [^\n]*\n)?no workers: go on with");
  CHECK(std::regex_search(shown, cleared));
  watch.Kill(SIGINT);
  CHECK(watch.Wait(kLong) == std::optional<int>(130));
}

TEST_CASE("a study is paused, goes on, is explained and stopped") {
  const Site site(0.1);
  const auto run = site.Run(1);
  REQUIRE(site.WaitForLine(kLong, [](const TraceLine& line) { return line.trial == 2; }).has_value());
  CHECK(site.Ask({"study", "pause", "e2e"}).at("state") == "paused");
  CHECK(site.Ask({"study", "list"}).at("studies").at(0).at("state") == "paused");
  CHECK(site.Ask({"study", "resume", "e2e"}).at("state") == "running");

  const nlohmann::json why = site.Ask({"trial", "why", "1"});
  CHECK(why.at("origin") == "random");
  CHECK(why.at("config").at("x").is_number());
  CHECK(why.at("events").at(0).at("kind") == "trial_created");
  const Finished told = RunProgram({kRung, "trial", "why", "e2e/1"}, site.root(), kLong);
  CHECK(told.code == 0);
  CHECK(Has(told.out, "Its config was drawn at random"));
  CHECK_FALSE(Has(told.out, "as_of"));
  CHECK_FALSE(Has(told.out, "model_rung"));

  const nlohmann::json best = site.Ask({"study", "best", "e2e", "--top", "2"});
  CHECK(best.at("metric") == "validation/accuracy");
  REQUIRE_FALSE(best.at("trials").empty());
  CHECK(best.at("trials").at(0).at("score").is_number());
  CHECK(best.at("trials").at(0).at("score_rung").is_number_integer());

  const std::string stopped = site.Ask({"study", "stop", "e2e"}).at("state");
  CHECK((stopped == "stopping" || stopped == "stopped"));
  CHECK(run->Wait(kLong) == std::optional<int>(0));
  CHECK(site.Ask({"study", "show", "e2e"}).at("state") == "stopped");
  CHECK(RunProgram({kRung, "study", "resume", "e2e"}, site.root(), kLong).code == 5);
}

TEST_CASE("a study's log is shown, and followed to its end") {
  const Site site(0.05);
  const auto run = site.Run(1);
  REQUIRE(site.WaitForLine(kLong, [](const TraceLine& line) { return line.trial == 2; }).has_value());
  const auto follow = Start(site, {"events", "-f", "-o", "json"}, "followed");
  const auto watch = Start(site, {"events", "-f"}, "watched");
  REQUIRE(WaitFor(kLong, [&] { return Has(Read(site, "watched"), "attempt_granted"); }));
  watch->Kill(SIGINT);
  CHECK(watch->Wait(kLong) == std::optional<int>(130));
  CHECK(Has(Read(site, "watched"), "the study goes on"));
  CHECK(run->Wait(kLong) == std::optional<int>(0));
  CHECK(follow->Wait(kLong) == std::optional<int>(0));
  const nlohmann::json all = site.Ask({"events", "e2e"})["events"];
  REQUIRE(all.size() > 30);
  CHECK(all.front()["event"] == "trial_created");
  CHECK(all.back()["study_state"] == "done");
  CHECK(std::regex_match(std::string(all.back()["at"]), std::regex("20..-..-..T..:..:..\\....Z")));
  std::istringstream lines(Read(site, "followed"));
  std::string line;
  nlohmann::json followed = nlohmann::json::array();
  while (std::getline(lines, line)) {
    followed.push_back(nlohmann::json::parse(line));
    followed.back().erase("schema");
  }
  CHECK(followed == all);
}

TEST_CASE("a worker is drained, another evicted, and the study ends without a failure") {
  const Site site(0.1);
  REQUIRE(RunProgram({kRung, "study", "create", "study.json"}, site.root(), kLong).code == 0);
  const auto serve = Start(site, {"serve", "--exit-when-done"}, "served");
  const auto one = Start(site, {"worker", "start", "--slot", "one"}, "one");
  const auto two = Start(site, {"worker", "start", "--slot", "two"}, "two");
  std::map<std::string, std::string> names;  // slot -> worker
  REQUIRE(WaitFor(kLong, [&] {
    const nlohmann::json listed = site.Ask({"worker", "list"});
    for (const nlohmann::json& row : listed["workers"]) {
      const std::string name = row["worker"];
      if (row["state"] == "busy") names[name.substr(name.size() - 3)] = name;
    }
    return names.size() == 2;
  }));
  const nlohmann::json drained = site.Ask({"worker", "drain", names["one"]});
  CHECK(drained["worker"] == names["one"]);
  CHECK(one->Wait(kLong) == std::optional<int>(0));
  CHECK(Has(Read(site, "one"), "ended: it was told to"));
  // A frozen one cannot hand anything back.
  two->Kill(SIGSTOP);
  const nlohmann::json evicted = site.Ask({"worker", "evict", names["two"]});
  CHECK(evicted["trial"].is_number_integer());
  const nlohmann::json events = site.Ask({"events"})["events"];
  CHECK(std::any_of(events.begin(), events.end(), [](const nlohmann::json& event) {
    return event["event"] == "attempt_lost" && event.value("message", "") == "its worker was evicted";
  }));
  two->Kill(SIGCONT);
  CHECK(two->Wait(kLong) == std::optional<int>(0));  // it hears of it, and has nothing to do here any more
  const auto three = Start(site, {"worker", "start", "--slot", "one", "--exit-when-done"}, "three");
  CHECK(three->Wait(kLong) == std::optional<int>(0));
  CHECK(serve->Wait(kLong) == std::optional<int>(0));
  const nlohmann::json study = site.Ask({"study", "show"});
  CHECK(study["state"] == "done");
  CHECK(study["failures_by_cause"].empty());
  const Finished unknown = RunProgram({kRung, "worker", "drain", "nobody", "-o", "json"}, site.root(), kLong);
  CHECK(unknown.code == 3);
  CHECK(Has(unknown.err, "E0625"));
}

TEST_CASE("the version and the help are asked for in the usual ways") {
  const nlohmann::json version =
      nlohmann::json::parse(RunProgram({kRung, "version", "-o", "json"}, "/", kLong).out);
  const std::string number = version.at("version");
  for (const std::string word : {"version", "--version", "-V"}) {
    const Finished finished = RunProgram({kRung, word}, "/", kLong);
    CHECK(finished.code == 0);
    CHECK(finished.out.rfind("rung " + number + " (protocol ", 0) == 0);
  }
  const Finished help = RunProgram({kRung, "help", "study", "best"}, "/", kLong);
  CHECK(help.code == 0);
  CHECK(help.out == RunProgram({kRung, "study", "best", "--help"}, "/", kLong).out);
  CHECK(RunProgram({kRung, "help", "stdy"}, "/", kLong).code == 2);
}

TEST_CASE("a command runs beside its study file, the outcome says why it failed, and where the state is") {
  const Site site([](const std::string& root) {
    std::filesystem::create_directory(root + "/sub");
    std::ofstream(root + "/sub/fail.py") << "import sys\nsys.exit('no module\\nnamed torsch')\n";
    nlohmann::json study = TalkingStudy(root);
    study["trainer"] = {{"type", "command"}, {"argv", {"python3", "fail.py"}}};
    study["name"] = "failing";
    study["algorithm"] = {{"type", "random"}};
    study["stop"] = {{"trials", 30}};
    std::ofstream(root + "/sub/study.json") << study.dump();
    return study;
  });
  const Finished run = RunProgram({kRung, "run", "sub/study.json", "--workers", "1"}, site.root(), kLong);
  INFO(run.out << run.err);
  CHECK(run.code == 1);
  CHECK(Has(run.err, "commands typed here need --dir " + site.root() + "/sub/.rung"));
  CHECK(Has(run.out, "Study failing failed: 8 trials"));
  CHECK(Has(run.out, "8 trials failed alike"));
  CHECK(Has(run.out, "Failures: 8 crash."));
  CHECK(Has(run.out, "  named torsch\n"));
  CHECK(Has(run.out, "`rung trial show failing/1`"));
  const Finished show =
      RunProgram({kRung, "study", "show", "--dir", site.root() + "/sub/.rung"}, site.root(), kLong);
  CHECK(Has(show.out, "  named torsch\n"));
  const Finished trial =
      RunProgram({kRung, "trial", "show", "1", "--dir", site.root() + "/sub/.rung"}, site.root(), kLong);
  CHECK(Has(trial.out, "no module\nnamed torsch"));
  const Finished lost = RunProgram({kRung, "study", "list"}, site.root(), kLong);
  CHECK(lost.code == 3);
  CHECK(Has(lost.err, "`.rung` beside it"));
}

TEST_CASE("where the state directory is not beside the study file, why it is where it is") {
  const Site site(0.001);
  std::filesystem::create_directories(site.root() + "/sub/deeper");
  std::filesystem::create_directories(site.root() + "/other/.rung");
  const auto create = [&](const std::string& directory, const std::string& variable,
                          const std::string& file) {
    Process::Options options;
    options.argv = {kRung, "study", "create", file};
    options.directory = directory;
    options.environment = {{"RUNG_DIR", variable}};
    options.output_path = site.root() + "/said";
    Process process(options);
    CHECK(process.Wait(kLong) == std::optional<int>(0));
    return Read(site, "said");
  };
  // An empty variable is none; of directories above, the nearest counts, wherever the study file lies.
  CHECK(Has(create(site.root() + "/other", "", "../study.json"),
            "the state directory is " + site.root() + "/other/.rung, the nearest .rung in this directory"));
  CHECK(Has(create(site.root(), "sub/deeper/state", "study.json"),
            "the state directory is " + site.root() + "/sub/deeper/state, as RUNG_DIR says"));
}

TEST_CASE("a study without workers says so, and how to go on") {
  // A line longer than a terminal's 80 columns: in a file it is whole.
  const Site site(0.001, {{"name", std::string(60, 'n')}});
  REQUIRE(RunProgram({kRung, "study", "create", "study.json"}, site.root(), kLong).code == 0);
  const Finished list = RunProgram({kRung, "study", "list"}, site.root(), kLong);
  CHECK(Has(list.out, "running, no workers"));
  CHECK(Has(list.err, "`rung run FILE`"));
  const Finished show = RunProgram({kRung, "study", "show"}, site.root(), kLong);
  CHECK(Has(show.out, "epochs  no workers"));
  CHECK_FALSE(Has(show.out, "ETA"));
  CHECK(Has(show.err, "`rung worker start`"));
  const auto watch = Start(site, {"study", "watch"}, "watched");
  CHECK(WaitFor(kLong, [&] { return Has(Read(site, "watched"), "`rung worker start`"); }));
  watch->Kill(SIGINT);
  CHECK(watch->Wait(kLong) == std::optional<int>(130));
}

TEST_CASE("a second run beside busy workers says whose they are, and how to watch its study") {
  const Site site(0.5);
  const auto first = site.Run(1);
  REQUIRE(site.WaitForLine(kLong, [](const TraceLine&) { return true; }).has_value());
  nlohmann::json study = nlohmann::json::parse(Read(site, "study.json"));
  study["name"] = "second";
  std::ofstream(site.root() + "/second.json") << study.dump();
  const auto second = Start(site, {"run", "second.json"}, "second");
  CHECK(WaitFor(kLong, [&] { return Has(Read(site, "second"), "the workers are busy with study e2e"); }));
  second->Kill(SIGTERM);
  CHECK(second->Wait(kLong) == std::optional<int>(130));
  CHECK(Has(Read(site, "second"), "leaving: the study goes on, its coordinator is not of this command, and"));
  CHECK(Has(Read(site, "second"), "rung study watch second\n"));
  first->Kill(SIGTERM);
  CHECK(first->Wait(kLong) == std::optional<int>(130));
  CHECK(Has(site.Output(), "stopping: the coordinator and the 1 worker of this command end"));
  CHECK(Has(site.Output(), "the study waits for `rung run study.json --workers 1`\n"));
}

TEST_CASE("a run names the other studies that its workers train, and how to pause them") {
  const Site site(0.001);
  REQUIRE(RunProgram({kRung, "study", "create", "study.json"}, site.root(), kLong).code == 0);
  nlohmann::json study = nlohmann::json::parse(Read(site, "study.json"));
  study["name"] = "second";
  std::ofstream(site.root() + "/second.json") << study.dump();
  const std::vector<std::string> command = {kRung, "run", "second.json", "--workers", "1", "-o", "json"};
  const Finished both = RunProgram(command, site.root(), kLong);
  CAPTURE(both.err);
  REQUIRE(both.code == 0);
  CHECK(Has(both.err, "also train e2e, not over yet; to train this study alone: `rung study pause e2e`\n"));
  CHECK(nlohmann::json::parse(both.out).at("workers_shared_with") == nlohmann::json::array({"e2e"}));
  // Alone: nothing to say.
  const Site own(0.001);
  const auto run = own.Run(1);
  REQUIRE(run->Wait(kLong) == std::optional<int>(0));
  CHECK_FALSE(Has(own.Output(), "also train"));
}

TEST_CASE("coordinator and worker in the foreground tell what they do") {
  const Site site(0.001);
  REQUIRE(RunProgram({kRung, "study", "create", "study.json"}, site.root(), kLong).code == 0);
  const auto serve = Start(site, {"serve", "--exit-when-done"}, "served");
  REQUIRE(WaitFor(kLong, [&] { return Has(Read(site, "served"), "rungd: serving " + site.state_dir()); }));
  const auto worker = Start(site, {"worker", "start", "--exit-when-done"}, "worked");
  CHECK(worker->Wait(kLong) == std::optional<int>(0));
  CHECK(serve->Wait(kLong) == std::optional<int>(0));
  const std::string worked = Read(site, "worked");
  INFO(worked);
  CHECK(Has(worked, "working for " + site.state_dir()));
  CHECK(Has(worked, "trial 1/1, rung 0, attempt 1 begins\n"));
  CHECK(Has(worked, "trial 1/1, rung 0, attempt 1 ends: result\n"));
  CHECK(Has(worked, "ended: "));
  CHECK(Has(Read(site, "served"), "rungd: ended: every study is finished"));
}

TEST_CASE("a coordinator that no worker comes to ends with a code of its own") {
  const Site site(0.001);
  REQUIRE(RunProgram({kRung, "study", "create", "study.json"}, site.root(), kLong).code == 0);
  const Finished ended =
      RunProgram({std::string(RUNG_BIN_DIR) + "/rungd", "--workers-within", "1s"}, site.root(), kLong);
  CHECK(ended.code == 8);
  CHECK(Has(ended.err, "E0644"));
  CHECK(RunProgram({std::string(RUNG_BIN_DIR) + "/rungd", "--workers-within", "soon"}, site.root(), kLong)
            .code == 2);
}

TEST_CASE("an export does not write over an earlier one unless told to") {
  const Site site(0.001);
  const auto run = site.Run(1);
  REQUIRE(run->Wait(kLong) == std::optional<int>(0));
  const std::vector<std::string> command = {kRung, "study", "export", "--format", "csv"};
  CHECK(RunProgram(command, site.root(), kLong).code == 0);
  const Finished again = RunProgram(command, site.root(), kLong);
  CHECK(again.code == 5);
  CHECK(Has(again.err, "E0391"));
  std::vector<std::string> forced = command;
  forced.emplace_back("--force");
  CHECK(RunProgram(forced, site.root(), kLong).code == 0);
}

TEST_CASE("the doctor names a file that others can read, and ends with 9") {
  const Site site(0.001);
  REQUIRE(RunProgram({kRung, "study", "create", "study.json"}, site.root(), kLong).code == 0);
  REQUIRE(chmod((site.state_dir() + "/tokens/viewer").c_str(), 0644) == 0);
  const Finished finished = RunProgram({kRung, "doctor", "-o", "json"}, site.root(), kLong);
  CHECK(finished.code == 9);
  const nlohmann::json found = nlohmann::json::parse(finished.out).at("findings");
  const auto mode = std::find_if(found.begin(), found.end(),
                                 [](const nlohmann::json& finding) { return finding["check"] == "mode"; });
  REQUIRE(mode != found.end());
  CHECK((*mode)["verdict"] == "fail");
  CHECK(Has((*mode)["what"], "tokens/viewer has mode 644"));
  CHECK(Has((*mode)["mend"], "chmod 600"));
  const auto rungd = std::find_if(found.begin(), found.end(),
                                  [](const nlohmann::json& finding) { return finding["check"] == "rungd"; });
  REQUIRE(rungd != found.end());
  CHECK((*rungd)["verdict"] == "ok");
}

TEST_CASE("the doctor's bundle of a study that runs has no token, key or value of its environment") {
  const std::string password = "planted-5f3759df";
  const Site site(0.05, {{"trainer", {{"env", {{"API_KEY", password}}}}}});
  const auto run = site.Run(1);
  REQUIRE(site.WaitForLine(kLong, [](const TraceLine& line) { return line.trial == 2; }).has_value());
  // A key beside the tokens, as an authority has it.
  const std::string pem = "-----BEGIN PRIVATE KEY-----\nMIGHAgEA5f3759dfMBMGByqGSM49\n";
  REQUIRE(WriteFileAtomic(site.state_dir() + "/tls/ca.key", pem).ok());
  const std::string path = site.root() + "/bundle.json";
  const Finished made = RunProgram({kRung, "doctor", "--bundle", path}, site.root(), kLong);
  INFO(made.out << made.err);
  REQUIRE((made.code == 0 || made.code == 9));  // 9: a small disk, say
  CHECK(Has(made.err, path));
  struct stat info {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
  const std::string text = *ReadFile(path);
  for (const std::string role : {"admin", "worker", "viewer"})
    CHECK_FALSE(Has(text, ReadFile(site.state_dir() + "/tokens/" + role)->substr(0, 64)));
  CHECK_FALSE(Has(text, "5f3759df"));
  CHECK_FALSE(Has(text, "PRIVATE KEY"));
  const nlohmann::json bundle = nlohmann::json::parse(text);
  CHECK(bundle["studies"]["1"]["name"] == "e2e");
  CHECK(bundle["studies"]["1"]["trainer"]["env"].contains("API_KEY"));
  CHECK(bundle["status"]["database_schema"].is_number());
  CHECK(bundle["status"]["studies"].size() == 1);
  CHECK(Has(bundle["logs"]["rungd.log"].dump(), "attempt_granted"));
  CHECK(bundle["logs"].size() >= 2);
  CHECK(bundle["findings"].size() >= 3);
  // A file that is there stays.
  const Finished again = RunProgram({kRung, "doctor", "--bundle", path}, site.root(), kLong);
  CHECK(again.code == 5);
  CHECK(Has(again.err, "E0391"));
  CHECK(*ReadFile(path) == text);
}

}  // namespace
}  // namespace rung
