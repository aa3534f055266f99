#include "worker/text/model_directory.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/worker/text/text_files.h"

namespace rung {
namespace {

using nlohmann::json;

TEST_CASE("a safetensors file gives names, shapes and bytes") {
  const TemporaryDirectory directory;
  const std::string header =
      R"({"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"I64","shape":[],"data_offsets":[8,16]},)"
      R"("none":{"dtype":"F16","shape":[0,3],"data_offsets":[16,16]},"__metadata__":{"format":"pt"}})";
  const float values[2] = {1.5f, -2.0f};
  std::string data(16, '\0');
  std::memcpy(data.data(), values, sizeof values);
  const auto file = SafetensorsFile::Open(directory.Write("m.safetensors", Safetensors(header, data)));
  REQUIRE(file.ok());
  CHECK((*file)->tensors().size() == 3);
  const TensorInfo* a = (*file)->Find("a");
  REQUIRE(a != nullptr);
  CHECK(a->shape == std::vector<int64_t>{2, 1});
  CHECK(std::memcmp((*file)->data(*a), values, sizeof values) == 0);
  CHECK((*file)->Find("__metadata__") == nullptr);
}

TEST_CASE("hostile safetensors headers are refused") {
  const auto tensor = [](const std::string& name, const std::string& body) {
    return "{\"" + name + "\":{" + body + "}}";
  };
  const auto length = [](uint64_t value) {
    std::string bytes(8, '\0');
    for (int i = 0; i < 8; ++i) bytes[static_cast<size_t>(i)] = static_cast<char>(value >> (8 * i) & 0xFF);
    return bytes;
  };
  const std::string zeros(64, '\0');
  const std::string deep = std::string(100000, '[');
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"empty", ""},
      {"seven bytes", "1234567"},
      {"length beyond the file", length(100) + "{}"},
      {"length of all ones", length(UINT64_MAX) + "{}"},
      {"length above 8 MiB", length((8 << 20) + 1) + std::string((8 << 20) + 16, ' ')},
      {"no JSON", Safetensors("hello", zeros)},
      {"cut JSON", Safetensors(R"({"a":{"dtype":"F32")", zeros)},
      {"an array", Safetensors("[]", zeros)},
      {"deep nesting", Safetensors(deep, zeros)},
      {"deep shape",
       Safetensors(tensor("a", R"("dtype":"F32","shape":[[[[1]]]],"data_offsets":[0,4])"), zeros)},
      {"a Git LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 90868376\n"},
      {"no dtype", Safetensors(tensor("a", R"("shape":[1],"data_offsets":[0,4])"), zeros)},
      {"no shape", Safetensors(tensor("a", R"("dtype":"F32","data_offsets":[0,4])"), zeros)},
      {"no offsets", Safetensors(tensor("a", R"("dtype":"F32","shape":[1])"), zeros)},
      {"three offsets",
       Safetensors(tensor("a", R"("dtype":"F32","shape":[1],"data_offsets":[0,4,8])"), zeros)},
      {"unknown dtype", Safetensors(tensor("a", R"("dtype":"F33","shape":[1],"data_offsets":[0,4])"), zeros)},
      {"negative size",
       Safetensors(tensor("a", R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"), zeros)},
      {"fractional size",
       Safetensors(tensor("a", R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])"), zeros)},
      {"negative offset",
       Safetensors(tensor("a", R"("dtype":"F32","shape":[1],"data_offsets":[-4,0])"), zeros)},
      {"offsets backwards",
       Safetensors(tensor("a", R"("dtype":"F32","shape":[1],"data_offsets":[4,0])"), zeros)},
      {"beyond the file",
       Safetensors(tensor("a", R"("dtype":"F32","shape":[17],"data_offsets":[0,68])"), zeros)},
      {"offset of 2^63",
       Safetensors(
           tensor("a",
                  R"("dtype":"F32","shape":[1],"data_offsets":[9223372036854775808,9223372036854775812])"),
           zeros)},
      {"fewer bytes than its shape",
       Safetensors(tensor("a", R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"), zeros)},
      {"a product of 2^64",
       Safetensors(tensor("a", R"("dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0])"),
                   zeros)},
      {"overlap",
       Safetensors(
           R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
           zeros)},
      {"the same name twice",
       Safetensors(
           R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
           zeros)},
      {"a tensor that is a number", Safetensors(R"({"a":7})", zeros)}};
  const TemporaryDirectory directory;
  for (const auto& [name, bytes] : cases) {
    const absl::Status status = SafetensorsFile::Open(directory.Write("m.safetensors", bytes)).status();
    INFO(name << ": " << status);
    CHECK(CodeOf(status) == "E0431");
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  }
  CHECK(CodeOf(SafetensorsFile::Open(directory.path() + "/nothing").status()) == "E0430");
  CHECK(CodeOf(SafetensorsFile::Open(directory.path()).status()) == "E0430");
  const std::string pipe = directory.path() + "/pipe";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(CodeOf(SafetensorsFile::Open(pipe).status()) == "E0430");  // and nobody waits for its writer
}

TEST_CASE("config.json is read with Hugging Face's defaults") {
  const TemporaryDirectory directory;
  json file = TinyConfig();
  file["hidden_dropout_prob"] = 0.3;
  file["classifier_dropout"] = nullptr;
  file["hidden_act"] = "gelu_pytorch_tanh";
  directory.Write("config.json", file.dump());
  const auto config = ReadModelConfig(directory.path());
  REQUIRE(config.ok());
  CHECK(config->hidden_size == 4);
  CHECK(config->layer_norm_eps == 1e-5);
  CHECK(config->attention_probs_dropout_prob == 0.1);
  CHECK(config->classifier_dropout == 0.3);
  CHECK(config->hidden_act == "gelu_new");
}

TEST_CASE("unsupported values of config.json are named") {
  const TemporaryDirectory directory;
  CHECK(CodeOf(ReadModelConfig(directory.path()).status()) == "E0433");
  CHECK_THAT(GetErrorDetail(ReadModelConfig(directory.path()).status())->message,
             Catch::Contains("no config.json"));
  const std::string none = directory.path() + "/none";
  CHECK(CodeOf(ReadModelConfig(none).status()) == "E0433");
  CHECK(GetErrorDetail(ReadModelConfig(none).status())->message == "there is no model directory " + none);
  directory.Write("config.json", "{");
  const absl::Status misnamed = ResolveModel(directory.path() + "/config.json", "/").status();
  CHECK(CodeOf(misnamed) == "E0432");
  CHECK(GetErrorDetail(misnamed)->mend.find(directory.path()) != std::string::npos);
  CHECK(CodeOf(ReadModelConfig(directory.path()).status()) == "E0434");
  const std::vector<std::pair<std::string, json>> faults = {{"model_type", "gpt2"},
                                                            {"model_type", nullptr},
                                                            {"vocab_size", 0},
                                                            {"hidden_size", "4"},
                                                            {"hidden_size", nullptr},
                                                            {"num_attention_heads", 3},
                                                            {"hidden_act", "mish"},
                                                            {"position_embedding_type", "relative_key"},
                                                            {"layer_norm_eps", -1},
                                                            {"hidden_dropout_prob", "0.1"},
                                                            {"vocab_size", 1e30},
                                                            {"num_hidden_layers", 18446744073709551615u},
                                                            {"num_hidden_layers", 16777216}};
  for (const auto& [key, value] : faults) {
    json file = TinyConfig();
    file[key] = value;
    directory.Write("config.json", file.dump());
    const absl::Status status = ReadModelConfig(directory.path()).status();
    INFO(key << " = " << value << ": " << status);
    CHECK(CodeOf(status) == "E0434");
    CHECK_THAT(std::string(status.message()), Catch::Contains(key));
  }
}

// Else a few bytes ask for a list of tensors that no memory holds.
TEST_CASE("ALBERT's groups are bounded as layers are") {
  const TemporaryDirectory directory;
  const auto code = [&](int layers, int groups, int inner) {
    json file = TinyConfig();
    file.update(json{{"model_type", "albert"},
                     {"num_hidden_layers", layers},
                     {"num_hidden_groups", groups},
                     {"inner_group_num", inner}});
    directory.Write("config.json", file.dump());
    return CodeOf(ReadModelConfig(directory.path()).status());
  };
  CHECK(code(12, 12, 83) == "ok");
  CHECK(code(12, 13, 1) == "E0434");
  CHECK(code(12, 1, 84) == "E0434");
  CHECK(code(1000, 1000, 1) == "ok");
  CHECK(code(1, 1, 1 << 24) == "E0434");
}

absl::StatusOr<ModelFiles> Check(const NamedShapes& tensors) {
  const TemporaryDirectory directory;
  directory.Write("config.json", TinyConfig().dump());
  directory.Write("model.safetensors", SafetensorsOf(tensors));
  return CheckModelDirectory(directory.path());
}

TEST_CASE("every tensor of the encoder is found under the names checkpoints use") {
  const auto files = Check(TinyWeights());
  REQUIRE(files.ok());
  CHECK(files->names.size() == TinyWeights().size());
  NamedShapes old;  // a TensorFlow conversion with its pre-training heads
  for (auto [name, shape] : TinyWeights()) {
    const size_t norm = name.find("LayerNorm.");
    if (norm != std::string::npos)
      name = name.substr(0, norm + 10) + (name.ends_with("weight") ? "gamma" : "beta");
    old.push_back({"bert." + name, shape});
  }
  old.push_back({"bert.embeddings.position_ids", {1, 16}});
  old.push_back({"cls.predictions.bias", {12}});
  old.push_back({"classifier.weight", {2, 4}});
  const auto converted = Check(old);
  INFO(converted.status());
  REQUIRE(converted.ok());
  for (const auto& [ours, theirs] : converted->names) {
    if (ours == "embeddings.LayerNorm.weight") CHECK(theirs == "bert.embeddings.LayerNorm.gamma");
  }
}

TEST_CASE("weights that do not belong to the config are refused with the tensor's name") {
  for (size_t i = 0; i < TinyWeights().size(); ++i) {
    NamedShapes tensors = TinyWeights();
    const std::string name = tensors[i].first;
    tensors[i].second[0] += 1;
    absl::Status status = Check(tensors).status();
    CHECK(CodeOf(status) == "E0436");
    CHECK_THAT(std::string(status.message()), Catch::Contains(name));
    tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(i));
    status = Check(tensors).status();
    CHECK(CodeOf(status) == "E0435");
    CHECK_THAT(std::string(status.message()), Catch::Contains(name));
  }
  NamedShapes tensors = TinyWeights();
  tensors.push_back({"encoder.layer.1.output.dense.bias", {4}});
  CHECK(CodeOf(Check(tensors).status()) == "E0437");
}

TEST_CASE("all names that do not match are listed, up to a limit") {
  NamedShapes tensors = TinyWeights();
  const auto rename = [&](const std::string& from, const std::string& to) {
    for (auto& [name, shape] : tensors) {
      if (name == from) name = to;
    }
  };
  rename("pooler.dense.weight", "pooler.dens.weight");
  rename("encoder.layer.0.output.dense.bias", "encoder.layer.0.output.dense.offset");
  tensors.push_back({"bert.embeddings.position_ids", {1, 16}});
  tensors.push_back({"cls.predictions.bias", {12}});
  tensors[0].second[0] += 1;  // whose shape is wrong too: names come first
  const absl::Status both = Check(tensors).status();
  CHECK(CodeOf(both) == "E0435");
  CHECK_THAT(
      std::string(both.message()),
      Catch::Contains("the weights lack encoder.layer.0.output.dense.bias, pooler.dense.weight; they hold "
                      "encoder.layer.0.output.dense.offset, pooler.dens.weight, which no such encoder has"));
  CHECK_THAT(std::string(both.message()), !Catch::Contains("position_ids") && !Catch::Contains("cls."));

  const absl::Status nearly_all =
      Check({{"encoder.layer.0.output.dense.bias", {4}}, {"wte.weight", {12, 4}}}).status();
  CHECK(CodeOf(nearly_all) == "E0435");
  CHECK_THAT(std::string(nearly_all.message()),
             Catch::Contains("embeddings.word_embeddings.weight, ") &&
                 Catch::Contains(" and 14 more; they hold wte.weight, which no such encoder has"));

  tensors = TinyWeights();
  for (int i = 10; i < 21; ++i) tensors.push_back({"extra." + std::to_string(i), {1}});
  const absl::Status extra = Check(tensors).status();
  CHECK(CodeOf(extra) == "E0437");
  CHECK_THAT(std::string(extra.message()), Catch::Contains("the weights hold extra.10, extra.11, ") &&
                                               Catch::Contains("extra.17 and 3 more, which"));

  // A name as long as a file may hold is not printed whole.
  tensors = TinyWeights();
  tensors.push_back({std::string(100000, 'x'), {1}});
  CHECK(std::string(Check(tensors).status().message()).size() < 2000);
}

TEST_CASE("a model directory without weights says what is there instead") {
  const TemporaryDirectory directory;
  directory.Write("config.json", TinyConfig().dump());
  CHECK(CodeOf(CheckModelDirectory(directory.path()).status()) == "E0438");
  directory.Write("pytorch_model.bin", "x");
  const absl::Status status = CheckModelDirectory(directory.path()).status();
  CHECK(CodeOf(status) == "E0460");
  CHECK_THAT(std::string(status.message()), Catch::Contains("pytorch_model.bin"));
}

TEST_CASE("weights in shards are those of the model") {
  const TemporaryDirectory directory;
  directory.Write("config.json", TinyConfig().dump());
  const NamedShapes all = TinyWeights();
  const auto half = all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2);
  const std::map<std::string, NamedShapes> shards = {{"a.safetensors", {all.begin(), half}},
                                                     {"b.safetensors", {half, all.end()}}};
  json map;
  for (const auto& [file, tensors] : shards) {
    directory.Write(file, SafetensorsOf(tensors));
    for (const auto& [name, shape] : tensors) map[name] = file;
  }
  directory.Write("model.safetensors.index.json", json{{"weight_map", map}}.dump());
  const auto files = CheckModelDirectory(directory.path());
  INFO(files.status());
  REQUIRE(files.ok());
  CHECK(files->names.size() == all.size());
  CHECK(files->weights_paths.size() == 3);
  directory.Write("b.safetensors", SafetensorsOf({half + 1, all.end()}));
  CHECK(CodeOf(CheckModelDirectory(directory.path()).status()) == "E0462");
}

TEST_CASE("models are found by path and in the Hub cache") {
  const TemporaryDirectory directory;
  const std::string model = WriteTinyModel(directory, "models/tiny");
  CHECK(*ResolveModel(model, "/elsewhere") == model);
  CHECK(*ResolveModel("tiny", directory.path() + "/models") == model);
  CHECK(*ResolveModel("../models/tiny", directory.path() + "/studies") == model);
  setenv("HF_HOME", directory.path().c_str(), 1);
  unsetenv("HF_HUB_CACHE");
  const std::string snapshots = "hub/models--org--name/snapshots/";
  const std::string first = WriteTinyModel(directory, snapshots + "aaa");
  const std::string second = WriteTinyModel(directory, snapshots + "bbb");
  namespace fs = std::filesystem;
  fs::last_write_time(second, fs::last_write_time(first) - std::chrono::hours(1));
  CHECK(*ResolveModel("org/name", "/elsewhere") == first);
  fs::last_write_time(second, fs::last_write_time(first) + std::chrono::hours(1));
  CHECK(*ResolveModel("org/name", "/elsewhere") == second);
  // What was fetched last of another revision does not stand for the model's name.
  directory.Write("hub/models--org--name/refs/main", "aaa\n");
  CHECK(*ResolveModel("org/name", "/elsewhere") == first);
  for (const char* useless : {"ccc", "../..", ".", ""}) {
    directory.Write("hub/models--org--name/refs/main", useless);
    CHECK(*ResolveModel("org/name", "/elsewhere") == second);
  }
  const absl::Status status = ResolveModel("org/other", "/elsewhere").status();
  CHECK(CodeOf(status) == "E0432");
  CHECK_THAT(std::string(status.message()), Catch::Contains("/elsewhere/org/other") &&
                                                Catch::Contains("models--org--other") &&
                                                Catch::Contains("`rung model pull org/other`"));
  unsetenv("HF_HOME");
}

TEST_CASE("the Hub cache lies where Hugging Face's client has it") {
  const std::vector<const char*> names = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME",
                                          "XDG_CACHE_HOME", "HOME"};
  const std::string home = getenv("HOME") == nullptr ? "" : getenv("HOME");
  for (const char* name : names) unsetenv(name);
  setenv("HOME", "/home/anna", 1);
  CHECK(HubCache() == "/home/anna/.cache/huggingface/hub");
  setenv("XDG_CACHE_HOME", "/scratch/anna", 1);
  CHECK(HubCache() == "/scratch/anna/huggingface/hub");
  setenv("HF_HOME", "~/hf/", 1);
  CHECK(HubHome() == "/home/anna/hf");
  CHECK(HubCache() == "/home/anna/hf/hub");
  setenv("HUGGINGFACE_HUB_CACHE", "/old", 1);
  CHECK(HubCache() == "/old");
  setenv("HF_HUB_CACHE", "/models", 1);
  CHECK(HubCache() == "/models");
  CHECK(HubFolder("org/name") == "models--org--name");
  for (const char* name : names) unsetenv(name);
  if (!home.empty()) setenv("HOME", home.c_str(), 1);
}

}  // namespace
}  // namespace rung
