// A directory of its own for a test.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "base/check.h"
#include "base/file.h"

namespace rung {

class Scratch {
 public:
  Scratch() {
    std::string pattern = "/tmp/rung-test-XXXXXX";
    RUNG_CHECK(mkdtemp(pattern.data()) != nullptr, "/tmp is writable");
    root_ = pattern;
  }
  ~Scratch() { std::filesystem::remove_all(root_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  const std::string& root() const { return root_; }
  std::string path(const std::string& name) const { return root_ + "/" + name; }

  // An executable script; returns its path.
  std::string Script(const std::string& name, const std::string& text) const {
    RUNG_CHECK(WriteFileAtomic(path(name), text, 0700).ok(), "a script is written");
    return path(name);
  }

 private:
  std::string root_;
};

}  // namespace rung
