#include "proto/endpoint.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>

#include <catch2/catch.hpp>

#include "base/file.h"
#include "base/status.h"
#include "proto/process_identity.h"
#include "tests/scratch.h"

namespace rung {
namespace {

std::string CodeOf(const absl::Status& status) {
  const auto detail = GetErrorDetail(status);
  return detail.has_value() ? detail->code : "";
}

TEST_CASE("a socket's path is short whatever the state directory's is, and differs by directory") {
  const std::string deep = "/tmp/" + std::string(150, 'd');
  const auto first = SocketPath({deep + "/a"});
  const auto second = SocketPath({deep + "/b"});
  REQUIRE(first.ok());
  REQUIRE(second.ok());
  CHECK(first->size() < 100);
  CHECK(*first != *second);
  struct stat info {};
  REQUIRE(stat(std::filesystem::path(*first).parent_path().c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0700);
}

// $XDG_RUNTIME_DIR for the length of a test.
class RuntimeDirectory {
 public:
  explicit RuntimeDirectory(const std::string& path) {
    if (const char* before = getenv("XDG_RUNTIME_DIR"); before != nullptr) before_ = before;
    setenv("XDG_RUNTIME_DIR", path.c_str(), 1);
  }
  ~RuntimeDirectory() {
    if (before_.has_value()) {
      setenv("XDG_RUNTIME_DIR", before_->c_str(), 1);
    } else {
      unsetenv("XDG_RUNTIME_DIR");
    }
  }
  RuntimeDirectory(const RuntimeDirectory&) = delete;
  RuntimeDirectory& operator=(const RuntimeDirectory&) = delete;

 private:
  std::optional<std::string> before_;
};

TEST_CASE("a socket directory that is a symbolic link is not used") {
  const Scratch scratch;
  std::filesystem::create_directory(scratch.path("elsewhere"));
  std::filesystem::create_directory(scratch.path("run"));
  std::filesystem::create_symlink(scratch.path("elsewhere"), scratch.path("run/rung"));
  const RuntimeDirectory runtime(scratch.path("run"));
  CHECK(CodeOf(SocketPath({"/x"}).status()) == "E0670");  // no state directory that could name another

  const StateDir dir{scratch.path("state")};
  std::filesystem::create_directory(dir.root);
  REQUIRE(chmod(dir.root.c_str(), 0755) == 0);
  CHECK(CodeOf(SocketPath(dir).status()) == "E0670");  // others could change the name
  REQUIRE(chmod(dir.root.c_str(), 0700) == 0);
  const auto socket = SocketPath(dir);
  REQUIRE(socket.ok());
  CHECK(*SocketPath(dir) == *socket);
  CHECK(std::filesystem::is_empty(scratch.path("elsewhere")));
  const std::string own = std::filesystem::path(*socket).parent_path().string();
  struct stat info {};
  REQUIRE(stat(own.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0700);

  std::filesystem::remove(own);
  std::filesystem::create_symlink(scratch.path("elsewhere"), own);  // taken by others meanwhile
  const auto another = SocketPath(dir);
  REQUIRE(another.ok());
  CHECK(*another != *socket);
  std::filesystem::remove(own);
  std::filesystem::remove(std::filesystem::path(*another).parent_path());
}

TEST_CASE("an endpoint is read as it was written; no coordinator and rubbish are told apart") {
  const Scratch scratch;
  const StateDir dir{scratch.root()};
  CHECK(CodeOf(ReadEndpoint(dir).status()) == "E0611");
  const ProcessIdentity self = ThisProcess();
  Endpoint endpoint;
  endpoint.term = 7;
  endpoint.pid = self.pid;
  endpoint.process_start_time = self.start_time;
  endpoint.boot_id = self.boot_id;
  endpoint.host = self.host;
  endpoint.unix_path = "/run/x";
  REQUIRE(WriteEndpoint(dir, endpoint).ok());
  const auto read = ReadEndpoint(dir);
  REQUIRE(read.ok());
  CHECK(read->term == 7);
  CHECK(read->unix_path == "/run/x");
  CHECK_FALSE(ProvedDead(*read));
  endpoint.process_start_time = self.start_time + 1;  // the pid was given to another process
  CHECK(ProvedDead(endpoint));
  endpoint.boot_id = "another boot";
  CHECK_FALSE(ProvedDead(endpoint));
  REQUIRE(WriteFileAtomic(dir.endpoint(), "{\"term\": \"x\"").ok());
  const absl::Status damaged = ReadEndpoint(dir).status();
  CHECK(CodeOf(damaged) == "E0612");
  CHECK(absl::IsNotFound(damaged));  // a command starts a coordinator, as if there were no file
}

TEST_CASE("a token that others can read is refused") {
  const Scratch scratch;
  const StateDir dir{scratch.root()};
  REQUIRE(MakeDirectories(scratch.path("tokens")).ok());
  REQUIRE(WriteFileAtomic(dir.token("worker"), std::string(64, 'a') + "\n").ok());
  const auto token = ReadToken(dir, "worker");
  REQUIRE(token.ok());
  CHECK(*token == std::string(64, 'a'));
  REQUIRE(chmod(dir.token("worker").c_str(), 0644) == 0);
  CHECK(CodeOf(ReadToken(dir, "worker").status()) == "E0671");
  std::filesystem::remove(dir.token("worker"));
  std::filesystem::create_symlink("/etc/hostname", dir.token("worker"));
  CHECK_FALSE(ReadToken(dir, "worker").ok());
  std::filesystem::rename(scratch.path("tokens"), scratch.path("elsewhere"));
  std::filesystem::create_directory_symlink(scratch.path("elsewhere"), scratch.path("tokens"));
  CHECK(CodeOf(ReadToken(dir, "worker").status()) == "E0671");
}

TEST_CASE("another host's coordinator without a certificate is not spoken to") {
  const Scratch scratch;
  Endpoint endpoint;
  endpoint.host = "elsewhere";
  endpoint.boot_id = "another";
  endpoint.tcp = "127.0.0.1:1";
  const absl::Status refused = Connect({scratch.root()}, endpoint).status();
  CHECK(CodeOf(refused) == "E0678");
  CHECK(ExitCode(refused) == 78);
}

TEST_CASE("a coordinator on this host whose socket is gone is reached as from another host") {
  const Scratch scratch;
  const ProcessIdentity self = ThisProcess();
  Endpoint endpoint;
  endpoint.host = self.host;
  endpoint.boot_id = self.boot_id;
  endpoint.unix_path = scratch.path("x.sock");
  endpoint.tcp = "127.0.0.1:1";
  REQUIRE(WriteFileAtomic(endpoint.unix_path, "").ok());
  CHECK(Connect({scratch.root()}, endpoint).ok());
  std::filesystem::remove(endpoint.unix_path);
  CHECK(CodeOf(Connect({scratch.root()}, endpoint).status()) == "E0678");  // by TCP, so with a certificate
}

TEST_CASE("no token goes to a socket in a directory that others can write to") {
  const Scratch scratch;
  const StateDir dir{scratch.root()};
  const ProcessIdentity self = ThisProcess();
  Endpoint endpoint;
  endpoint.host = self.host;
  endpoint.boot_id = self.boot_id;
  std::filesystem::create_directory(scratch.path("open"));
  chmod(scratch.path("open").c_str(), 0777);
  endpoint.unix_path = scratch.path("open/x.sock");
  CHECK(CodeOf(Connect(dir, endpoint).status()) == "E0670");
  chmod(scratch.path("open").c_str(), 0700);
  CHECK(Connect(dir, endpoint).ok());
}

}  // namespace
}  // namespace rung
