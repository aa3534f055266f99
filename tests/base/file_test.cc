#include "base/file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include <catch2/catch.hpp>

namespace rung {
namespace {

std::string TestDirectory() {
  std::string pattern = "/tmp/rung-file-test-XXXXXX";
  return mkdtemp(pattern.data());
}

TEST_CASE("a file is written whole, privately, and read back") {
  const std::string directory = TestDirectory();
  const std::string path = directory + "/a";
  REQUIRE(WriteFileAtomic(path, "one").ok());
  REQUIRE(WriteFileAtomic(path, "two").ok());
  CHECK(*ReadFile(path) == "two");
  struct stat info {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  CHECK(std::distance(std::filesystem::directory_iterator(directory),
                      std::filesystem::directory_iterator()) == 1);
  std::filesystem::remove_all(directory);
}

TEST_CASE("what a killed writer left behind is not written through") {
  const std::string directory = TestDirectory();
  const std::string path = directory + "/a";
  REQUIRE(WriteFileAtomic(directory + "/victim", "untouched").ok());
  // The name that a process of this number would take, if numbers were all there is to it.
  const std::string left = path + "." + std::to_string(getpid()) + ".tmp";
  std::filesystem::create_symlink(directory + "/victim", left);
  REQUIRE(WriteFileAtomic(path, "new").ok());
  CHECK(*ReadFile(path) == "new");
  CHECK(*ReadFile(directory + "/victim") == "untouched");
  std::filesystem::remove(left);
  std::filesystem::create_hard_link(directory + "/victim", left);
  REQUIRE(WriteFileAtomic(path, "newer").ok());
  CHECK(*ReadFile(directory + "/victim") == "untouched");
  std::filesystem::remove_all(directory);
}

TEST_CASE("a file that is written once keeps the first bytes and leaves nothing else behind") {
  const std::string directory = TestDirectory();
  REQUIRE(WriteFileOnce(directory + "/a", "one").ok());
  REQUIRE(WriteFileOnce(directory + "/a", "two").ok());
  CHECK(*ReadFile(directory + "/a") == "one");
  CHECK(std::distance(std::filesystem::directory_iterator(directory),
                      std::filesystem::directory_iterator()) == 1);
  CHECK(absl::IsNotFound(WriteFileOnce(directory + "/none/a", "x")));
  std::filesystem::remove_all(directory);
}

TEST_CASE("missing and too large files are told apart") {
  const std::string directory = TestDirectory();
  CHECK(ReadFile(directory + "/none").status().code() == absl::StatusCode::kNotFound);
  REQUIRE(WriteFileAtomic(directory + "/a", std::string(100, 'x')).ok());
  CHECK(ReadFile(directory + "/a", 10).status().code() == absl::StatusCode::kResourceExhausted);
  std::filesystem::remove_all(directory);
}

TEST_CASE("sha256 of a known text") {
  CHECK(Sha256Hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("paths become absolute and lose their dots") {
  CHECK(AbsolutePath("../b/./c", "/a/x") == "/a/b/c");
  CHECK(AbsolutePath("/a//b/", "/x") == "/a/b");
}

}  // namespace
}  // namespace rung
