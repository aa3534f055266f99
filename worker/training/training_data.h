// What attempts read: examples as token ids. Kept between the attempts of a warm process, because the same
// files come again with every trial. Base weights are not: the kernel keeps their file, once for all trainers
// of a machine, and a copy here would be there beside the model for as long as it trains. One thread.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/model/classifier.h"
#include "worker/model/packed_batch.h"
#include "worker/text/study_data.h"
#include "worker/text/tokenizer.h"
#include "worker/text/trainer_options.h"

namespace rung {

// A few values by key; the least recently used goes first. Shared by the cache and the attempt that uses
// them.
template <typename T>
class RecentCache {
 public:
  explicit RecentCache(size_t capacity) : capacity_(capacity) {}

  std::shared_ptr<const T> Find(const std::string& key) {
    for (auto it = entries_.begin(); it != entries_.end(); ++it) {
      if (it->first != key) continue;
      entries_.splice(entries_.begin(), entries_, it);
      return entries_.front().second;
    }
    return nullptr;
  }

  std::shared_ptr<const T> Add(const std::string& key, T value) {
    entries_.emplace_front(key, std::make_shared<const T>(std::move(value)));
    if (entries_.size() > capacity_) entries_.pop_back();
    return entries_.front().second;
  }

 private:
  const size_t capacity_;
  std::list<std::pair<std::string, std::shared_ptr<const T>>> entries_;  // newest first
};

struct EncodedData {
  std::vector<std::string> labels;
  std::vector<EncodedExample> train, validation, test;
  std::shared_ptr<const StudyData> rows;  // as they are written, in the same order
};

class TrainingData {
 public:
  using Hashes = std::map<std::string, std::string>;  // path -> sha256

  // The rows of the options' files as the model in `model_directory` reads them. `expected` holds the hashes
  // the study was created with; files it does not name are taken as they are. Errors: those of LoadStudyData
  // and LoadTokenizer; InvalidArgument (E0413: a file has other bytes than the study knows; E0421: the
  // tokenizer does not belong to the model; E0442: max_seq_length).
  absl::StatusOr<std::shared_ptr<const EncodedData>> Load(const TextOptions& options, std::optional<int> fold,
                                                          const std::string& model_directory,
                                                          const ModelConfig& model, const Hashes& expected);

 private:
  // The files' hashes and all options that decide which rows are read.
  absl::StatusOr<std::string> KeyOf(const TextOptions& options, std::optional<int> fold,
                                    const Hashes& expected);
  absl::StatusOr<std::string> Hash(const std::string& path);

  struct KnownHash {
    std::string stamp;  // inode, size and time of change
    std::string sha256;
  };
  std::map<std::string, KnownHash> hashes_;
  RecentCache<StudyData> rows_{6};
  RecentCache<EncodedData> encoded_{12};
  RecentCache<std::unique_ptr<Tokenizer>> tokenizers_{4};
};

}  // namespace rung
