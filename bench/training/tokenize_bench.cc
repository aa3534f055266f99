// Tokens per CPU second of a model directory's tokenizer: tokenize_bench DIRECTORY LINES.jsonl (a JSON string
// a line). Prints {"tokens", "seconds", "load_seconds"}; the figure of bench_tokenizers.py.
#include <ctime>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "worker/text/tokenizer.h"

namespace {

double CpuSeconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: tokenize_bench DIRECTORY LINES.jsonl\n";
    return 2;
  }
  std::ifstream file(argv[2]);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(nlohmann::json::parse(line).get<std::string>());
  }
  const double begin = CpuSeconds();
  const auto tokenizer = rung::LoadTokenizer(argv[1]);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status() << "\n";
    return 1;
  }
  const double loaded = CpuSeconds();
  size_t tokens = 0;
  for (const std::string& line : lines) tokens += (*tokenizer)->Encode(line).size();
  std::cout << nlohmann::json{{"tokens", tokens},
                              {"seconds", CpuSeconds() - loaded},
                              {"load_seconds", loaded - begin}}
            << "\n";
}
