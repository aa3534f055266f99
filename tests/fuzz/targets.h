// The parsers of strangers' files, each as a function of bytes that must return, whatever they are.
#pragma once

#include <string_view>

namespace rung {

void FuzzSafetensors(std::string_view bytes);
void FuzzTorchFile(std::string_view bytes);
void FuzzTokenizer(std::string_view bytes);  // tokenizer.json, and a text through what it describes
void FuzzCharsmap(std::string_view bytes);
// config.json, and the list of tensors that it asks for.
void FuzzModelConfig(std::string_view bytes);
// model.safetensors.index.json beside a.safetensors (tensor "a") and b.safetensors ("b" and "c").
void FuzzShardIndex(std::string_view bytes);
// A first byte 'J': vocab.json, an empty line, merges.txt; else vocab.txt. And a text through them.
void FuzzVocabulary(std::string_view bytes);
void FuzzDataset(std::string_view bytes);  // a first byte 'J': JSONL, else CSV or TSV

}  // namespace rung
