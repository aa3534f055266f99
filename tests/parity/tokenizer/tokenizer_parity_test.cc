// Ids equal to Hugging Face's `tokenizers` on what tokenizer_fixture.py wrote, for each family of tokenizers:
// real lines in English and German, hard Unicode, every code point in three contexts, pairs and truncation.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "base/file.h"
#include "worker/text/model_directory.h"
#include "worker/text/tokenizer.h"
#include "worker/text/utf8.h"

namespace rung {
namespace {

using Ids = std::vector<int32_t>;
using nlohmann::json;

constexpr int64_t kMaxFixtureBytes = int64_t{1} << 30;
constexpr int kShown = 10;  // differences that are printed

std::string Setting(const char* name) {
  const char* value = std::getenv(name);
  INFO(name << " must be set (make test does)");
  REQUIRE(value != nullptr);
  return value;
}

std::string Fixture(const std::string& name) {
  return Setting("RUNG_PARITY_DIR") + "/tokenizer/" + name;
}

std::vector<std::string> Families() {
  const auto text = ReadFile(Fixture("families.json"));
  REQUIRE(text.ok());
  return json::parse(*text).get<std::vector<std::string>>();
}

std::unique_ptr<Tokenizer> Load(const std::string& directory) {
  auto tokenizer = LoadTokenizer(directory);
  INFO(tokenizer.status());
  REQUIRE(tokenizer.ok());
  return *std::move(tokenizer);
}

template <typename Number>
std::vector<Number> Numbers(const std::string& name) {
  const auto bytes = ReadFile(Fixture(name), kMaxFixtureBytes);
  REQUIRE(bytes.ok());
  std::vector<Number> numbers(bytes->size() / sizeof(Number));
  std::memcpy(numbers.data(), bytes->data(), numbers.size() * sizeof(Number));
  return numbers;
}

std::vector<json> Rows(const std::string& name) {
  std::ifstream file(Fixture(name));
  std::vector<json> rows;
  for (std::string line; std::getline(file, line);) rows.push_back(json::parse(line));
  return rows;
}

// zlib's.
uint32_t Crc32(const Ids& ids) {
  static const std::array<uint32_t, 256> kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? value >> 1 ^ 0xEDB88320u : value >> 1;
      table[i] = value;
    }
    return table;
  }();
  uint32_t crc = ~uint32_t{0};
  for (const int32_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8) {
      crc = crc >> 8 ^ kTable[(crc ^ static_cast<uint32_t>(id) >> shift) & 0xFF];
    }
  }
  return ~crc;
}

// Differences that stay, each with its cause: family -> code points.
const std::map<std::string, std::set<char32_t>> kKnownDifferences = {};

