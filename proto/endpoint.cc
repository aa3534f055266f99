#include "proto/endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <filesystem>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"
#include "proto/message_limits.h"
#include "proto/process_identity.h"

namespace rung {
namespace {

constexpr int64_t kMaxEndpointBytes = 64 * 1024;
constexpr int kKeepAliveMs = 20'000;
constexpr int kKeepAliveTimeoutMs = 10'000;
constexpr int kMinBackoffMs = 100;
constexpr int kMaxBackoffMs = 3'000;
constexpr int kConnectPatienceMs = 8'000;  // TCP and TLS handshakes over a slow link

std::string JobPath(int64_t trial, int rung, int replicate, int64_t attempt) {
  return absl::StrFormat("%d/%d/%d/%d", trial, rung, replicate, attempt);
}

absl::Status SocketError(const std::string& path, const std::string& problem) {
  return MakeError(absl::StatusCode::kPermissionDenied,
                   {"E0670", absl::StrFormat("the directory for the socket is not safe: %s", problem), path,
                    path, "Remove it, or set XDG_RUNTIME_DIR to a private directory of yours"});
}

// A directory of ours that nobody else can enter.
absl::Status CheckPrivateDirectory(const std::string& path) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) return SocketError(path, strerror(errno));
  if (S_ISLNK(info.st_mode)) return SocketError(path, "it is a symbolic link");
  if (!S_ISDIR(info.st_mode)) return SocketError(path, "it is not a directory");
  if (info.st_uid != geteuid())
    return SocketError(path, absl::StrFormat("it belongs to user %d", info.st_uid));
  if ((info.st_mode & 077) != 0)
    return SocketError(path, absl::StrFormat("its mode is %04o", info.st_mode & 07777));
  return absl::OkStatus();
}

// Where another user of this host took the usual name first: one that nobody can foresee, written down in the
// state directory `root`, so that all its programs find it. Empty: there is none.
std::string OwnSocketDirectory(const std::string& root) {
  if (!CheckPrivateDirectory(root).ok()) return "";
  const std::string record = root + "/socket-directory";
  absl::StatusOr<std::string> kept = ReadFile(record, kMaxEndpointBytes);
  if (kept.ok() && CheckPrivateDirectory(*kept).ok()) return *std::move(kept);
  std::string made = "/tmp/rung-XXXXXX";
  if (mkdtemp(made.data()) == nullptr) return "";
  if (WriteFileAtomic(record, made).ok()) return made;
  rmdir(made.c_str());
  return "";
}

bool IsOwnDirectory(const std::string& path) {
  struct stat info {};
  return !path.empty() && stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == geteuid();
}

absl::Status EndpointError(absl::StatusCode code, const std::string& path, const std::string& problem) {
  return MakeError(code,
                   {"E0612", absl::StrFormat("endpoint.json is not an endpoint file: %s", problem), path, "",
                    "Start a coordinator, which writes it anew: rung serve, or rung run STUDY.json"});
}

grpc::ChannelArguments Arguments() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxReplyBytes);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepAliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepAliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kMinBackoffMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectPatienceMs);  // despite its name
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxBackoffMs);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // a cluster's web proxy is not for us
  return arguments;
}

absl::Status TokenError(const std::string& path, const std::string& problem) {
  return MakeError(
      absl::StatusCode::kPermissionDenied,
      {"E0671", absl::StrFormat("the token file is not safe to use: %s", problem), path, "",
       "Make it yours with mode 0600, or remove the directory tokens/ and restart the coordinator"});
}

}  // namespace

std::string StateDir::checkpoints(int64_t study_id, int64_t trial, int rung, int replicate,
                                  int64_t attempt) const {
  return study(study_id) + "/checkpoints/" + JobPath(trial, rung, replicate, attempt);
}

std::string StateDir::outputs(int64_t study_id, int64_t trial, int rung, int replicate, bool evaluate,
                              int64_t attempt) const {
  if (!evaluate) return study(study_id) + "/outputs/" + JobPath(trial, rung, replicate, attempt);
  return absl::StrFormat("%s/outputs/%d/%d/%d/evaluate/%d", study(study_id), trial, rung, replicate, attempt);
}

