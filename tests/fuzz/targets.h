// The parsers of strangers' files, each as a function of bytes that must return, whatever they are.
#pragma once

#include <string_view>

namespace rung {

void FuzzSafetensors(std::string_view bytes);
void FuzzTorchFile(std::string_view bytes);
void FuzzTokenizer(std::string_view bytes);  // tokenizer.json, and a text through what it describes
void FuzzCharsmap(std::string_view bytes);
void FuzzDataset(std::string_view bytes);  // a first byte 'J': JSONL, else CSV or TSV

}  // namespace rung
