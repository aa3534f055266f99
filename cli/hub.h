// What a Hub (huggingface.co, or a mirror that speaks as it does) says of a model: its commit, its files,
// their hashes and bytes. Its answers are a stranger's: names, hashes and sizes are checked here. Not
// thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/fetcher.h"

namespace rung {

struct HubOptions {
  std::string endpoint = "https://huggingface.co";
  std::string token;                            // empty: none
  absl::Duration patience = absl::Seconds(10);  // for a connection, and for the next bytes
};

// As Hugging Face's own client reads the environment: HF_ENDPOINT, HF_TOKEN or the token file,
// HF_HUB_DOWNLOAD_TIMEOUT, HF_HUB_OFFLINE. Errors: InvalidArgument (E0480: a variable's value is impossible),
// FailedPrecondition (E0488: offline).
absl::StatusOr<HubOptions> HubOptionsOfEnvironment();

// "org/name" or "name" / a branch, tag, commit or refs/pr/N. Errors: InvalidArgument (E0105).
absl::Status CheckHubName(const std::string& name);
absl::Status CheckRevision(const std::string& revision);

struct HubListing {
  std::string commit;              // 40 hexadecimal digits
  std::vector<std::string> files;  // as the Hub says: any text
};

struct HubFile {
  std::string name;
  // What names the file in the cache: its sha256 (64 digits; files of Git LFS) or that of Git's blob (40).
  std::string hash;
  std::optional<int64_t> size_bytes;  // nullopt: the Hub does not say
};

// Of a model's files those that Rung reads, config.json last: configuration, tokenizer, and the weights in
// one file, or their index (`weights_index`), whose shards are still to be added. Errors: InvalidArgument
// (E0487: the model lacks one of them).
struct NeededFiles {
  std::vector<std::string> names;
  std::string weights_index;  // empty: the weights are one file
};
absl::StatusOr<NeededFiles> ChooseFiles(const std::vector<std::string>& files, const std::string& model);
// The files that an index names. Errors: DataLoss (E0484: it is none, or names what is no file beside it).
absl::StatusOr<std::vector<std::string>> ShardsOf(const std::string& index_text,
                                                  const std::vector<std::string>& files,
                                                  const std::string& index);

// Errors of the calls: Unavailable (E0481: no answer, or a busy server's; try again), Internal (E0482),
// NotFound (E0486: no such model, revision or file), PermissionDenied (E0483: private, gated, or a wrong
// token), DataLoss (E0484: this is no Hub's answer).
class Hub {
 public:
  explicit Hub(HubOptions options);

  absl::StatusOr<HubListing> List(const std::string& model, const std::string& revision);
  absl::StatusOr<HubFile> Describe(const std::string& model, const std::string& commit,
                                   const std::string& file);
  // The file's bytes from `from` on; the sink sees by the reply's status whether they are (206) or the whole
  // file comes (200). Also OutOfRange: there is nothing from there on.
  absl::Status Read(const std::string& model, const std::string& commit, const std::string& file,
                    int64_t from, const Fetcher::Sink& sink);
  const HubOptions& options() const { return options_; }

 private:
  enum class Redirects { kAll, kOfThisOrigin };
  absl::StatusOr<FetchReply> Follow(FetchRequest request, Redirects redirects, const Fetcher::Sink& sink);
  absl::Status Check(const FetchReply& reply, const std::string& what, const std::string& model) const;

  const HubOptions options_;
  const std::string origin_;
  Fetcher fetcher_;
};

// That a Hub does not answer so: DataLoss (E0484).
absl::Status StrangeAnswer(const std::string& what, const std::string& where, const std::string& value);

}  // namespace rung
