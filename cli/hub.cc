#include "cli/hub.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"
#include "proto/version.h"
#include "worker/text/model_directory.h"

namespace rung {
namespace {

using nlohmann::json;

constexpr int kMaxRedirects = 5;
constexpr size_t kMaxListingBytes = 16 << 20;
constexpr size_t kMaxShards = 1000;  // as WeightFiles reads
constexpr int64_t kMaxTokenBytes = 4096;
constexpr size_t kMaxNameBytes = 96;  // of each part, as the Hub's
constexpr size_t kMaxRevisionBytes = 200;

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : std::string(absl::StripAsciiWhitespace(value));
}

bool IsTrue(const std::string& value) {
  const std::string upper = absl::AsciiStrToUpper(value);
  return upper == "1" || upper == "ON" || upper == "YES" || upper == "TRUE";
}

absl::Status BadVariable(const char* name, const std::string& fault, const std::string& value,
                         const std::string& mend) {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {"E0480", absl::StrFormat("%s %s", name, fault), name, Shortened(value), mend});
}

// The token of `hf auth login`, as long as the environment does not say another or none.
absl::StatusOr<std::string> FindToken() {
  std::string token = Variable("HF_TOKEN"), source = "HF_TOKEN";
  if (token.empty()) token = Variable("HUGGING_FACE_HUB_TOKEN");
  if (token.empty() && !IsTrue(Variable("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) {
    source = Variable("HF_TOKEN_PATH");
    if (source.empty()) source = HubHome() + "/token";
    absl::StatusOr<std::string> text = ReadFile(source, kMaxTokenBytes);
    if (absl::IsNotFound(text.status())) return "";
    RUNG_RETURN_IF_ERROR(text.status());
    token = std::string(absl::StripAsciiWhitespace(*text));
  }
  const bool plain = std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (!plain)
    return BadVariable(source.c_str(), "holds characters that no token has", "", "Copy the token again");
  return token;
}

bool OnLoopback(const std::string& origin) {
  const std::string host = origin.substr(0, origin.rfind(':'));
  return host == "http://localhost" || absl::StartsWith(host, "http://127.") || host == "http://[::1]";
}

bool IsHex(const std::string& text, size_t size) {
  return text.size() == size && std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isdigit(static_cast<unsigned char>(c)) || (c >= 'a' && c <= 'f');
         });
}

bool IsPlainName(const std::string& name) {
  return !name.empty() && name[0] != '.' && name[0] != '-' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
         });
}

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// W/"abc" -> abc
std::string Unquoted(std::string etag) {
  if (absl::StartsWith(etag, "W/")) etag = etag.substr(2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
  return etag;
}

absl::Status BadArgument(const std::string& fault, const std::string& value, const std::string& mend) {
  return MakeError(absl::StatusCode::kInvalidArgument, {"E0105", fault, "command line", value, mend});
}

bool Holds(const std::vector<std::string>& files, const std::string& name) {
  return std::find(files.begin(), files.end(), name) != files.end();
}

}  // namespace

absl::Status StrangeAnswer(const std::string& what, const std::string& where, const std::string& value) {
  return MakeError(absl::StatusCode::kDataLoss,
                   {"E0484", what, where, Shortened(value), "Check HF_ENDPOINT; the Hub's own needs none"});
}