std::string StateDir::attempt_log(int64_t study_id, int64_t trial, int rung, int replicate, bool evaluate,
                                  int64_t attempt) const {
  return absl::StrFormat("%s/logs/%d-%d-%d-%s%d.log", study(study_id), trial, rung, replicate,
                         evaluate ? "e" : "", attempt);
}

std::optional<StateDir> FindStateDir(const std::string& dir_flag) {
  if (!dir_flag.empty()) return StateDir{AbsolutePath(dir_flag)};
  if (const char* value = getenv("RUNG_DIR"); value != nullptr && *value != '\0')
    return StateDir{AbsolutePath(value)};
  std::error_code error;
  std::filesystem::path directory = std::filesystem::current_path(error);
  while (!error && !directory.empty()) {
    // One that belongs to somebody else in a shared parent could hand our tokens to its owner.
    if (IsOwnDirectory((directory / ".rung").string())) return StateDir{(directory / ".rung").string()};
    error.clear();
    if (directory == directory.root_path()) break;
    directory = directory.parent_path();
  }
  return std::nullopt;
}

absl::StatusOr<std::string> SocketPath(const StateDir& dir) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::weakly_canonical(dir.root, error);
  const std::string name = Sha256Hex(error ? dir.root : real.string()).substr(0, 12) + ".sock";
  const char* runtime = getenv("XDG_RUNTIME_DIR");
  std::string parent = runtime == nullptr ? "" : std::string(runtime);
  const bool fits = parent.size() + name.size() + 8 < sizeof(sockaddr_un::sun_path);
  parent = IsOwnDirectory(parent) && fits ? parent + "/rung" : absl::StrFormat("/tmp/rung-%d", geteuid());
  const bool made = mkdir(parent.c_str(), 0700) == 0 || errno == EEXIST;
  absl::Status safe = made ? CheckPrivateDirectory(parent) : SocketError(parent, strerror(errno));
  if (safe.ok()) return parent + "/" + name;
  const std::string own = OwnSocketDirectory(error ? dir.root : real.string());
  if (own.empty()) return safe;
  return own + "/" + name;
}

absl::Status WriteEndpoint(const StateDir& dir, const Endpoint& endpoint) {
  nlohmann::ordered_json json;
  json["protocol"] = endpoint.protocol;
  json["term"] = endpoint.term;
  json["pid"] = endpoint.pid;
  json["process_start_time"] = endpoint.process_start_time;
  json["boot_id"] = endpoint.boot_id;
  json["host"] = endpoint.host;
  json["unix"] = endpoint.unix_path;
  json["tcp"] = endpoint.tcp;
  json["metrics"] = endpoint.metrics;
  json["ca_sha256"] = endpoint.ca_sha256;
  json["started_at"] = endpoint.started_at;
  return WriteFileAtomic(dir.endpoint(), json.dump(2) + "\n");
}

absl::StatusOr<Endpoint> ReadEndpoint(const StateDir& dir) {
  const absl::StatusOr<std::string> text = ReadFile(dir.endpoint(), kMaxEndpointBytes);
  if (absl::IsNotFound(text.status())) {
    return MakeError(absl::StatusCode::kNotFound,
                     {"E0611", "no coordinator has been started for this directory", dir.root, "",
                      "Start one with: rung serve, or rung run STUDY.json"});
  }
  RUNG_RETURN_IF_ERROR(text.status());
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  // Whoever looks for a coordinator finds none: the next one that starts writes the file anew.
  const auto damaged = [&dir](const std::string& problem) {
    return EndpointError(absl::StatusCode::kNotFound, dir.endpoint(), problem);
  };
  if (!json.is_object()) return damaged("it is not a JSON object");
  Endpoint endpoint;
  bool good = true;
  const auto number = [&](const char* key) -> int64_t {
    const auto found = json.find(key);
    good = good && found != json.end() && found->is_number_integer();
    return good ? found->get<int64_t>() : 0;
  };
  const auto string = [&](const char* key) -> std::string {
    const auto found = json.find(key);
    good = good && found != json.end() && found->is_string();
    return good ? found->get<std::string>() : "";
  };
  endpoint.protocol = static_cast<int>(number("protocol"));
  endpoint.term = number("term");
  endpoint.pid = number("pid");
  endpoint.process_start_time = number("process_start_time");
  endpoint.boot_id = string("boot_id");
  endpoint.host = string("host");
  endpoint.unix_path = string("unix");
  endpoint.tcp = string("tcp");
  endpoint.ca_sha256 = string("ca_sha256");
  endpoint.started_at = string("started_at");
  if (const auto found = json.find("metrics"); found != json.end() && found->is_string())
    endpoint.metrics = found->get<std::string>();  // an older coordinator has none
  if (!good) return damaged("a key is missing or has another type");
  return endpoint;
}

