#include "base/file.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include <catch2/catch.hpp>

#include "base/status.h"
#include "tests/scratch.h"

namespace rung {
namespace {

TEST_CASE("a file is written whole, privately, and read back") {
  const Scratch directory;
  const std::string path = directory.path("a");
  REQUIRE(WriteFileAtomic(path, "one").ok());
  REQUIRE(WriteFileAtomic(path, "two").ok());
  CHECK(*ReadFile(path) == "two");
  struct stat info {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  CHECK(std::distance(std::filesystem::directory_iterator(directory.root()),
                      std::filesystem::directory_iterator()) == 1);
}

TEST_CASE("a file beyond the limit is refused before it is read") {
  const Scratch directory;
  const std::string path = directory.path("huge");
  REQUIRE(WriteFileAtomic(path, "x").ok());
  std::filesystem::resize_file(path, uintmax_t{1} << 40);  // sparse; to read it would take an hour
  CHECK(ReadFile(path, 1000).status().code() == absl::StatusCode::kResourceExhausted);
}

TEST_CASE("a file that cannot be written has one error, whoever writes it") {
  const absl::Status full = WriteError("a/b", ENOSPC);
  CHECK(full.code() == absl::StatusCode::kResourceExhausted);
  CHECK(GetErrorDetail(full)->code == "E0603");
  CHECK(GetErrorDetail(full)->where == "a/b");
  CHECK(GetErrorDetail(full)->mend.find("space") != std::string::npos);
  CHECK(GetErrorDetail(WriteError("a/b", ENOTDIR))->mend.find("is a file") != std::string::npos);
  CHECK(GetErrorDetail(WriteError("a/b", EMFILE))->mend.find("ulimit -n") != std::string::npos);
  CHECK(WriteFileAtomic("/none/of/these", "").code() == WriteError("", ENOENT).code());
}

TEST_CASE("what a killed writer left behind is not written through") {
  const Scratch directory;
  const std::string path = directory.path("a");
  REQUIRE(WriteFileAtomic(directory.path("victim"), "untouched").ok());
  // The name that a process of this number would take, if numbers were all there is to it.
  const std::string left = path + "." + std::to_string(getpid()) + ".tmp";
  std::filesystem::create_symlink(directory.path("victim"), left);
  REQUIRE(WriteFileAtomic(path, "new").ok());
  CHECK(*ReadFile(path) == "new");
  CHECK(*ReadFile(directory.path("victim")) == "untouched");
  std::filesystem::remove(left);
  std::filesystem::create_hard_link(directory.path("victim"), left);
  REQUIRE(WriteFileAtomic(path, "newer").ok());
  CHECK(*ReadFile(directory.path("victim")) == "untouched");
}

TEST_CASE("a file that is written once keeps the first bytes and leaves nothing else behind") {
  const Scratch directory;
  REQUIRE(WriteFileOnce(directory.path("a"), "one").ok());
  REQUIRE(WriteFileOnce(directory.path("a"), "two").ok());
  CHECK(*ReadFile(directory.path("a")) == "one");
  CHECK(std::distance(std::filesystem::directory_iterator(directory.root()),
                      std::filesystem::directory_iterator()) == 1);
  CHECK(absl::IsNotFound(WriteFileOnce(directory.path("none/a"), "x")));
}

TEST_CASE("missing and too large files are told apart") {
  const Scratch directory;
  CHECK(ReadFile(directory.path("none")).status().code() == absl::StatusCode::kNotFound);
  REQUIRE(WriteFileAtomic(directory.path("a"), std::string(100, 'x')).ok());
  CHECK(ReadFile(directory.path("a"), 10).status().code() == absl::StatusCode::kResourceExhausted);
}

TEST_CASE("what may never end is not read") {
  const Scratch directory;
  REQUIRE(mkfifo(directory.path("fifo").c_str(), 0600) == 0);
  for (const std::string& path : {directory.path("fifo"), std::string("/dev/zero")}) {
    CHECK(absl::IsInvalidArgument(ReadFile(path).status()));
    CHECK(absl::IsInvalidArgument(FileSha256Hex(path).status()));
  }
  CHECK_FALSE(ReadFile(directory.root()).ok());
}

TEST_CASE("sha256 of a known text") {
  CHECK(Sha256Hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("paths become absolute and lose their dots") {
  CHECK(AbsolutePath("../b/./c", "/a/x") == "/a/b/c");
  CHECK(AbsolutePath("/a//b/", "/x") == "/a/b");
}

TEST_CASE("network file systems are told from the disks of a host") {
  const std::pair<int64_t, const char*> table[] = {
      {0x6969, "NFS"},        {0x0BD00BD0, "Lustre"}, {0x47504653, "GPFS"},
      {0x19830326, "BeeGFS"}, {0x00C36400, "CephFS"}, {0x517B, "SMB"},
      {0xFF534D42, "SMB"},    {0xFE534D42, "SMB"},    {static_cast<int32_t>(0xFF534D42), "SMB"},
      {0x5346414F, "AFS"},    {0x6B414653, "AFS"},    {0xEF53, ""} /* ext4 */,
      {0x58465342, ""},       {0x9123683E, ""},       {0x01021994, ""} /* xfs, btrfs, tmpfs */,
      {0x794c7630, ""},       {0x2FC12FC1, ""},       {0, ""} /* overlay, zfs */};
  for (const auto& [type, name] : table) {
    INFO(std::hex << type);
    CHECK(NetworkFileSystem(type) == name);
  }
  CHECK(NetworkFileSystemAt("/proc").empty());
  CHECK(NetworkFileSystemAt("/none").empty());
}

}  // namespace
}  // namespace rung