absl::StatusOr<HubOptions> HubOptionsOfEnvironment() {
  for (const char* name : {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}) {
    if (!IsTrue(Variable(name))) continue;
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     {"E0488", absl::StrFormat("%s says that the Hub is not to be asked", name), name,
                      Variable(name), absl::StrFormat("Unset %s", name)});
  }
  HubOptions options;
  if (const std::string endpoint = Variable("HF_ENDPOINT"); !endpoint.empty()) {
    options.endpoint = endpoint;
    while (absl::EndsWith(options.endpoint, "/")) options.endpoint.pop_back();
    if (UrlOrigin(options.endpoint).empty() || options.endpoint.find_first_of("?#") != std::string::npos) {
      const bool secret = endpoint.find('@') != std::string::npos;  // perhaps a password: not shown
      return BadVariable("HF_ENDPOINT", "is no address of a Hub", secret ? "" : endpoint,
                         "Write it as https://huggingface.co; a token belongs in HF_TOKEN");
    }
  }
  if (const std::string seconds = Variable("HF_HUB_DOWNLOAD_TIMEOUT"); !seconds.empty()) {
    int value = 0;
    if (!absl::SimpleAtoi(seconds, &value) || value < 1 || value > 86400)
      return BadVariable("HF_HUB_DOWNLOAD_TIMEOUT", "is no number of seconds", seconds, "Give 1 to 86400");
    options.patience = absl::Seconds(value);
  }
  RUNG_ASSIGN_OR_RETURN(options.token, FindToken());
  return options;
}

absl::Status CheckHubName(const std::string& name) {
  const std::vector<std::string> parts = absl::StrSplit(name, '/');
  bool fits = parts.size() <= 2 && !absl::StrContains(name, "--") && !absl::StrContains(name, "..");
  for (const std::string& part : parts) fits = fits && IsPlainName(part) && part.size() <= kMaxNameBytes;
  if (fits) return absl::OkStatus();
  return BadArgument(absl::StrFormat("\"%s\" is no model's name on the Hub", Shortened(name)), name,
                     "Write it as on its page: org/name, as in google-bert/bert-base-german-cased");
}

absl::Status CheckRevision(const std::string& revision) {
  const std::vector<std::string> parts = absl::StrSplit(revision, '/');
  bool fits = revision.size() <= kMaxRevisionBytes && !absl::StrContains(revision, "..");
  for (const std::string& part : parts) fits = fits && IsPlainName(part);
  if (fits) return absl::OkStatus();
  return BadArgument(absl::StrFormat("\"%s\" is no revision", Shortened(revision)), revision,
                     "Give a branch, a tag, a commit or refs/pr/NUMBER");
}

absl::StatusOr<NeededFiles> ChooseFiles(const std::vector<std::string>& files, const std::string& model) {
  NeededFiles needed;
  std::vector<std::string> missing;
  const bool has_tokenizer = Holds(files, "tokenizer.json") || Holds(files, "vocab.txt") ||
                             (Holds(files, "vocab.json") && Holds(files, "merges.txt"));
  // What LoadTokenizer reads, and what Hugging Face's own tokenizers want beside it.
  for (const char* name :
       {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
        "vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "spm.model"}) {
    if (Holds(files, name)) needed.names.push_back(name);
  }
  // In the order of WeightFiles::Open.
  std::string weights;
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                           "pytorch_model.bin.index.json"}) {
    if (weights.empty() && Holds(files, name)) weights = name;
  }
  if (absl::EndsWith(weights, ".index.json")) needed.weights_index = weights;
  if (!weights.empty()) needed.names.push_back(weights);
  needed.names.push_back("config.json");
  if (!Holds(files, "config.json")) missing.push_back("no config.json");
  if (!has_tokenizer) missing.push_back("no tokenizer.json, vocab.txt, or vocab.json with merges.txt");
  if (weights.empty()) missing.push_back("no weights in safetensors or pytorch_model.bin");
  if (missing.empty()) return needed;
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {"E0487", absl::StrFormat("%s has %s", model, absl::StrJoin(missing, ", and ")), "", model,
                    "Choose a model whose files Rung reads"});
}

absl::StatusOr<std::vector<std::string>> ShardsOf(const std::string& index_text,
                                                  const std::vector<std::string>& files,
                                                  const std::string& index) {
  const json document = json::parse(index_text, nullptr, /*allow_exceptions=*/false);
  const json map = document.is_object() ? document.value("weight_map", json()) : json();
  if (!map.is_object() || map.empty()) return StrangeAnswer("the index has no weight_map", index, "");
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : map.items()) {
    const std::string name = shard.is_string() ? shard.get<std::string>() : "";
    if (!IsPlainName(name) || !Holds(files, name))
      return StrangeAnswer("the index names a shard that the model has not", index,
                           shard.dump(-1, ' ', true));
    shards.insert(name);
  }
  if (shards.size() > kMaxShards) return StrangeAnswer("the index has more than 1000 shards", index, "");
  return std::vector<std::string>(shards.begin(), shards.end());
}

