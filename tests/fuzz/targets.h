// The parsers of what others write (files, messages, requests), each as a function of bytes that must return,
// whatever they are.
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

// service_targets.cc
void FuzzStudy(std::string_view bytes);      // a study file, its space and its conditions
void FuzzCondition(std::string_view bytes);  // one expression
void FuzzRequest(
    std::string_view bytes);             // a first byte says which; answered by a real core over a real store
void FuzzSpool(std::string_view bytes);  // a worker's journals
void FuzzTrainerMessage(std::string_view bytes);
void FuzzEndpoint(std::string_view bytes);
void FuzzToken(std::string_view bytes);
void FuzzLock(std::string_view bytes);
void FuzzHttp(std::string_view bytes);

}  // namespace rung
