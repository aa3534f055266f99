// Ids equal to Hugging Face's `tokenizers` on what tokenizer_fixture.py wrote: real sentences, hard Unicode,
// code points.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "worker/text/model_directory.h"
#include "worker/text/tokenizer.h"
#include "worker/text/utf8.h"

namespace rung {
namespace {

using Ids = std::vector<int32_t>;
using nlohmann::json;

std::string Setting(const char* name) {
  const char* value = std::getenv(name);
  INFO(name << " must be set (make test does)");
  REQUIRE(value != nullptr);
  return value;
}

std::unique_ptr<Tokenizer> RealTokenizer() {
  auto tokenizer = LoadTokenizer(Setting("RUNG_TEST_MODEL"));
  INFO(tokenizer.status());
  REQUIRE(tokenizer.ok());
  return *std::move(tokenizer);
}

TEST_CASE("real sentences and hard Unicode have the oracle's ids") {
  const auto tokenizer = RealTokenizer();
  std::ifstream file(Setting("RUNG_PARITY_DIR") + "/tokenizer.jsonl");
  int single = 0, model_input = 0, different = 0;
  for (std::string line; std::getline(file, line);) {
    const json entry = json::parse(line);
    const std::string text = entry["text"];
    const Ids expected = entry["ids"];
    Ids ids, types, expected_types;
    if (entry.contains("pair")) {
      ++model_input;
      ids = tokenizer->EncodeForModel(text, entry["pair"].get<std::string>(), entry["max"], &types);
      expected_types = entry["types"].get<Ids>();
    } else {
      ++single;
      ids = tokenizer->Encode(text);
    }
    if (ids == expected && types == expected_types) continue;
    if (++different > 10) continue;
    UNSCOPED_INFO(line << "\n  ours: " << json(ids));
  }
  CHECK(different == 0);
  CHECK(single >= 15000);
  CHECK(model_input == 4000);
}

TEST_CASE("every code point between two letters has the oracle's ids") {
  const auto tokenizer = RealTokenizer();
  const auto bytes = ReadFile(Setting("RUNG_PARITY_DIR") + "/tokenizer_code_points.bin");
  REQUIRE(bytes.ok());
  Ids numbers(bytes->size() / sizeof(int32_t));
  std::memcpy(numbers.data(), bytes->data(), numbers.size() * sizeof(int32_t));
  int seen = 0, different = 0;
  for (size_t i = 0; i + 1 < numbers.size(); ++seen) {
    const auto character = static_cast<char32_t>(numbers[i]);
    const auto count = static_cast<std::ptrdiff_t>(numbers[i + 1]);
    const auto begin = numbers.begin() + static_cast<std::ptrdiff_t>(i) + 2;
    std::string text = "a";
    AppendUtf8(character, &text);
    const Ids ids = tokenizer->Encode(text + "b");
    i += 2 + static_cast<size_t>(count);
    if (ids == Ids(begin, begin + count)) continue;
    if (++different > 100) continue;
    UNSCOPED_INFO("U+" << std::hex << numbers[i - 2 - static_cast<size_t>(count)] << " ours " << json(ids)
                       << " oracle " << json(Ids(begin, begin + count)));
  }
  CHECK(different == 0);
  CHECK(seen == 0x110000 - 0x800);
}

TEST_CASE("the real model directory passes its check") {
  const std::string directory = Setting("RUNG_TEST_MODEL");
  REQUIRE(CheckModelDirectory(directory).ok());
  CHECK(CheckModelDirectory(directory)->config.hidden_size == 384);
  CHECK(RealTokenizer()->vocabulary_size() == 30522);
}

}  // namespace
}  // namespace rung