Hub::Hub(HubOptions options)
    : options_(std::move(options)),
      origin_(UrlOrigin(options_.endpoint)),
      fetcher_(std::string("rung/") + kVersion, options_.patience) {}

absl::StatusOr<FetchReply> Hub::Follow(FetchRequest request, Redirects redirects, const Fetcher::Sink& sink) {
  // What is said of the file where the Hub hands over to the store of its bytes.
  std::map<std::string, std::string> linked;
  const bool safe = absl::StartsWith(origin_, "https:") || OnLoopback(origin_);
  for (int hop = 0; hop <= kMaxRedirects; ++hop) {
    const std::string origin = UrlOrigin(request.url);
    request.token = safe && origin == origin_ ? options_.token : "";  // nobody else learns it
    RUNG_ASSIGN_OR_RETURN(FetchReply reply, fetcher_.Fetch(request, sink));
    for (const char* name : {"x-linked-etag", "x-linked-size"}) {
      if (const std::string value = reply.Header(name); !value.empty()) linked[name] = value;
    }
    const std::string next = UrlFrom(request.url, reply.Header("location"));
    const std::string next_origin = UrlOrigin(next);
    const bool stays = !IsRedirect(reply.status) ||
                       (redirects == Redirects::kOfThisOrigin && next_origin != origin && !linked.empty());
    if (stays) {
      reply.headers.insert(linked.begin(), linked.end());
      return reply;
    }
    if (next_origin.empty() ||
        (absl::StartsWith(origin, "https:") && !absl::StartsWith(next_origin, "https:")))
      return StrangeAnswer(absl::StrFormat("%s sends on to what is no https address", origin), origin,
                           next_origin);
    request.url = next;
  }
  return StrangeAnswer(absl::StrFormat("more than %d redirects", kMaxRedirects), origin_, "");
}

absl::Status Hub::Check(const FetchReply& reply, const std::string& what, const std::string& model) const {
  if (reply.status / 100 == 2) return absl::OkStatus();
  const std::string code = reply.Header("x-error-code");
  if (reply.status == 408 || reply.status == 429 || reply.status >= 500) {
    return MakeError(absl::StatusCode::kUnavailable,
                     {"E0481", absl::StrFormat("%s answers %d for %s", options_.endpoint, reply.status, what),
                      options_.endpoint, "", "Try again later"});
  }
  if (code == "GatedRepo") {
    return MakeError(absl::StatusCode::kPermissionDenied,
                     {"E0483", absl::StrFormat("%s is given only to those who accept its terms", model),
                      options_.endpoint, model,
                      absl::StrFormat("Accept them at %s/%s, then set HF_TOKEN to a token of that account",
                                      options_.endpoint, model)});
  }
  if (reply.status == 404 || code == "RepoNotFound") {
    const bool hidden = code == "RepoNotFound" && options_.token.empty();
    return MakeError(
        absl::StatusCode::kNotFound,
        {"E0486", absl::StrFormat("%s has no %s", options_.endpoint, what), options_.endpoint, model,
         hidden ? "Check the name; for a private model set HF_TOKEN" : "Check the name and the revision"});
  }
  if (reply.status == 401 || reply.status == 403) {
    const bool unsafe = !absl::StartsWith(origin_, "https:") && !OnLoopback(origin_);
    return MakeError(absl::StatusCode::kPermissionDenied,
                     {"E0483",
                      absl::StrFormat("%s refuses %s %s", options_.endpoint, what,
                                      options_.token.empty() ? "without a token" : "with this token"),
                      options_.endpoint, model,
                      options_.token.empty() ? "Set HF_TOKEN, or run `hf auth login`"
                      : unsafe ? "Write HF_ENDPOINT with https: a token is not sent without encryption"
                               : "Set HF_TOKEN to a token that may read it"});
  }
  return StrangeAnswer(absl::StrFormat("%s answers %d for %s", options_.endpoint, reply.status, what),
                       options_.endpoint, "");
}

