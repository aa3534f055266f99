// Somebody else with an account on the host, who knows where everything is: stranger.py tries it as that
// user.
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include <catch2/catch.hpp>

#include "proto/endpoint.h"
#include "tests/e2e/process.h"
#include "tests/e2e/site.h"

namespace rung {
namespace {

constexpr double kLong = 240;

std::unique_ptr<Process> Start(const Site& site, const std::string& program,
                               const std::vector<std::string>& arguments) {
  Process::Options options;
  options.argv = {std::string(RUNG_BIN_DIR) + "/" + program, "--dir", site.state_dir()};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  options.directory = site.root();
  options.output_path = site.root() + "/output";
  return std::make_unique<Process>(options);
}

// What the user got of the state directory for which the processes work.
nlohmann::json Probe(const Site& site, const std::string& user, const std::vector<pid_t>& processes) {
  std::vector<std::string> argv = {"python3", "-B", std::string(RUNG_SOURCE_DIR) + "/tests/e2e/stranger.py",
                                   site.state_dir(), user};
  for (const pid_t pid : processes) argv.push_back(std::to_string(pid));
  const Finished finished = RunProgram(argv, site.root(), kLong);
  INFO(user << ": " << finished.out << finished.err);
  REQUIRE(finished.code == 0);
  return nlohmann::json::parse(finished.out);
}

bool Contains(const nlohmann::json& texts, const std::string& part) {
  return std::any_of(texts.begin(), texts.end(), [&](const nlohmann::json& text) {
    return text.get<std::string>().find(part) != std::string::npos;
  });
}

TEST_CASE("a stranger on the host gets no file, no socket, no answer and no secret of a running study") {
  if (geteuid() != 0 || getpwnam("nobody") == nullptr) {
    WARN("SKIPPED: only root can try it as the user nobody");
    return;
  }
  const Site site(1, {{"name", "stranger-must-not-see"},
                      {"trainer", {{"env", {{"API_KEY", "stranger-must-not-have"}}}}}});
  REQUIRE(chmod(site.root().c_str(), 0755) == 0);  // as a project's directory often is
  const auto coordinator =
      Start(site, "rungd", {"--listen", "127.0.0.1:0", "--advertise", "127.0.0.1", "--metrics", "auto"});
  const StateDir dir{site.state_dir()};
  REQUIRE(WaitFor(kLong, [&] { return ReadEndpoint(dir).ok(); }));
  site.Ask({"study", "create", "study.json"});
  const auto worker = Start(site, "rung-worker", {"--slot", "0"});
  REQUIRE(site.WaitForLine(kLong, [](const TraceLine& line) { return line.event == "step"; }).has_value());
  std::vector<pid_t> processes = Descendants(worker->pid());
  REQUIRE(!processes.empty());  // the trainer
  processes.insert(processes.end(), {worker->pid(), coordinator->pid()});

  const nlohmann::json got = Probe(site, "nobody", processes);
  CHECK(Contains(got["outside"], "study.json"));  // up to the directory the way is open
  CHECK(got["ports"].size() == 2);                // gRPC and metrics
  CHECK(got["sockets"].size() >= 1);
  CHECK(got["tried"] > 50);
  CHECK(got["found"] == nlohmann::json::array());

  // The same as root finds all of it: the probe knows where to look.
  const nlohmann::json all = Probe(site, "root", processes)["found"];
  CHECK(Contains(all, "reads " + dir.token("admin")));
  CHECK(Contains(all, "reads " + dir.tls() + "/ca.key"));
  CHECK(Contains(all, "reads " + dir.logs() + "/rungd.log"));
  CHECK(Contains(all, "may write " + dir.database()));
  CHECK(Contains(all, "connects to " + ReadEndpoint(dir)->unix_path));
  CHECK(Contains(all, "/environ"));
  CHECK_FALSE(Contains(all, "answers to"));  // a port knows no user: not even root gets in without a token
  // Each probe asked for one copy with the token; the recorded calls that it sent again made none.
  CHECK(std::distance(std::filesystem::directory_iterator(dir.root + "/backups"),
                      std::filesystem::directory_iterator()) == 2);
}

}  // namespace
}  // namespace rung
