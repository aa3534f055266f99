#include "coordinator/state_directory.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <string>

#include "base/file.h"
#include "base/status.h"
#include "tests/scratch.h"

namespace rung {
namespace {

namespace fs = std::filesystem;

struct Place {
  const Scratch parent;
  const StateDir dir{parent.path("state")};
};

int ModeOf(const std::string& path) {
  struct stat info {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  return static_cast<int>(info.st_mode & 0777);
}

std::string CodeOf(const absl::Status& status) {
  const auto detail = GetErrorDetail(status);
  return detail.has_value() ? detail->code : "";
}

TEST_CASE("a new state directory is closed to others, and so is one that was made by hand") {
  Place place;
  const std::string before = GENERATE("nothing", "empty", "with its site's settings", "with a nonce");
  INFO(before);
  if (before != "nothing") {
    fs::create_directory(place.dir.root);
    REQUIRE(chmod(place.dir.root.c_str(), 0777) == 0);
  }
  if (before == "with its site's settings")
    REQUIRE(WriteFileAtomic(place.dir.root + "/cluster.env", "ACCOUNT=a\n").ok());
  if (before == "with a nonce") REQUIRE(WriteFileAtomic(place.dir.nonce(), "1\n").ok());
  REQUIRE(PrepareStateDirectory(place.dir).ok());
  CHECK(ModeOf(place.dir.root) == 0700);
  CHECK(ModeOf(place.dir.lock_directory()) == 0700);
}

TEST_CASE("a directory of something else is neither closed nor filled") {
  Place place;
  fs::create_directory(place.dir.root);
  REQUIRE(WriteFileAtomic(place.dir.root + "/thesis.tex", "x").ok());
  REQUIRE(chmod(place.dir.root.c_str(), 0755) == 0);
  CHECK(CodeOf(PrepareStateDirectory(place.dir).status()) == "E0674");
  CHECK(ModeOf(place.dir.root) == 0755);
  CHECK_FALSE(fs::exists(place.dir.nonce()));
}

TEST_CASE("a link inside the state directory is refused, and what it points to is left alone") {
  Place place;
  REQUIRE(PrepareStateDirectory(place.dir).ok());
  const std::string victim = place.parent.path("victim");
  fs::create_directory(victim);
  REQUIRE(chmod(victim.c_str(), 0755) == 0);
  fs::remove(place.dir.lock_directory());
  fs::create_directory_symlink(victim, place.dir.lock_directory());
  CHECK(CodeOf(PrepareStateDirectory(place.dir).status()) == "E0674");
  CHECK(ModeOf(victim) == 0755);
}

TEST_CASE("a state directory may be reached over a link") {
  Place place;
  fs::create_directory(place.parent.path("disk"));
  fs::create_directory_symlink(place.parent.path("disk"), place.parent.path("home"));
  const StateDir dir{place.parent.path("home/state")};
  REQUIRE(PrepareStateDirectory(dir).ok());
  const StateDir link{place.parent.path("link")};
  fs::create_directory_symlink(place.parent.path("disk/state"), link.root);
  CHECK(PrepareStateDirectory(link)->nonce == PrepareStateDirectory(dir)->nonce);
}

TEST_CASE("what killed writers left is removed after an hour") {
  Place place;
  REQUIRE(PrepareStateDirectory(place.dir).ok());
  const std::string old = place.dir.token("admin") + ".aaaaaa.tmp",
                    young = place.dir.status() + ".bbbbbb.tmp";
  for (const std::string& path : {old, young}) REQUIRE(WriteFileAtomic(path, "left").ok());
  fs::last_write_time(old, fs::file_time_type::clock::now() - std::chrono::hours(2));
  fs::last_write_time(place.dir.token("admin"), fs::file_time_type::clock::now() - std::chrono::hours(2));
  const std::string theirs = place.dir.root + "/thesis.tmp";  // of a person whose directory it is
  REQUIRE(WriteFileAtomic(theirs, "kept").ok());
  fs::last_write_time(theirs, fs::file_time_type::clock::now() - std::chrono::hours(2));
  RemoveOldTemporaries(place.dir);
  CHECK(fs::exists(theirs));
  CHECK_FALSE(fs::exists(old));
  CHECK(fs::exists(young));
  CHECK(fs::exists(place.dir.token("admin")));
}

TEST_CASE("studies without their database are not overwritten by a new one") {
  Place place;
  REQUIRE(PrepareStateDirectory(place.dir).ok());
  CHECK(CheckDatabaseThere(place.dir, place.dir.database()).ok());  // a new directory
  REQUIRE(PrepareStudyDirectory(place.dir, 1, "{}").ok());
  CHECK(CodeOf(CheckDatabaseThere(place.dir, place.dir.database())) == "E0507");
  REQUIRE(WriteFileAtomic(place.dir.database(), "").ok());
  CHECK(CodeOf(CheckDatabaseThere(place.dir, place.dir.database())) == "E0507");
  REQUIRE(WriteFileAtomic(place.dir.database(), "pages").ok());
  CHECK(CheckDatabaseThere(place.dir, place.dir.database()).ok());
}

}  // namespace
}  // namespace rung