absl::StatusOr<HubListing> Hub::List(const std::string& model, const std::string& revision) {
  const std::string where = options_.endpoint + "/api/models/" + model;
  std::string text;
  FetchRequest request;
  request.url = where + "/revision/" + UrlEscaped(revision);
  RUNG_ASSIGN_OR_RETURN(
      const FetchReply reply,
      Follow(request, Redirects::kAll, [&](const FetchReply&, std::string_view piece) -> absl::Status {
        if (text.size() + piece.size() > kMaxListingBytes)
          return StrangeAnswer("the list of files has no end", where, "");
        text += piece;
        return absl::OkStatus();
      }));
  RUNG_RETURN_IF_ERROR(Check(reply, absl::StrFormat("model %s at %s", model, revision), model));
  const json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  const json commit = document.is_object() ? document.value("sha", json()) : json();
  const json siblings = document.is_object() ? document.value("siblings", json()) : json();
  HubListing listing;
  listing.commit = commit.is_string() ? commit.get<std::string>() : "";
  if (!IsHex(listing.commit, 40) || !siblings.is_array())
    return StrangeAnswer("this is no description of a model", where, listing.commit);
  if (IsHex(revision, 40) && revision != listing.commit)
    return StrangeAnswer("another commit than was asked for", where, listing.commit);
  for (const json& sibling : siblings) {
    const json name = sibling.is_object() ? sibling.value("rfilename", json()) : json();
    if (!name.is_string()) return StrangeAnswer("the list of files is malformed", where, "");
    listing.files.push_back(name.get<std::string>());
  }
  return listing;
}

absl::StatusOr<HubFile> Hub::Describe(const std::string& model, const std::string& commit,
                                      const std::string& file) {
  FetchRequest request;
  request.url = options_.endpoint + "/" + model + "/resolve/" + commit + "/" + UrlEscaped(file);
  request.headers_only = true;
  RUNG_ASSIGN_OR_RETURN(const FetchReply reply,
                        Follow(request, Redirects::kOfThisOrigin,
                               [](const FetchReply&, std::string_view) { return absl::OkStatus(); }));
  if (!IsRedirect(reply.status)) RUNG_RETURN_IF_ERROR(Check(reply, file + " of " + model, model));
  HubFile described{file, Unquoted(reply.Header("x-linked-etag")), std::nullopt};
  if (described.hash.empty()) described.hash = Unquoted(reply.Header("etag"));
  if (!IsHex(described.hash, 64) && !IsHex(described.hash, 40)) {
    return StrangeAnswer(absl::StrFormat("%s gives no hash of %s to check it by", options_.endpoint, file),
                         options_.endpoint, described.hash);
  }
  std::string size = reply.Header("x-linked-size");
  if (size.empty() && !IsRedirect(reply.status)) size = reply.Header("content-length");
  int64_t bytes = 0;
  if (size.empty()) return described;
  if (!absl::SimpleAtoi(size, &bytes) || bytes < 0)
    return StrangeAnswer(absl::StrFormat("the size of %s is no number", file), options_.endpoint, size);
  described.size_bytes = bytes;
  return described;
}

absl::Status Hub::Read(const std::string& model, const std::string& commit, const std::string& file,
                       int64_t from, const Fetcher::Sink& sink) {
  FetchRequest request;
  request.url = options_.endpoint + "/" + model + "/resolve/" + commit + "/" + UrlEscaped(file);
  request.from = from;
  RUNG_ASSIGN_OR_RETURN(const FetchReply reply, Follow(request, Redirects::kAll, sink));
  if (reply.status == 416) return absl::OutOfRangeError("nothing from there on");
  return Check(reply, file + " of " + model, model);
}

}  // namespace rung
