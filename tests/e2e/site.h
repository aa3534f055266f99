// One study in a directory of its own, run by the real programs with the trainer of trainer.py.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/e2e/process.h"

namespace rung {

// A line of the trace that trainer.py writes.
struct TraceLine {
  std::string event;  // start | step | released | end | frozen
  int64_t trial = 0;
  int rung = 0;
  int64_t attempt = 0;
  int step = 0;
  pid_t pid = 0;
  pid_t parent = 0;  // its worker
};

class Site {
 public:
  // A hyperband study of one bracket: 9 trials to budget 1, 3 to 3, 1 to 9, four steps a unit. `changes` is a
  // JSON merge patch.
  explicit Site(double step_seconds, const nlohmann::json& changes = nlohmann::json::object());
  // Any study; the function may write files into the directory.
  explicit Site(const std::function<nlohmann::json(const std::string& root)>& study);
  ~Site();
  Site(const Site&) = delete;
  Site& operator=(const Site&) = delete;

  const std::string& root() const { return root_; }
  std::string state_dir() const { return root_ + "/.rung"; }
  std::string oom_file() const { return root_ + "/take-memory"; }
  std::string freeze_file() const { return root_ + "/freeze"; }

  // `rung run study.json --workers N`.
  std::unique_ptr<Process> Run(int workers, const std::vector<std::string>& cgroups = {}) const;
  // A command of rung on this site's directory; its JSON. Fails the test if it ends otherwise than with 0.
  nlohmann::json Ask(const std::vector<std::string>& arguments) const;
  std::string Output() const;  // of the runs so far

  std::vector<TraceLine> Trace() const;
  // The first line that `fits`, waited for.
  template <typename Fits>
  std::optional<TraceLine> WaitForLine(double seconds, const Fits& fits) const {
    std::optional<TraceLine> found;
    WaitFor(seconds, [&] {
      for (const TraceLine& line : Trace()) {
        if (fits(line)) {
          found = line;
          return true;
        }
      }
      return false;
    });
    return found;
  }

  // What a finished study says, without what may differ between two runs: trial -> (state, config, rung ->
  // values).
  nlohmann::json Results() const;

 private:
  std::string root_;
};

}  // namespace rung
