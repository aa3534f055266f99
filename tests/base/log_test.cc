#include "base/log.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <thread>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/fake_clock.h"
#include "tests/scratch.h"

namespace rung {
namespace {

// The events of a log's file, in order; every line must be whole.
std::vector<std::string> Events(const std::string& path) {
  std::vector<std::string> events;
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
    INFO(line);
    REQUIRE(json.is_object());
    events.push_back(json["event"].get<std::string>());
  }
  return events;
}

int64_t Bytes(const std::string& path) {
  return static_cast<int64_t>(std::filesystem::file_size(path));
}

TEST_CASE("a log that is full becomes .1, and what is kept are the newest lines") {
  const Scratch directory;
  FakeClock clock;
  Log log("test", clock);
  const std::string path = directory.path("test.log");
  constexpr int64_t kBound = 2000;
  constexpr int kLines = 1000;
  REQUIRE(log.OpenFile(path, kBound).ok());
  for (int i = 0; i < kLines; ++i) {
    log.Write(LogLevel::kInfo, "line_" + std::to_string(i));
    CHECK(Bytes(path) < kBound + 100);  // a line
  }
  std::vector<std::string> kept = Events(path + ".1");
  for (const std::string& event : Events(path)) kept.push_back(event);
  REQUIRE(Bytes(path + ".1") >= kBound);
  REQUIRE(Bytes(path + ".1") < kBound + 100);
  const int first = kLines - static_cast<int>(kept.size());
  for (size_t i = 0; i < kept.size(); ++i)
    CHECK(kept[i] == "line_" + std::to_string(first + static_cast<int>(i)));
  CHECK(std::distance(std::filesystem::directory_iterator(directory.root()),
                      std::filesystem::directory_iterator()) == 2);
  for (const std::string& each : {path, path + ".1"}) {
    struct stat info {};
    REQUIRE(stat(each.c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0600);
  }
}

TEST_CASE("a log that was full at its start goes on in a new file") {
  const Scratch directory;
  FakeClock clock;
  const std::string path = directory.path("test.log");
  for (const char* event : {"before", "after"}) {
    Log log("test", clock);
    REQUIRE(log.OpenFile(path, 10).ok());
    log.Write(LogLevel::kInfo, event);
  }
  CHECK(Events(path + ".1") == std::vector<std::string>{"before"});
  CHECK(Events(path) == std::vector<std::string>{"after"});
}

TEST_CASE("threads and processes share a log: none of their lines is lost where the file changes") {
  const Scratch directory;
  FakeClock clock;
  const std::string path = directory.path("test.log");
  constexpr int kThreads = 4;
  constexpr int kLines = 500;
  Log measure("test", clock);
  REQUIRE(measure.OpenFile(directory.path("measure")).ok());
  measure.Write(LogLevel::kInfo, "line", {{"number", "1000"}});
  const int64_t all = 2 * kThreads * kLines * Bytes(directory.path("measure"));
  // Two that know nothing of each other, as those of two processes; the file changes once.
  std::vector<std::unique_ptr<Log>> logs;
  for (int i = 0; i < 2; ++i) {
    logs.push_back(std::make_unique<Log>("test", clock));
    REQUIRE(logs.back()->OpenFile(path, all * 6 / 10).ok());
  }
  std::vector<std::thread> threads;
  for (int i = 0; i < 2 * kThreads; ++i) {
    threads.emplace_back([i, &log = *logs[static_cast<size_t>(i % 2)]] {
      for (int line = 0; line < kLines; ++line)
        log.Write(LogLevel::kInfo, "line", {{"number", std::to_string(1000 + i * kLines + line)}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::map<std::string, int> found;
  for (const std::string& each : {path, path + ".1"}) {
    REQUIRE(Bytes(each) > 0);
    std::ifstream file(each);
    std::string line;
    while (std::getline(file, line)) ++found[nlohmann::json::parse(line)["number"].get<std::string>()];
  }
  CHECK(found.size() == size_t{2 * kThreads * kLines});
  for (const auto& [number, times] : found) {
    INFO(number);
    CHECK(times == 1);
  }
}

TEST_CASE("a line of one that was silent while the file changed twice is in the file of today") {
  const Scratch directory;
  FakeClock clock;
  const std::string path = directory.path("test.log");
  Log silent("test", clock);
  Log busy("test", clock);
  REQUIRE(silent.OpenFile(path, 300).ok());
  REQUIRE(busy.OpenFile(path, 300).ok());
  silent.Write(LogLevel::kInfo, "early");
  for (int i = 0; i < 20; ++i) busy.Write(LogLevel::kInfo, "busy");
  silent.Write(LogLevel::kInfo, "late");
  const std::vector<std::string> events = Events(path);
  REQUIRE(!events.empty());
  CHECK(events.back() == "late");
  // And the file goes on changing.
  for (int i = 0; i < 20; ++i) busy.Write(LogLevel::kInfo, "busy");
  CHECK(Bytes(path) < 400);
  for (int i = 0; i < 20; ++i) silent.Write(LogLevel::kInfo, "loud");
  CHECK(Bytes(path) < 400);
}

}  // namespace
}  // namespace rung