TEST_CASE("real lines and hard Unicode have the oracle's ids") {
  const std::vector<json> lines = Rows("lines.jsonl");
  REQUIRE(lines.size() >= 95'000);
  for (const std::string& family : Families()) {
    const auto tokenizer = Load(Fixture(family));
    const Ids numbers = Numbers<int32_t>(family + "/lines.bin");
    size_t at = 0, tokens = 0;
    int different = 0;
    for (const json& line : lines) {
      const auto begin = numbers.begin() + static_cast<std::ptrdiff_t>(at) + 1;
      const Ids expected(begin, begin + numbers[at]);
      at += 1 + expected.size();
      tokens += expected.size();
      const Ids ids = tokenizer->Encode(line.get_ref<const std::string&>());
      if (ids == expected || ++different > kShown) continue;
      UNSCOPED_INFO(line << "\n  ours: " << json(ids) << "\n  oracle: " << json(expected));
    }
    INFO(family << ": " << different << " of " << lines.size() << " lines differ");
    CHECK(different == 0);
    CHECK(at == numbers.size());
    CHECK(tokens > 1'000'000);
  }
}

TEST_CASE("every code point has the oracle's ids alone, between letters and behind a blank") {
  for (const std::string& family : Families()) {
    const auto tokenizer = Load(Fixture(family));
    const auto expected = Numbers<uint32_t>(family + "/points.bin");
    const auto known = kKnownDifferences.find(family);
    size_t seen = 0;
    int different = 0;
    for (char32_t c = 0; c < 0x110000; ++c) {
      if (c >= 0xD800 && c < 0xE000) continue;
      std::string character;
      AppendUtf8(c, &character);
      const Ids ids = tokenizer->Encode(character + " a" + character + "b " + character);
      REQUIRE(seen < expected.size());
      const bool equal = Crc32(ids) == expected[seen++];
      const bool listed = known != kKnownDifferences.end() && known->second.contains(c);
      if (equal != listed || ++different > 100) continue;
      UNSCOPED_INFO("U+" << std::hex << static_cast<uint32_t>(c) << (listed ? " is equal now" : " ours ")
                         << json(ids));
    }
    INFO(family << ": " << different << " code points differ");
    CHECK(different == 0);
    CHECK(seen == 0x110000 - 0x800);
  }
}

TEST_CASE("pairs, special tokens, token types and truncation are the oracle's") {
  const std::vector<json> rows = Rows("pairs.jsonl");
  REQUIRE(rows.size() == 3000);
  for (const std::string& family : Families()) {
    const auto tokenizer = Load(Fixture(family));
    const Ids numbers = Numbers<int32_t>(family + "/model.bin");
    size_t at = 0;
    int different = 0;
    for (const json& row : rows) {
      const auto count = static_cast<std::ptrdiff_t>(numbers[at]);
      const auto begin = numbers.begin() + static_cast<std::ptrdiff_t>(at) + 1;
      at += 1 + 2 * static_cast<size_t>(count);
      std::optional<std::string> pair;
      if (row["pair"].is_string()) pair = row["pair"].get<std::string>();
      Ids types;
      const Ids ids = tokenizer->EncodeForModel(row["text"].get<std::string>(), pair, row["max"], &types);
      const bool equal = ids == Ids(begin, begin + count) && types == Ids(begin + count, begin + 2 * count);
      if (equal || ++different > kShown) continue;
      UNSCOPED_INFO(row << "\n  ours: " << json(ids)
                        << "\n  oracle: " << json(Ids(begin, begin + 2 * count)));
    }
    INFO(family << ": " << different << " rows differ");
    CHECK(different == 0);
    CHECK(at == numbers.size());
  }
}

TEST_CASE("vocab.json and merges.txt make the tokenizer that tokenizer.json describes") {
  const auto whole = Load(Fixture("roberta"));
  const auto files = Load(Fixture("roberta_files"));
  CHECK(files->vocabulary_size() == whole->vocabulary_size());
  const std::vector<json> rows = Rows("pairs.jsonl");
  for (const json& row : rows) {
    const auto pair = row["pair"].is_string() ? std::optional(row["pair"].get<std::string>()) : std::nullopt;
    Ids types, expected_types;
    const std::string text = row["text"];
    const Ids expected = whole->EncodeForModel(text, pair, row["max"], &expected_types);
    if (files->EncodeForModel(text, pair, row["max"], &types) != expected || types != expected_types)
      FAIL(row);
  }
}

// What is compared above was not read from a tokenizer.json.
TEST_CASE("the fixtures of word lists have a word list alone, and cased words keep their case") {
  for (const char* name : {"wordpiece_files", "wordpiece_cased_files"}) {
    const auto families = Families();
    CHECK(std::find(families.begin(), families.end(), name) != families.end());
    CHECK_FALSE(ReadFile(Fixture(name) + "/tokenizer.json").ok());
  }
  const auto cased = Load(Fixture("wordpiece_cased_files")), lower = Load(Fixture("wordpiece_files"));
  CHECK(cased->Encode("The") != cased->Encode("the"));
  CHECK(lower->Encode("The") == lower->Encode("the"));
}

TEST_CASE("the real model directory passes its check") {
  const std::string directory = Setting("RUNG_TEST_MODEL");
  REQUIRE(CheckModelDirectory(directory).ok());
  CHECK(CheckModelDirectory(directory)->config.hidden_size == 384);
  CHECK(Load(directory)->vocabulary_size() == 30522);
}

}  // namespace
}  // namespace rung
