#include "cli/hub_cache.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/file.h"
#include "base/status.h"
#include "worker/text/model_directory.h"

namespace rung {
namespace {

namespace fs = std::filesystem;

constexpr int kIdleTries = 5;    // one after the other that bring no byte
constexpr int kMaxTries = 1000;  // in all, of one file
constexpr int64_t kMaxTextBytes = int64_t{256} << 20;
constexpr int64_t kMaxWeightsBytes = int64_t{100} << 30;

int64_t MaxBytes(const std::string& file) {
  const bool weights = absl::EndsWith(file, ".safetensors") || absl::EndsWith(file, ".bin");
  return weights ? kMaxWeightsBytes : kMaxTextBytes;
}

int64_t SizeOf(const std::string& path) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0 ? static_cast<int64_t>(info.st_size) : 0;
}

absl::Status MakeSharedDirectories(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  return error ? WriteError(path, error.value()) : absl::OkStatus();
}

// As HubFile::hash.
absl::StatusOr<std::string> HashOf(const std::string& path, const std::string& like) {
  if (like.size() == 64) return FileSha256Hex(path);
  RUNG_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  const std::string blob = absl::StrFormat("blob %d%c", bytes.size(), '\0') + bytes;
  std::array<unsigned char, 20> digest{};
  EVP_Digest(blob.data(), blob.size(), digest.data(), nullptr, EVP_sha1(), nullptr);
  return absl::BytesToHexString(std::string(digest.begin(), digest.end()));
}

// "bytes 100-199/200": 100; nullopt where it is something else.
std::optional<int64_t> FirstByte(const std::string& content_range) {
  int64_t first = 0;
  const size_t dash = content_range.find('-');
  if (!absl::StartsWith(content_range, "bytes ") || dash == std::string::npos ||
      !absl::SimpleAtoi(content_range.substr(6, dash - 6), &first))
    return std::nullopt;
  return first;
}

absl::Status BrokenOff(const std::string& file, int64_t bytes, int64_t promised) {
  return MakeError(absl::StatusCode::kUnavailable,
                   {"E0481", absl::StrFormat("%s ended after %d of %d bytes", file, bytes, promised), "",
                    file, "Try again: what has come is kept"});
}

absl::Status OtherBytes(const std::string& file, const std::string& fault, const std::string& endpoint) {
  return MakeError(absl::StatusCode::kDataLoss,
                   {"E0485", absl::StrFormat("%s %s", file, fault), endpoint, file,
                    "Try again; if it stays so, the Hub, or what lies between it and you, changes files"});
}

// A lock of Hugging Face's client too, for as long as this lives: nobody else writes the same blob. Where
// locks do not work there is none; the hash tells if two wrote.
class BlobLock {
 public:
  BlobLock(const std::string& path, const PullReport& report)
      : file_(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666)) {
    if (file_.get() < 0 || flock(file_.get(), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
    report.note("another program is fetching the same file: waiting for it");
    while (flock(file_.get(), LOCK_EX) != 0 && errno == EINTR) {
    }
  }

 private:
  const Descriptor file_;
};

class Pull {
 public:
  Pull(Hub& hub, const std::string& cache, const std::string& model, const PullReport& report)
      : hub_(hub),
        model_(model),
        report_(report),
        root_(cache + "/" + HubFolder(model)),
        locks_(cache + "/.locks/" + HubFolder(model)) {}

  absl::StatusOr<PulledModel> Run(const std::string& revision) {
    RUNG_ASSIGN_OR_RETURN(const HubListing listing, Retried([&] { return hub_.List(model_, revision); }));
    commit_ = listing.commit;
    RUNG_ASSIGN_OR_RETURN(NeededFiles needed, ChooseFiles(listing.files, model_));
    const std::string snapshot = root_ + "/snapshots/" + commit_;
    for (const std::string& directory : {root_ + "/blobs", snapshot, locks_})
      RUNG_RETURN_IF_ERROR(MakeSharedDirectories(directory));
    if (!needed.weights_index.empty()) RUNG_RETURN_IF_ERROR(AddShards(listing, needed));
    PulledModel pulled{commit_, snapshot, {}};
    for (const std::string& name : needed.names) {
      RUNG_ASSIGN_OR_RETURN(PulledFile file, Fetch(name));
      pulled.files.push_back(std::move(file));
    }
    for (const PulledFile& file : pulled.files) RUNG_RETURN_IF_ERROR(Link(file, snapshot));
    RUNG_RETURN_IF_ERROR(WriteRef(revision));
    return pulled;
  }

 private:
  // The shards' names before config.json's.
  absl::Status AddShards(const HubListing& listing, NeededFiles& needed) {
    RUNG_ASSIGN_OR_RETURN(const PulledFile index, Fetch(needed.weights_index));
    RUNG_ASSIGN_OR_RETURN(const std::string text, ReadFile(root_ + "/blobs/" + index.hash));
    RUNG_ASSIGN_OR_RETURN(const std::vector<std::string> shards,
                          ShardsOf(text, listing.files, needed.weights_index));
    needed.names.insert(needed.names.end() - 1, shards.begin(), shards.end());
    return absl::OkStatus();
  }

  // Calls again what may pass.
  template <typename Call>
  auto Retried(const Call& call) -> decltype(call()) {
    for (int tries = 1;; ++tries) {
      auto result = call();
      if (!absl::IsUnavailable(result.status()) || tries == kIdleTries) return result;
      Wait(tries, result.status());
    }
  }

  void Wait(int idle, const absl::Status& status) {
    report_.note(std::string(GetErrorDetail(status)->message) + "; trying again");
    absl::SleepFor(hub_.options().patience / 10 * (1 << std::min(idle, 4)));
  }

  absl::StatusOr<PulledFile> Fetch(const std::string& name) {
    if (const auto found = fetched_.find(name); found != fetched_.end()) return found->second;
    RUNG_ASSIGN_OR_RETURN(const HubFile file, Retried([&] { return hub_.Describe(model_, commit_, name); }));
    if (file.size_bytes.value_or(0) > MaxBytes(name))
      return StrangeAnswer(
          absl::StrFormat("%s has %d bytes; at most %d are fetched", name, *file.size_bytes, MaxBytes(name)),
          hub_.options().endpoint, name);
    const BlobLock lock(locks_ + "/" + file.hash + ".lock", report_);
    const std::string blob = root_ + "/blobs/" + file.hash;
    PulledFile pulled{name, file.hash, 0, false};
    if (access(blob.c_str(), F_OK) == 0) {
      RUNG_ASSIGN_OR_RETURN(const std::string hash, HashOf(blob, file.hash));
      if (hash != file.hash) {
        report_.note(name + " in the cache has other bytes than it should: fetching it again");
        if (unlink(blob.c_str()) != 0) return WriteError(blob, errno);
      }
    }
    if (access(blob.c_str(), F_OK) != 0) {
      RUNG_RETURN_IF_ERROR(Complete(file, blob));
      pulled.fetched = true;
    }
    std::error_code error;
    pulled.size_bytes = static_cast<int64_t>(fs::file_size(blob, error));
    fetched_[name] = pulled;
    return pulled;
  }

  // The blob, whole and right, under its own name.
  absl::Status Complete(const HubFile& file, const std::string& blob) {
    const std::string partial = blob + ".incomplete";  // where Hugging Face's client has it too
    const bool kept = SizeOf(partial) > 0;
    RUNG_RETURN_IF_ERROR(Download(file, partial));
    RUNG_ASSIGN_OR_RETURN(std::string hash, HashOf(partial, file.hash));
    if (hash != file.hash && kept) {
      report_.note("what was kept of " + file.name + " is not of this file: fetching all of it");
      unlink(partial.c_str());
      RUNG_RETURN_IF_ERROR(Download(file, partial));
      RUNG_ASSIGN_OR_RETURN(hash, HashOf(partial, file.hash));
    }
    if (hash != file.hash) {
      unlink(partial.c_str());
      return OtherBytes(file.name, absl::StrFormat("has the hash %s, not the promised %s", hash, file.hash),
                        hub_.options().endpoint);
    }
    if (rename(partial.c_str(), blob.c_str()) != 0) return WriteError(blob, errno);
    return SyncParent(blob);
  }

  absl::Status Download(const HubFile& file, const std::string& partial) {
    int idle = 0;
    int64_t most = SizeOf(partial);  // a server without ranges starts over each time
    for (int tries = 1;; ++tries) {
      const absl::Status status = Append(file, partial);
      const int64_t bytes = SizeOf(partial);
      idle = bytes > most ? 0 : idle + 1;
      most = std::max(most, bytes);
      if (!absl::IsUnavailable(status) || idle == kIdleTries || tries == kMaxTries) return status;
      Wait(idle, status);
    }
  }

  // One request for what is still missing.
  absl::Status Append(const HubFile& file, const std::string& partial) {
    const Descriptor out(open(partial.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
    if (out.get() < 0) return WriteError(partial, errno);
    const int64_t limit = file.size_bytes.value_or(MaxBytes(file.name));
    int64_t at = SizeOf(partial);
    if (at > limit) at = 0;
    bool first = true;
    const auto sink = [&](const FetchReply& head, std::string_view piece) -> absl::Status {
      if (std::exchange(first, false)) {
        if (head.status != 206) at = 0;  // the whole file
        if (head.status == 206 && FirstByte(head.Header("content-range")) != at)
          return StrangeAnswer(absl::StrFormat("another part of %s than was asked for", file.name),
                               hub_.options().endpoint, head.Header("content-range"));
        if (ftruncate(out.get(), at) != 0) return WriteError(partial, errno);
      }
      if (at + static_cast<int64_t>(piece.size()) > limit)
        return OtherBytes(file.name, absl::StrFormat("is longer than the promised %d bytes", limit),
                          hub_.options().endpoint);
      RUNG_RETURN_IF_ERROR(WriteAt(out.get(), piece, at, partial));
      at += static_cast<int64_t>(piece.size());
      report_.progress(file, at);
      return absl::OkStatus();
    };
    if (!file.size_bytes.has_value() || at < *file.size_bytes) {
      const absl::Status status = hub_.Read(model_, commit_, file.name, at, sink);
      if (!absl::IsOutOfRange(status)) RUNG_RETURN_IF_ERROR(status);  // else all of it was there already
    }
    if (file.size_bytes.has_value() && at < *file.size_bytes)
      return BrokenOff(file.name, at, *file.size_bytes);
    return fsync(out.get()) == 0 ? absl::OkStatus() : WriteError(partial, errno);
  }

  static absl::Status WriteAt(int file, std::string_view piece, int64_t at, const std::string& path) {
    while (!piece.empty()) {
      const ssize_t n = pwrite(file, piece.data(), piece.size(), at);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return WriteError(path, errno);
      piece.remove_prefix(static_cast<size_t>(n));
      at += n;
    }
    return absl::OkStatus();
  }

  static absl::Status Link(const PulledFile& file, const std::string& snapshot) {
    const std::string path = snapshot + "/" + file.name, target = "../../blobs/" + file.hash;
    std::error_code ignored;
    if (fs::read_symlink(path, ignored) == target) return absl::OkStatus();
    const std::string temporary = absl::StrFormat("%s.%d.tmp", path, getpid());
    unlink(temporary.c_str());
    if (symlink(target.c_str(), temporary.c_str()) != 0) return WriteError(path, errno);
    if (rename(temporary.c_str(), path.c_str()) != 0) return WriteError(path, errno);
    return absl::OkStatus();
  }

  absl::Status WriteRef(const std::string& revision) const {
    if (revision == commit_) return absl::OkStatus();
    const std::string path = root_ + "/refs/" + revision;
    RUNG_RETURN_IF_ERROR(MakeSharedDirectories(fs::path(path).parent_path().string()));
    const mode_t mask = umask(0);
    umask(mask);
    return WriteFileAtomic(path, commit_, static_cast<int>(0666 & ~mask));
  }

  Hub& hub_;
  const std::string& model_;
  const PullReport& report_;
  const std::string root_, locks_;
  std::string commit_;
  std::map<std::string, PulledFile> fetched_;
};

}  // namespace

absl::StatusOr<PulledModel> PullModel(Hub& hub, const std::string& cache, const std::string& model,
                                      const std::string& revision, const PullReport& report) {
  return Pull(hub, cache, model, report).Run(revision);
}

}  // namespace rung
