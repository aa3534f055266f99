#include "worker/text/tokenizer.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/worker/text/text_files.h"
#include "worker/text/utf8.h"

namespace rung {
namespace {

using Ids = std::vector<int32_t>;
using nlohmann::json;

json TokenizerFile() {
  json file = {{"version", "1.0"},
               {"truncation", {{"max_length", 3}}},
               {"padding", {{"strategy", {{"Fixed", 9}}}}},
               {"normalizer",
                {{"type", "BertNormalizer"},
                 {"clean_text", true},
                 {"handle_chinese_chars", true},
                 {"strip_accents", nullptr},
                 {"lowercase", true}}},
               {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
               {"post_processor", {{"type", "BertProcessing"}, {"sep", {"[SEP]", 3}}, {"cls", {"[CLS]", 2}}}},
               {"model",
                {{"type", "WordPiece"},
                 {"unk_token", "[UNK]"},
                 {"continuing_subword_prefix", "##"},
                 {"max_input_chars_per_word", 10}}}};
  json vocabulary;
  int id = 0;
  for (const char* token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "hell", "##o", "##ly", "w",
                            "##orld", ",", "!", "中", "cafe", "i"}) {
    vocabulary[token] = id++;
  }
  file["model"]["vocab"] = vocabulary;
  file["added_tokens"] = json::array();
  for (const auto& [token, number] :
       std::vector<std::pair<std::string, int>>{{"[CLS]", 2}, {"[SEP]", 3}, {"[MASK]", 4}}) {
    file["added_tokens"].push_back({{"id", number},
                                    {"content", token},
                                    {"special", true},
                                    {"normalized", false},
                                    {"single_word", false}});
  }
  return file;
}

std::unique_ptr<Tokenizer> Make(const json& file) {
  const TemporaryDirectory directory;
  directory.Write("tokenizer.json", file.dump());
  auto tokenizer = LoadTokenizer(directory.path());
  INFO(tokenizer.status());
  REQUIRE(tokenizer.ok());
  return *std::move(tokenizer);
}

TEST_CASE("words are cut into the longest known pieces") {
  const auto tokenizer = Make(TokenizerFile());
  CHECK(tokenizer->Encode("Hello WORLD") == Ids{5, 9, 10});
  CHECK(tokenizer->Encode("helloly,hello!") == Ids{5, 8, 11, 5, 12});
  CHECK(tokenizer->Encode("hellx") == Ids{1});                      // one part unknown: the whole word is
  CHECK(tokenizer->Encode("helloooooo") == Ids{5, 7, 7, 7, 7, 7});  // 10 characters
  CHECK(tokenizer->Encode("hellooooooo") == Ids{1});                // 11 are too many
  CHECK(tokenizer->Encode("").empty());
  CHECK(tokenizer->Encode(" \t\n\r\u00a0\u3000").empty());
  CHECK(tokenizer->vocabulary_size() == 16);
}

TEST_CASE("text is cleaned, lowered and stripped of accents") {
  const auto tokenizer = Make(TokenizerFile());
  CHECK(tokenizer->Encode("CAFÉ") == Ids{14});
  CHECK(tokenizer->Encode("cafe\u0301") == Ids{14});
  CHECK(tokenizer->Encode(std::string("hel\0lo", 6)) == Ids{5});
  CHECK(tokenizer->Encode("hel\u200blo\ufeff") == Ids{5});
  CHECK(tokenizer->Encode("hello中hello") == Ids{5, 13, 5});
  CHECK(tokenizer->Encode("\u0130") == Ids{15});    // I with dot: NFD, stripped, lowered
  CHECK(tokenizer->Encode("hello\xff") == Ids{5});  // malformed bytes are dropped like U+FFFD
}

TEST_CASE("case and accents stay where tokenizer.json says so") {
  json file = TokenizerFile();
  file["normalizer"]["lowercase"] = false;
  auto tokenizer = Make(file);
  CHECK(tokenizer->Encode("Hello hello cafe\u0301") == Ids{1, 5, 1});
  file["normalizer"]["strip_accents"] = true;
  tokenizer = Make(file);
  CHECK(tokenizer->Encode("cafe\u0301 CAFE") == Ids{14, 1});
  file["normalizer"] = nullptr;
  tokenizer = Make(file);
  CHECK(tokenizer->Encode("hello Hello") == Ids{5, 1});
}

TEST_CASE("special tokens in the text are themselves") {
  const auto tokenizer = Make(TokenizerFile());
  CHECK(tokenizer->Encode("hello[SEP]hello [MASK]") == Ids{5, 3, 5, 4});
  CHECK(tokenizer->Encode("[sep]") == Ids{1, 1, 1});  // not one: three words
}

TEST_CASE("added tokens: the longest wins, single words stand alone, normalised ones match normalised text") {
  json file = TokenizerFile();
  const auto add = [&](const char* content, int id, bool normalized, bool single) {
    file["added_tokens"].push_back(
        {{"id", id}, {"content", content}, {"normalized", normalized}, {"single_word", single}});
  };
  add("ab", 20, false, false);
  add("abc", 21, false, false);
  add("tok", 22, false, true);
  add("GRÜN", 23, true, false);
  const auto tokenizer = Make(file);
  CHECK(tokenizer->Encode("helloabcabhello") == Ids{5, 21, 20, 5});
  CHECK(tokenizer->Encode("tok, tok") == Ids{22, 11, 22});
  CHECK(tokenizer->Encode("xtok") == Ids{1});
  CHECK(tokenizer->Encode("tok\u00e9") == Ids{1});
  CHECK(tokenizer->Encode("grün gru\u0308n") == Ids{23, 23});
  CHECK(tokenizer->vocabulary_size() == 24);
}

TEST_CASE("sequences for the model carry special tokens and types and are cut longest-first") {
  const auto tokenizer = Make(TokenizerFile());
  Ids types;
  CHECK(tokenizer->EncodeForModel("hello", std::nullopt, 16, &types) == Ids{2, 5, 3});
  CHECK(types == Ids{0, 0, 0});
  CHECK(tokenizer->EncodeForModel("hello , ! ,", std::nullopt, 4, &types) == Ids{2, 5, 11, 3});
  CHECK(tokenizer->EncodeForModel("", std::nullopt, 4, &types) == Ids{2, 3});
  CHECK(tokenizer->EncodeForModel("hello", ", !", 16, &types) == Ids{2, 5, 3, 11, 12, 3});
  CHECK(types == Ids{0, 0, 0, 1, 1, 1});
  // The short one stays whole while it fits.
  CHECK(tokenizer->EncodeForModel("hello", ", ! , ! , !", 7, &types) == Ids{2, 5, 3, 11, 12, 11, 3});
  CHECK(tokenizer->EncodeForModel(", ! , ! , !", "hello", 7, &types) == Ids{2, 11, 12, 11, 3, 5, 3});
  // Both too long: halves; the odd one goes to the longer, of equals to the second.
  CHECK(tokenizer->EncodeForModel(", , , , , ,", "! ! ! ! !", 8, &types) == Ids{2, 11, 11, 11, 3, 12, 12, 3});
  CHECK(tokenizer->EncodeForModel(", , , , ,", "! ! ! ! !", 8, &types) == Ids{2, 11, 11, 3, 12, 12, 12, 3});
}

TEST_CASE("without tokenizer.json the vocabulary and its settings are read") {
  const TemporaryDirectory directory;
  directory.Write("vocab.txt", "[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\nhello\r\nHello\r\n");
  auto tokenizer = LoadTokenizer(directory.path());
  REQUIRE(tokenizer.ok());
  CHECK((*tokenizer)->Encode("Hello [SEP]") == Ids{4, 3});
  directory.Write("tokenizer_config.json", R"({"do_lower_case": false, "unk_token": {"content": "[UNK]"}})");
  tokenizer = LoadTokenizer(directory.path());
  REQUIRE(tokenizer.ok());
  CHECK((*tokenizer)->Encode("Hello nope") == Ids{5, 1});
}

TEST_CASE("tokenizer files that are broken or of another kind are refused by name") {
  const TemporaryDirectory empty;
  CHECK(CodeOf(LoadTokenizer(empty.path()).status()) == "E0420");
  const auto refused = [](const std::string& bytes, const std::string& part) {
    const TemporaryDirectory directory;
    directory.Write("tokenizer.json", bytes);
    const absl::Status status = LoadTokenizer(directory.path()).status();
    INFO(status);
    CHECK(CodeOf(status) == "E0421");
    CHECK_THAT(std::string(status.message()), Catch::Contains(part));
  };
  refused("{", "not a JSON object");
  refused("[]", "not a JSON object");
  refused("{}", "model.vocab");
  const auto changed = [](const char* pointer, const json& value) {
    json file = TokenizerFile();
    file[json::json_pointer(pointer)] = value;
    return file.dump();
  };
  refused(changed("/model/type", "WordLevel"), "WordLevel");
  refused(changed("/model/type", "BPE"), "continuing_subword_prefix");
  refused(changed("/model/type", "Unigram"), "model.vocab");
  refused(changed("/model", 7), "model.type");
  refused(changed("/model/vocab", json::array({"a"})), "model.vocab");
  refused(changed("/model/vocab/hello", -1), "hello");
  refused(changed("/model/vocab/hello", "5"), "hello");
  refused(changed("/model/unk_token", "<unk>"), "<unk>");
  refused(changed("/model/max_input_chars_per_word", "many"), "max_input_chars_per_word");
  refused(changed("/normalizer/type", "Nmt"), "Nmt");
  refused(changed("/normalizer", "x"), "normalizer.type");
  refused(changed("/pre_tokenizer/type", "ByteLevel"), "ByteLevel");
  refused(changed("/post_processor/type", "DebertaProcessing"), "DebertaProcessing");
  refused(changed("/post_processor/cls", {"<s>", 0}), "<s>");
  refused(changed("/post_processor", {{"type", "TemplateProcessing"}, {"single", {{"a", 1}}}, {"pair", 3}}),
          "template");
  refused(changed("/added_tokens", {{{"id", 1}}}), "added_tokens");
  const TemporaryDirectory bare;
  bare.Write("vocab.txt", "[UNK]\nhello\n");
  CHECK(CodeOf(LoadTokenizer(bare.path()).status()) == "E0421");
}

TEST_CASE("a pair may be an empty text") {
  const auto tokenizer = Make(TokenizerFile());
  Ids types;
  CHECK(tokenizer->EncodeForModel("hello", "", 16, &types) == Ids{2, 5, 3, 3});
  CHECK(types == Ids{0, 0, 0, 1});
}

// "<s>" 0, "</s>" 1, the bytes that "low lower 's" needs, and their merges.
json BpeFile() {
  const char* const tokens[] = {"<s>", "</s>", "l",   "o",    "w",  "e",  "r", "Ġ", "'",
                                "s",   "lo",   "low", "Ġlow", "er", "'s", "Ã", "¼"};
  json vocabulary;
  for (const char* token : tokens) vocabulary[token] = vocabulary.size();
  return {{"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"post_processor", {{"type", "RobertaProcessing"}, {"sep", {"</s>", 1}}, {"cls", {"<s>", 0}}}},
          {"added_tokens", json::array()},
          {"model",
           {{"type", "BPE"},
            {"vocab", vocabulary},
            {"merges", {"l o", "lo w", json::array({"Ġ", "low"}), "e r", "' s"}}}}};
}

TEST_CASE("byte pairs are joined in the order in which they were learned") {
  json file = BpeFile();
  auto tokenizer = Make(file);
  CHECK(tokenizer->Encode("low lower") == Ids{11, 12, 13});
  CHECK(tokenizer->Encode("low's") == Ids{11, 14});
  CHECK(tokenizer->Encode("  low") == Ids{7, 12});     // the last blank belongs to the word
  CHECK(tokenizer->Encode("low  ") == Ids{11, 7, 7});  // at the end there is none
  CHECK(tokenizer->Encode("\u00fc") == Ids{15, 16});   // its two bytes
  CHECK(tokenizer->Encode("lxo") == Ids{10});          // a byte without a token is dropped
  CHECK(tokenizer->vocabulary_size() == 17);
  Ids types;
  CHECK(tokenizer->EncodeForModel("low", "low", 16, &types) == Ids{0, 11, 1, 1, 11, 1});
  CHECK(types == Ids(6, 0));
  file["pre_tokenizer"]["add_prefix_space"] = true;
  CHECK(Make(file)->Encode("low") == Ids{12});
}

TEST_CASE("a long text without blanks is joined like a short one") {
  const auto tokenizer = Make(BpeFile());
  std::string text;
  Ids expected;
  for (int i = 0; i < 2000; ++i) {
    text += "lower";
    expected.insert(expected.end(), {11, 13});
  }
  CHECK(tokenizer->Encode(text) == expected);
}

TEST_CASE("a mask takes the blanks before it") {
  json file = BpeFile();
  file["added_tokens"].push_back(
      {{"id", 17}, {"content", "<mask>"}, {"lstrip", true}, {"rstrip", false}, {"normalized", false}});
  const auto tokenizer = Make(file);
  CHECK(tokenizer->Encode("low  <mask> low") == Ids{11, 17, 12});
  CHECK(tokenizer->vocabulary_size() == 18);
}

json UnigramFile() {
  json vocabulary = json::array();
  for (const auto& [piece, score] : std::vector<std::pair<std::string, double>>{
           {"<unk>", 0}, {"▁", -3}, {"a", -4}, {"b", -4}, {"ab", -5}, {"▁ab", -9}, {"abab", -9.9}}) {
    vocabulary.push_back(json::array({piece, score}));
  }
  return {{"normalizer", {{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}}},
          {"pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "always"}}},
          {"post_processor", nullptr},
          {"added_tokens", json::array()},
          {"model", {{"type", "Unigram"}, {"unk_id", 0}, {"vocab", vocabulary}}}};
}

TEST_CASE("the most probable pieces are taken") {
  json file = UnigramFile();
  auto tokenizer = Make(file);
  CHECK(tokenizer->Encode("ab") == Ids{1, 4});    // -8 against -9
  CHECK(tokenizer->Encode("abab") == Ids{1, 6});  // -12.9 against -13
  CHECK(tokenizer->Encode("a  b") == Ids{1, 2, 1, 3});
  CHECK(tokenizer->Encode("axyzb") == Ids{1, 2, 0, 3});  // neighbours that are unknown are one
  CHECK(tokenizer->Encode("").empty());
  file["pre_tokenizer"]["prepend_scheme"] = "never";
  CHECK(Make(file)->Encode("ab") == Ids{4});
  file["pre_tokenizer"] = {{"type", "Metaspace"}, {"add_prefix_space", true}};  // an older file
  CHECK(Make(file)->Encode("ab") == Ids{1, 4});
}

TEST_CASE("Unigram files that are broken are refused by name") {
  const auto refused = [](const char* pointer, const json& value, const std::string& part) {
    json file = UnigramFile();
    file[json::json_pointer(pointer)] = value;
    const TemporaryDirectory directory;
    directory.Write("tokenizer.json", file.dump());
    const absl::Status status = LoadTokenizer(directory.path()).status();
    INFO(status);
    CHECK(CodeOf(status) == "E0421");
    CHECK_THAT(std::string(status.message()), Catch::Contains(part));
  };
  refused("/model/unk_id", 7, "unk_id");
  refused("/model/unk_id", nullptr, "unk_id");
  refused("/model/vocab/1", json::array({"a", "b"}), "score");
  refused("/model/vocab", json::array(), "model.vocab");
  refused("/pre_tokenizer/replacement", "ab", "replacement");
  refused("/pre_tokenizer/prepend_scheme", "sometimes", "sometimes");
  refused("/normalizer/pattern/Regex", "[0-9]", "[0-9]");
  refused("/normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "!"}}, "base64");
  refused("/normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "AAAA"}}, "shorter");
  refused("/normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "/////w=="}}, "trie");
}

TEST_CASE("every code point survives UTF-8") {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string bytes;
    AppendUtf8(c, &bytes);
    size_t position = 0;
    const auto read = NextCharacter(bytes, &position);
    if (!read || *read != c || position != bytes.size()) FAIL("U+" << std::hex << static_cast<uint32_t>(c));
  }
}

}  // namespace
}  // namespace rung
