// A scratch directory with good and bad input, and the real programs to feed it to. For bad_input_test only.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace rung {

using Json = nlohmann::ordered_json;

struct Ended {
  int exit_code = -1;
  std::string out;
  std::string err;

  // The error on stderr, as `-o json` prints it; null if there is none.
  Json error() const {
    for (size_t begin = 0; begin < err.size();) {
      const size_t end = std::min(err.find('\n', begin), err.size());
      const Json json = Json::parse(err.substr(begin, end - begin), nullptr, false);
      if (json.is_object() && json.contains("error")) return json["error"];
      begin = end + 1;
    }
    return nullptr;
  }
};

class Workshop {
 public:
  Workshop() {
    std::string pattern = std::filesystem::temp_directory_path() / "rung-bad-input-XXXXXX";
    root_ = mkdtemp(pattern.data());
  }
  ~Workshop() {
    for (const std::string& dir : state_dirs_) EndCoordinator(dir, SIGKILL);
    std::error_code error;
    std::filesystem::remove_all(root_, error);
  }
  Workshop(const Workshop&) = delete;
  Workshop& operator=(const Workshop&) = delete;

  std::string path(const std::string& name) const { return root_ + "/" + name; }

  std::string Write(const std::string& name, const std::string& bytes) const {
    const std::filesystem::path file = path(name);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << bytes;
    return file;
  }

  // `rung ARGUMENTS... -o json --dir DIR` in the scratch directory.
  Ended Rung(const std::string& dir, std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"-o", "json", "--dir", dir});
    return Run("rung", dir, arguments);
  }

  Ended Run(const std::string& program, const std::string& dir, std::vector<std::string> arguments) {
    state_dirs_.push_back(dir);
    arguments.insert(arguments.begin(), std::string(RUNG_BIN_DIR) + "/" + program);
    const std::string out = path(".out");
    const std::string err = path(".err");
    const pid_t child = fork();
    if (child == 0) Become(arguments, out, err);
    Ended ended;
    int wait_status = 0;
    waitpid(child, &wait_status, 0);
    ended.exit_code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
    ended.out = Read(out);
    ended.err = Read(err);
    return ended;
  }

  // A program that goes on; ended by the destructor's EndCoordinator, or by the caller.
  pid_t Start(const std::string& program, const std::string& dir, std::vector<std::string> arguments) {
    state_dirs_.push_back(dir);
    arguments.insert(arguments.begin(), std::string(RUNG_BIN_DIR) + "/" + program);
    const pid_t child = fork();
    if (child == 0) Become(arguments, path(".started-out"), path(".started-err"));
    return child;
  }

  static std::string Read(const std::string& file) {
    std::ifstream stream(file, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(stream), {});
  }

  static int64_t CoordinatorPid(const std::string& dir) {
    const Json endpoint = Json::parse(Read(dir + "/endpoint.json"), nullptr, false);
    return endpoint.is_object() ? endpoint.value("pid", int64_t{0}) : 0;
  }

  // Ends the coordinator that endpoint.json names and waits until it is gone.
  static void EndCoordinator(const std::string& dir, int signal) {
    const auto pid = static_cast<pid_t>(CoordinatorPid(dir));
    if (pid <= 1 || !IsRungd(pid) || kill(pid, signal) != 0) return;
    while (IsRungd(pid)) {
      waitpid(pid, nullptr, WNOHANG);  // where it is our own child
      poll(nullptr, 0, 5);
    }
  }

 private:
  // A pid may have gone to somebody else by now.
  static bool IsRungd(pid_t pid) {
    const std::string stat = Read("/proc/" + std::to_string(pid) + "/stat");
    return stat.find("(rungd)") != std::string::npos && stat.find(") Z ") == std::string::npos;
  }

  [[noreturn]] void Become(const std::vector<std::string>& arguments, const std::string& out,
                           const std::string& err) const {
    if (chdir(root_.c_str()) != 0) _exit(126);
    const int null = open("/dev/null", O_RDONLY);
    const int out_file = open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int err_file = open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(null, 0);
    dup2(out_file, 1);
    dup2(err_file, 2);
    unsetenv("RUNG_DIR");
    std::vector<char*> argv;
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }

  std::string root_;
  std::vector<std::string> state_dirs_;
};

// A BERT of one layer, small enough to write here: config.json, vocab.txt and (unless left out)
// model.safetensors.
class TinyModel {
 public:
  std::map<std::string, std::vector<int64_t>> shapes;

  TinyModel() {
    const std::string layer = "encoder.layer.0.";
    shapes["embeddings.word_embeddings.weight"] = {kVocabulary, kHidden};
    shapes["embeddings.position_embeddings.weight"] = {kPositions, kHidden};
    shapes["embeddings.token_type_embeddings.weight"] = {2, kHidden};
    for (const char* name :
         {"attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"}) {
      AddLinear(layer + name, kHidden, kHidden);
    }
    AddLinear(layer + "intermediate.dense", kInner, kHidden);
    AddLinear(layer + "output.dense", kHidden, kInner);
    AddLinear("pooler.dense", kHidden, kHidden);
    for (const std::string& name : {std::string("embeddings.LayerNorm"), layer + "attention.output.LayerNorm",
                                    layer + "output.LayerNorm"}) {
      shapes[name + ".weight"] = {kHidden};
      shapes[name + ".bias"] = {kHidden};
    }
  }

  void WriteTo(const Workshop& workshop, const std::string& directory, bool with_weights = true) const {
    const Json config = {{"model_type", "bert"},
                         {"vocab_size", kVocabulary},
                         {"hidden_size", kHidden},
                         {"num_hidden_layers", 1},
                         {"num_attention_heads", 2},
                         {"intermediate_size", kInner},
                         {"max_position_embeddings", kPositions},
                         {"type_vocab_size", 2},
                         {"pad_token_id", 0},
                         {"layer_norm_eps", 1e-12},
                         {"hidden_act", "gelu"},
                         {"hidden_dropout_prob", 0.1},
                         {"attention_probs_dropout_prob", 0.1},
                         {"initializer_range", 0.02}};
    workshop.Write(directory + "/config.json", config.dump());
    workshop.Write(directory + "/vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngood\nbad\nnews\n");
    if (with_weights) workshop.Write(directory + "/model.safetensors", Safetensors());
  }

 private:
  static constexpr int64_t kVocabulary = 8, kHidden = 4, kInner = 8, kPositions = 128;

  void AddLinear(const std::string& name, int64_t out, int64_t in) {
    shapes[name + ".weight"] = {out, in};
    shapes[name + ".bias"] = {out};
  }

  // https://github.com/huggingface/safetensors: u64 length, JSON header, bytes.
  std::string Safetensors() const {
    Json header = Json::object();
    int64_t offset = 0;
    for (const auto& [name, shape] : shapes) {
      int64_t bytes = 4;
      for (const int64_t n : shape) bytes *= n;
      header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {offset, offset + bytes}}};
      offset += bytes;
    }
    const std::string text = header.dump();
    std::string file(8, '\0');
    for (size_t i = 0; i < 8; ++i) file[i] = static_cast<char>((text.size() >> (8 * i)) & 0xFF);
    return file + text + std::string(static_cast<size_t>(offset), '\0');
  }
};

}  // namespace rung
