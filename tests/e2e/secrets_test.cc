// What strangers must not get: tokens in arguments, environments, logs and cores; plaintext off the host.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include <catch2/catch.hpp>

#include "base/file.h"
#include "tests/e2e/process.h"
#include "tests/e2e/site.h"

namespace rung {
namespace {

constexpr double kLong = 240;

const std::string kRung = std::string(RUNG_BIN_DIR) + "/rung";

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("a coordinator of another host without a certificate is refused with 78") {
  const Site site(0.001);
  REQUIRE(RunProgram({kRung, "study", "create", "study.json"}, site.root(), kLong).code == 0);
  const std::string path = site.state_dir() + "/endpoint.json";
  nlohmann::json endpoint = nlohmann::json::parse(*ReadFile(path));
  const std::string here = endpoint.dump();
  endpoint.update({{"host", "elsewhere"}, {"boot_id", "another"}, {"tcp", "127.0.0.1:1"}, {"ca_sha256", ""}});
  REQUIRE(WriteFileAtomic(path, endpoint.dump()).ok());
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"study", "list"}, {"study", "pause", "e2e"}, {"worker", "start"}}) {
    std::vector<std::string> argv = {kRung};
    argv.insert(argv.end(), command.begin(), command.end());
    const Finished refused = RunProgram(argv, site.root(), kLong);
    CAPTURE(command, refused.err);
    CHECK(refused.code == 78);
    CHECK(Has(refused.err, "E0678"));
  }
  REQUIRE(WriteFileAtomic(path, here).ok());
  const Finished metrics = RunProgram(
      {kRung, "serve", "--dir", site.root() + "/other", "--metrics", "0.0.0.0:0"}, site.root(), kLong);
  CHECK(metrics.code == 78);
  CHECK(Has(metrics.err, "E0678"));
}

// Every regular file that people may send to somebody who asks what went wrong, and every process.
void CheckNowhere(const Site& site, const std::map<std::string, std::string>& tokens, pid_t root) {
  const auto check = [&](const std::string& where, const std::string& text) {
    INFO(where);
    for (const auto& [role, token] : tokens) CHECK_FALSE(Has(text, token));
  };
  std::vector<pid_t> processes = Descendants(root);
  processes.push_back(root);
  for (const pid_t pid : processes) {
    for (const std::string name : {"cmdline", "environ"}) {
      const std::string path = "/proc/" + std::to_string(pid) + "/" + name;
      check(path, ReadFile(path).value_or(""));
    }
  }
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(site.root(), error)) {
    const std::string path = entry.path();
    if (!entry.is_regular_file(error) || Has(path, "/.rung/tokens/")) continue;
    check(path, ReadFile(path).value_or(""));
    struct stat info {};
    const bool inside = Has(path, "/.rung/");
    if (inside && stat(path.c_str(), &info) == 0) {
      INFO(path);
      CHECK((info.st_mode & 077) == 0);
    }
  }
}

TEST_CASE(
    "while a study runs its tokens stand in no argument, environment, log or other file, and no core is "
    "left") {
  const Site site(0.05);
  const auto run = site.Run(2);
  REQUIRE(site.WaitForLine(kLong, [](const TraceLine& line) { return line.trial == 3; }).has_value());
  std::map<std::string, std::string> tokens;
  for (const std::string role : {"admin", "worker", "viewer"}) {
    tokens[role] = ReadFile(site.state_dir() + "/tokens/" + role)->substr(0, 64);
    REQUIRE(tokens[role].size() == 64);
  }
  CheckNowhere(site, tokens, run->pid());
  std::map<std::string, int> found;
  for (const pid_t pid : Descendants(run->pid())) {
    const std::string program = ProgramOf(pid);
    if (program != "rungd" && program != "rung-worker") continue;
    ++found[program];
    const std::string limits = ReadFile("/proc/" + std::to_string(pid) + "/limits").value_or("");
    const size_t line = limits.find("Max core file size");
    REQUIRE(line != std::string::npos);
    std::istringstream words(limits.substr(line + 18));
    std::string soft;
    words >> soft;
    CHECK(soft == "0");
  }
  CHECK(found["rungd"] == 1);
  CHECK(found["rung-worker"] == 2);
  // One that crashes leaves none either.
  for (const pid_t pid : Descendants(run->pid())) {
    if (ProgramOf(pid) == "rung-worker") {
      kill(pid, SIGSEGV);
      break;
    }
  }
  CHECK(run->Wait(kLong) == std::optional<int>(0));
  CheckNowhere(site, tokens, run->pid());
}

TEST_CASE("tokens are rotated under a running study, which goes on; the old ones are worth nothing") {
  const Site site(0.05);
  const auto run = site.Run(2);
  REQUIRE(site.WaitForLine(kLong, [](const TraceLine& line) { return line.trial == 2; }).has_value());
  const std::string path = site.state_dir() + "/tokens/admin";
  const std::string old_admin = *ReadFile(path);
  for (const std::string role : {"worker", "admin", "viewer"}) {
    const std::string before = *ReadFile(site.state_dir() + "/tokens/" + role);
    const nlohmann::json rotated = site.Ask({"token", "rotate", role, "--overlap", "0s"});
    CHECK(rotated["role"] == role);
    const std::string after = *ReadFile(site.state_dir() + "/tokens/" + role);
    CHECK(after.size() == before.size());
    CHECK(after != before);
    CHECK_FALSE(Has(rotated.dump(), after.substr(0, 64)));
    struct stat info {};
    REQUIRE(stat((site.state_dir() + "/tokens/" + role).c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0600);
  }
  CHECK(run->Wait(kLong) == std::optional<int>(0));
  CHECK(site.Results().size() == 9);
  CHECK(site.Ask({"study", "show"})["failures_by_cause"].empty());
  // With the token of before nobody gets in.
  const nlohmann::json overlapping = site.Ask({"token", "rotate", "admin"});
  CHECK(overlapping["overlap_seconds"] == 600);
  const std::string now_admin = *ReadFile(path);
  REQUIRE(WriteFileAtomic(path, old_admin).ok());
  const Finished refused = RunProgram({kRung, "study", "list"}, site.root(), kLong);
  CHECK(refused.code == 4);
  CHECK(Has(refused.err, "E0672"));
  REQUIRE(WriteFileAtomic(path, now_admin).ok());
  CHECK(site.Ask({"study", "list"})["studies"].size() == 1);
  CHECK(RunProgram({kRung, "token", "rotate", "root"}, site.root(), kLong).code == 2);
}

}  // namespace
}  // namespace rung