bool ProvedDead(const Endpoint& endpoint) {
  return ProvedDead(
      ProcessIdentity{endpoint.host, endpoint.boot_id, endpoint.pid, endpoint.process_start_time});
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> Connect(const StateDir& dir, const Endpoint& endpoint) {
  const ProcessIdentity self = ThisProcess();
  const bool here = self.host == endpoint.host && self.boot_id == endpoint.boot_id;
  const bool seen = access(endpoint.unix_path.c_str(), F_OK) == 0;  // what cleans /tmp may have removed it
  if (endpoint.tcp.empty() ? here || seen : here && seen) {
    // Whoever can write there could listen in its place, and would be sent the token.
    RUNG_RETURN_IF_ERROR(
        CheckPrivateDirectory(std::filesystem::path(endpoint.unix_path).parent_path().string()));
    return grpc::CreateCustomChannel("unix:" + endpoint.unix_path, grpc::InsecureChannelCredentials(),
                                     Arguments());
  }
  if (endpoint.tcp.empty()) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition,
        {"E0613", absl::StrFormat("the coordinator on %s listens on its Unix socket only", endpoint.host),
         dir.endpoint(), endpoint.host, "Start it with --listen auto, or work on that host"});
  }
  if (endpoint.ca_sha256.empty()) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition,
        {"E0678", absl::StrFormat("the coordinator on %s would be spoken to in plaintext", endpoint.host),
         dir.endpoint(), endpoint.tcp, "Start it again: rung serve --listen auto gives it a certificate"});
  }
  RUNG_ASSIGN_OR_RETURN(const std::string authority, ReadFile(dir.tls() + "/ca.pem", kMaxEndpointBytes));
  if (Sha256Hex(authority) != endpoint.ca_sha256) {
    return EndpointError(absl::StatusCode::kInvalidArgument, dir.endpoint(),
                         "ca_sha256 is not the hash of tls/ca.pem");
  }
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = authority;
  return grpc::CreateCustomChannel(endpoint.tcp, grpc::SslCredentials(options), Arguments());
}

absl::StatusOr<std::string> ReadToken(const StateDir& dir, const std::string& role) {
  const std::string path = dir.token(role);
  struct stat directory {};
  if (lstat((dir.root + "/tokens").c_str(), &directory) == 0 &&
      (!S_ISDIR(directory.st_mode) || directory.st_uid != geteuid())) {
    return TokenError(path, "tokens/ is a symbolic link or belongs to another user");
  }
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (file.get() < 0 && errno == ENOENT) {
    return MakeError(absl::StatusCode::kNotFound,
                     {"E0611", absl::StrFormat("there is no %s token", role), path, "",
                      "Start a coordinator with: rung serve, or rung run STUDY.json"});
  }
  if (file.get() < 0) return TokenError(path, strerror(errno));
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return TokenError(path, strerror(errno));
  if (!S_ISREG(info.st_mode)) return TokenError(path, "it is not a regular file");
  if (info.st_uid != geteuid())
    return TokenError(path, absl::StrFormat("it belongs to user %d", info.st_uid));
  if ((info.st_mode & 077) != 0)
    return TokenError(path, absl::StrFormat("its mode is %04o", info.st_mode & 07777));
  std::array<char, 129> buffer{};
  const ssize_t size = read(file.get(), buffer.data(), buffer.size() - 1);
  std::string token(buffer.data(), size > 0 ? static_cast<size_t>(size) : 0);
  while (!token.empty() && token.back() == '\n') token.pop_back();
  if (token.size() != 64 || token.find_first_not_of("0123456789abcdef") != std::string::npos) {
    return TokenError(path, "it does not hold 64 hexadecimal digits");
  }
  return token;
}

void Authorize(grpc::ClientContext& context, const std::string& token) {
  context.AddMetadata("authorization", "Bearer " + token);
}

}  // namespace rung
