// The fuzz targets without libFuzzer: each file of the corpora as it is, and some thousand mutations of it.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "tests/fuzz/targets.h"

namespace rung {
namespace {

constexpr int kMutations = 400;        // of each file
constexpr int kRequestMutations = 60;  // each has a coordinator of its own

std::vector<std::string> Corpus(const std::string& name) {
  std::vector<std::string> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(RUNG_SOURCE_DIR "/tests/fuzz/corpus/" + name)) {
    const auto bytes = ReadFile(entry.path().string());
    REQUIRE(bytes.ok());
    files.push_back(*bytes);
  }
  REQUIRE(!files.empty());
  std::sort(files.begin(), files.end());
  return files;
}

// Numbers from a fixed seed (splitmix64, Steele et al. 2014): a failure can be repeated.
class Dice {
 public:
  size_t Below(size_t end) {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return static_cast<size_t>((z ^ (z >> 31)) % std::max<size_t>(1, end));
  }

 private:
  uint64_t state_ = 20;
};

std::string Mutated(std::string bytes, Dice* dice) {
  for (size_t change = 0; change <= dice->Below(4) && !bytes.empty(); ++change) {
    const size_t at = dice->Below(bytes.size());
    switch (dice->Below(5)) {
      case 0:
        bytes[at] = static_cast<char>(dice->Below(256));
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << dice->Below(8)));
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        bytes.erase(at, dice->Below(16));
        break;
      default:
        bytes.insert(at, bytes.substr(dice->Below(bytes.size()), dice->Below(32)));
        break;
    }
  }
  return bytes;
}

void Run(const char* corpus, void (*target)(std::string_view), int mutations = kMutations) {
  Dice dice;
  for (const std::string& file : Corpus(corpus)) {
    target(file);
    for (int i = 0; i < mutations; ++i) target(Mutated(file, &dice));
  }
  SUCCEED();
}

TEST_CASE("no bytes break the parser of safetensors") {
  Run("safetensors", FuzzSafetensors);
}
TEST_CASE("no bytes break the parser of torch.save's files") {
  Run("torch_file", FuzzTorchFile);
}
TEST_CASE("no bytes break the parser of tokenizer.json") {
  Run("tokenizer", FuzzTokenizer);
}
TEST_CASE("no bytes break the parser of character maps") {
  Run("charsmap", FuzzCharsmap);
}
TEST_CASE("no bytes break the reader of config.json") {
  Run("model_config", FuzzModelConfig);
}
TEST_CASE("no bytes break the reader of an index of shards") {
  Run("shard_index", FuzzShardIndex);
}
TEST_CASE("no bytes break the readers of vocabulary files") {
  Run("vocabulary", FuzzVocabulary);
}
TEST_CASE("no bytes break the parsers of data files") {
  Run("dataset", FuzzDataset);
}
TEST_CASE("no bytes break the parser of study files") {
  Run("study", FuzzStudy);
}
TEST_CASE("no bytes break the parser of conditions") {
  Run("condition", FuzzCondition);
}
TEST_CASE("no request ends the coordinator or spoils its store") {
  Run("request", FuzzRequest, kRequestMutations);
}
TEST_CASE("no bytes break a worker's journals") {
  Run("spool", FuzzSpool);
}
TEST_CASE("no bytes break the parser of trainer messages") {
  Run("trainer_message", FuzzTrainerMessage);
}
TEST_CASE("no bytes break the reader of endpoint.json") {
  Run("endpoint", FuzzEndpoint);
}
TEST_CASE("no bytes break the reader of tokens") {
  Run("token", FuzzToken);
}
TEST_CASE("no bytes break the directory's lock") {
  Run("lock", FuzzLock);
}
TEST_CASE("no bytes break the parser of HTTP requests") {
  Run("http", FuzzHttp);
}

}  // namespace
}  // namespace rung
