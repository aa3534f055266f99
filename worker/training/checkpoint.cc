#include "worker/training/checkpoint.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"
#include "worker/text/json_file.h"

namespace rung {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kManifest[] = "manifest.json";
constexpr char kPrefix[] = "update-";
constexpr size_t kMaxWriteBytes = size_t{1} << 26;

absl::Status WriteFailure(const std::string& path, const std::string& reason) {
  return MakeError(absl::StatusCode::kUnavailable,
                   {.code = "E0754",
                    .message = "a checkpoint cannot be written",
                    .where = path,
                    .value = reason,
                    .mend = "Make room, or give the state directory another disk"});
}

// A file that is hashed while it is written.
class HashedFile {
 public:
  explicit HashedFile(std::string path)
      : path_(std::move(path)),
        descriptor_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)),
        digest_(EVP_MD_CTX_new()) {
    EVP_DigestInit_ex(digest_, EVP_sha256(), nullptr);
    if (descriptor_ < 0) reason_ = std::strerror(errno);
  }
  ~HashedFile() {
    EVP_MD_CTX_free(digest_);
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  HashedFile(const HashedFile&) = delete;
  HashedFile& operator=(const HashedFile&) = delete;

  void Append(const void* data, size_t size) {
    const char* at = static_cast<const char*>(data);
    EVP_DigestUpdate(digest_, data, size);
    bytes_ += static_cast<int64_t>(size);
    while (size > 0 && reason_.empty()) {
      const ssize_t written = ::write(descriptor_, at, std::min(size, kMaxWriteBytes));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) reason_ = std::strerror(errno);
      if (written <= 0) break;
      at += written;
      size -= static_cast<size_t>(written);
    }
  }

  // fsync; adds {"bytes", "sha256"} to the manifest.
  absl::Status Finish(json& files) {
    if (reason_.empty() && ::fsync(descriptor_) != 0) reason_ = std::strerror(errno);
    if (!reason_.empty()) return WriteFailure(path_, reason_);
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    EVP_DigestFinal_ex(digest_, hash, &length);
    std::string hex;
    for (unsigned int i = 0; i < length; ++i) hex += absl::StrFormat("%02x", hash[i]);
    files[fs::path(path_).filename().string()] = {{"bytes", bytes_}, {"sha256", hex}};
    return absl::OkStatus();
  }

 private:
  const std::string path_;
  int descriptor_;
  EVP_MD_CTX* digest_;
  int64_t bytes_ = 0;
  std::string reason_;
};

absl::Status WriteTensors(const std::string& path, const std::vector<StoredTensor>& tensors, json& files) {
  json header = json::object();
  header["__metadata__"] = {{"format", "pt"}};
  int64_t offset = 0;
  for (const StoredTensor& tensor : tensors) {
    header[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + tensor.bytes}}};
    offset += tensor.bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  HashedFile file(path);
  const uint64_t length = text.size();
  file.Append(&length, sizeof(length));
  file.Append(text.data(), text.size());
  for (const StoredTensor& tensor : tensors) file.Append(tensor.data, static_cast<size_t>(tensor.bytes));
  return file.Finish(files);
}

absl::Status WriteText(const std::string& path, const std::string& text, json& files) {
  HashedFile file(path);
  file.Append(text.data(), text.size());
  return file.Finish(files);
}

absl::Status SyncDirectory(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return WriteFailure(path, std::strerror(errno));
  const int result = ::fsync(descriptor);
  const std::string reason = result == 0 ? "" : std::strerror(errno);
  ::close(descriptor);
  return result == 0 ? absl::OkStatus() : WriteFailure(path, reason);
}

std::optional<int64_t> UpdateOf(const std::string& name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const std::string digits = name.substr(sizeof(kPrefix) - 1);
  if (digits.empty() || digits.size() > 12 || digits.find_first_not_of("0123456789") != std::string::npos) {
    return std::nullopt;
  }
  return std::stoll(digits);
}

// Newest first.
std::vector<FoundCheckpoint> ListCheckpoints(const std::string& directory) {
  std::vector<FoundCheckpoint> found;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    const std::optional<int64_t> update = UpdateOf(it->path().filename().string());
    if (update) found.push_back({it->path().string(), *update});
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.update > b.update; });
  return found;
}

