#include "worker/text/tokenizer.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/worker/text/text_files.h"
#include "worker/text/bert_normalizer.h"
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
  CHECK(tokenizer->EncodeForModel("hello", "", 16, &types) == Ids{2, 5, 3});
  CHECK(types == Ids{0, 0, 0});
  CHECK(tokenizer->EncodeForModel("hello , ! ,", "", 4, &types) == Ids{2, 5, 11, 3});
  CHECK(tokenizer->EncodeForModel("", "", 4, &types) == Ids{2, 3});
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
  refused(changed("/model/type", "BPE"), "BPE");
  refused(changed("/model/type", "Unigram"), "Unigram");
  refused(changed("/model", 7), "model.type");
  refused(changed("/model/vocab", json::array({"a"})), "model.vocab");
  refused(changed("/model/vocab/hello", -1), "hello");
  refused(changed("/model/vocab/hello", "5"), "hello");
  refused(changed("/model/unk_token", "<unk>"), "<unk>");
  refused(changed("/model/max_input_chars_per_word", "many"), "max_input_chars_per_word");
  refused(changed("/normalizer/type", "NFKC"), "NFKC");
  refused(changed("/normalizer", "x"), "normalizer.type");
  refused(changed("/pre_tokenizer/type", "ByteLevel"), "ByteLevel");
  refused(changed("/post_processor/type", "RobertaProcessing"), "RobertaProcessing");
  refused(changed("/post_processor/cls", {"<s>", 0}), "<s>");
  refused(changed("/post_processor", {{"type", "TemplateProcessing"}, {"single", {{"a", 1}}}, {"pair", 3}}),
          "template");
  refused(changed("/added_tokens", {{{"id", 1}}}), "added_tokens");
  const TemporaryDirectory bare;
  bare.Write("vocab.txt", "[UNK]\nhello\n");
  CHECK(CodeOf(LoadTokenizer(bare.path()).status()) == "E0421");
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
