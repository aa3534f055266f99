// Byte pair encoding (Sennrich et al. 2016), on characters or on bytes (Radford et al. 2019). The pair that
// was learned first is joined first, of equals the left one; equal to Hugging Face's `tokenizers`. Immutable;
// thread-safe.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "worker/text/subword_model.h"

namespace rung {

struct BpeParts {
  Vocabulary vocabulary;
  std::vector<std::pair<std::string, std::string>> merges;  // in the order in which they were learned
  bool byte_level = false;     // vocabulary and merges are written in the byte alphabet (byte_alphabet.h)
  bool ignore_merges = false;  // a piece that is a token needs no merges
  bool byte_fallback = false;  // unknown characters become their bytes, <0x41>
  bool fuse_unknown = false;
  std::optional<int32_t> unknown_id;  // none: what is unknown is dropped
};

class BpeModel final : public SubwordModel {
 public:
  // nullptr if a merge names something that is not in the vocabulary; *fault says which.
  static std::unique_ptr<BpeModel> Make(const BpeParts& parts, std::string* fault);
  void Encode(std::string_view piece, std::vector<int32_t>* ids) const override;

 private:
  struct Join {
    int32_t rank = 0, id = 0;
  };
  using Pair = std::pair<int32_t, int32_t>;

  explicit BpeModel(const BpeParts& parts);
  bool AddMerges(const BpeParts& parts, std::string* fault);
  void FindWholes();
  void Symbols(std::string_view piece, std::vector<int32_t>* symbols) const;
  void JoinFew(std::vector<int32_t>* symbols) const;
  void JoinMany(std::vector<int32_t>* symbols) const;

  const bool byte_level_, ignore_merges_, fuse_unknown_;
  const std::optional<int32_t> unknown_id_;
  Vocabulary vocabulary_;          // in plain text
  std::vector<int32_t> byte_ids_;  // 256, or empty: of byte_level or the fallback
  absl::flat_hash_map<Pair, Join> joins_;
  Vocabulary wholes_;  // pieces that the merges make into one token: most words of a text
};

}  // namespace rung