// Empty if all files match.
std::string Mismatch(const std::string& checkpoint) {
  const absl::StatusOr<std::string> text = ReadFile(checkpoint + "/" + kManifest);
  if (!text.ok()) return "no manifest.json";
  const json manifest = ParseJson(*text);
  if (!manifest.is_object() || !manifest.contains("files") || !manifest["files"].is_object()) {
    return "manifest.json is broken";
  }
  for (const auto& [name, entry] : manifest["files"].items()) {
    const std::string path = checkpoint + "/" + name;
    std::error_code error;
    const uintmax_t size = fs::file_size(path, error);
    if (error) return name + " is missing";
    if (!entry.is_object() || entry.value("bytes", int64_t{-1}) != static_cast<int64_t>(size)) {
      return name + " has another size";
    }
    const absl::StatusOr<std::string> hash = FileSha256Hex(path);
    if (!hash.ok() || entry.value("sha256", std::string()) != *hash) return name + " has other bytes";
  }
  return "";
}

absl::Status WriteAll(const std::string& directory, const CheckpointContent& content) {
  json files = json::object();
  RUNG_RETURN_IF_ERROR(WriteTensors(directory + "/model.safetensors", content.model, files));
  if (!content.optimizer.empty()) {
    RUNG_RETURN_IF_ERROR(WriteTensors(directory + "/optimizer.safetensors", content.optimizer, files));
  }
  RUNG_RETURN_IF_ERROR(WriteText(directory + "/state.json", content.state.dump(1) + "\n", files));
  const json manifest = {{"update", content.update}, {"budget", content.budget}, {"files", files}};
  json unused = json::object();
  RUNG_RETURN_IF_ERROR(WriteText(directory + "/" + kManifest, manifest.dump(1) + "\n", unused));
  return SyncDirectory(directory);
}

}  // namespace

absl::Status WriteSafetensors(const std::string& path, const std::vector<StoredTensor>& tensors) {
  json files = json::object();
  return WriteTensors(path, tensors, files);
}

absl::StatusOr<std::string> WriteCheckpoint(const std::string& directory, const CheckpointContent& content,
                                            int keep) {
  const std::string name = absl::StrFormat("%s%08d", kPrefix, content.update);
  const std::string temporary = directory + "/." + name + ".partial";
  const std::string target = directory + "/" + name;
  std::error_code error;
  fs::remove_all(temporary, error);
  RUNG_RETURN_IF_ERROR(MakeDirectories(temporary));
  if (const absl::Status status = WriteAll(temporary, content); !status.ok()) {
    fs::remove_all(temporary, error);
    return status;
  }
  fs::remove_all(target, error);  // the same update, written by an earlier life of this attempt
  fs::rename(temporary, target, error);
  if (error) return WriteFailure(target, error.message());
  RUNG_RETURN_IF_ERROR(SyncDirectory(directory));
  const std::vector<FoundCheckpoint> all = ListCheckpoints(directory);
  for (size_t i = static_cast<size_t>(std::max(1, keep)); i < all.size(); ++i)
    fs::remove_all(all[i].path, error);
  return name;
}

std::optional<FoundCheckpoint> FindCheckpoint(const std::string& directory, int64_t at_most,
                                              std::vector<std::string>* rejected) {
  for (const FoundCheckpoint& candidate : ListCheckpoints(directory)) {
    if (candidate.update > at_most) continue;
    const std::string reason = Mismatch(candidate.path);
    if (reason.empty()) return candidate;
    rejected->push_back(candidate.path + ": " + reason);
  }
  return std::nullopt;
}

absl::StatusOr<json> ReadCheckpointState(const std::string& checkpoint) {
  RUNG_ASSIGN_OR_RETURN(const std::string text, ReadFile(checkpoint + "/state.json"));
  json state = ParseJson(text);
  if (state.is_object()) return state;
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {.code = "E0755",
                    .message = "a checkpoint's state.json is no JSON object",
                    .where = checkpoint,
                    .value = "",
                    .mend = "Remove that checkpoint; the one before is taken"});
}

}  // namespace rung
