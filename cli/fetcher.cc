#include "cli/fetcher.h"

#include <curl/curl.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"

namespace rung {
namespace {

// One transfer, as curl's callbacks see it.
struct Transfer {
  CURL* curl;
  const Fetcher::Sink& sink;
  FetchReply reply;
  absl::Status refusal;  // of the sink
};

size_t OnHeader(char* bytes, size_t, size_t size, void* user) {
  Transfer& transfer = *static_cast<Transfer*>(user);
  const std::string line(bytes, size);
  if (absl::StartsWith(line, "HTTP/")) transfer.reply.headers.clear();  // after a 1xx
  const size_t colon = line.find(':');
  if (colon == std::string::npos) return size;
  transfer.reply.headers[absl::AsciiStrToLower(line.substr(0, colon))] =
      std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
  return size;
}

int StatusOf(CURL* curl) {
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  return static_cast<int>(status);
}

size_t OnBody(char* bytes, size_t, size_t size, void* user) {
  Transfer& transfer = *static_cast<Transfer*>(user);
  transfer.reply.status = StatusOf(transfer.curl);
  if (transfer.reply.status / 100 != 2) return size;  // an error's text
  transfer.refusal = transfer.sink(transfer.reply, std::string_view(bytes, size));
  return transfer.refusal.ok() ? size : 0;
}

const char* Variable(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') return value;
  }
  return nullptr;
}

// Those of a proxy that curl does not read from the environment by itself: HTTP_PROXY in capitals, which a
// web server's client could set, which `rung` has none of.
const char* PlainProxy(const std::string& url) {
  if (!absl::StartsWithIgnoreCase(url, "http://") || Variable({"http_proxy"}) != nullptr) return nullptr;
  return Variable({"HTTP_PROXY"});
}

absl::Status TransferError(CURLcode code, const char* text, const std::string& url) {
  const std::string origin = UrlOrigin(url);
  const std::string reason = *text != '\0' ? text : curl_easy_strerror(code);
  if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE) {
    return MakeError(
        absl::StatusCode::kInternal,
        {"E0482", absl::StrFormat("the certificate of %s is not trusted: %s", origin, reason), origin, "",
         "Give the file of certificates that vouch for it, as your site says: set SSL_CERT_FILE"});
  }
  const char* mend =
      code == CURLE_COULDNT_RESOLVE_PROXY
          ? "Correct HTTPS_PROXY or HTTP_PROXY"
          : "Try again; where this host reaches no network, do it on one that does (a login node), or set "
            "HTTPS_PROXY or HF_ENDPOINT";
  return MakeError(absl::StatusCode::kUnavailable,
                   {"E0481", absl::StrFormat("no answer from %s: %s", origin, reason), origin, "", mend});
}

struct UrlHandle {
  CURLU* url = curl_url();
  ~UrlHandle() { curl_url_cleanup(url); }
  std::string Part(CURLUPart part, unsigned int flags = 0) const {
    char* text = nullptr;
    if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return "";
    const std::string copy = text;
    curl_free(text);
    return copy;
  }
};

}  // namespace

struct Fetcher::Handle {
  CURL* curl = curl_easy_init();
  curl_slist* headers = nullptr;
  char error[CURL_ERROR_SIZE] = {};

  ~Handle() {
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
  }
  void Add(const std::string& header) { headers = curl_slist_append(headers, header.c_str()); }
};

std::string FetchReply::Header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

Fetcher::Fetcher(std::string user_agent, absl::Duration patience)
    : handle_(std::make_unique<Handle>()), user_agent_(std::move(user_agent)), patience_(patience) {
  RUNG_CHECK(handle_->curl != nullptr, "libcurl starts");
}

Fetcher::~Fetcher() = default;

absl::StatusOr<FetchReply> Fetcher::Fetch(const FetchRequest& request, const Sink& sink) {
  CURL* curl = handle_->curl;
  const long seconds = std::max<long>(1, static_cast<long>(absl::ToInt64Seconds(patience_)));
  curl_easy_reset(curl);  // connections stay
  curl_slist_free_all(std::exchange(handle_->headers, nullptr));
  handle_->error[0] = '\0';
  handle_->Add("Accept-Encoding: identity");  // lengths and ranges are those of the file
  if (!request.token.empty()) handle_->Add("Authorization: Bearer " + request.token);
  Transfer transfer{curl, sink, {}, {}};
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_NOBODY, request.headers_only ? 1L : 0L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, user_agent_.c_str());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, handle_->headers);
  curl_easy_setopt(curl, CURLOPT_HEADEROPT, CURLHEADER_SEPARATE);  // a proxy's CONNECT carries no token
  curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, OnHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, handle_->error);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, seconds);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);  // bytes a second
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, seconds);
  const std::string range = absl::StrFormat("%d-", request.from);
  if (request.from > 0) curl_easy_setopt(curl, CURLOPT_RANGE, range.c_str());
  if (const char* proxy = PlainProxy(request.url); proxy != nullptr)
    curl_easy_setopt(curl, CURLOPT_PROXY, proxy);
  if (const char* file = Variable({"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}); file != nullptr)
    curl_easy_setopt(curl, CURLOPT_CAINFO, file);
  const CURLcode code = curl_easy_perform(curl);
  if (!transfer.refusal.ok()) return transfer.refusal;
  if (code != CURLE_OK) return TransferError(code, handle_->error, request.url);
  transfer.reply.status = StatusOf(curl);
  return std::move(transfer.reply);
}

std::string UrlOrigin(const std::string& url) {
  const UrlHandle parsed;
  if (curl_url_set(parsed.url, CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) return "";
  const std::string scheme = absl::AsciiStrToLower(parsed.Part(CURLUPART_SCHEME));
  const std::string host = absl::AsciiStrToLower(parsed.Part(CURLUPART_HOST));
  if ((scheme != "http" && scheme != "https") || host.empty() || !parsed.Part(CURLUPART_USER).empty())
    return "";
  return scheme + "://" + host + ":" + parsed.Part(CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

std::string UrlFrom(const std::string& base, const std::string& reference) {
  const UrlHandle parsed;
  if (reference.empty() || curl_url_set(parsed.url, CURLUPART_URL, base.c_str(), 0) != CURLUE_OK ||
      curl_url_set(parsed.url, CURLUPART_URL, reference.c_str(), CURLU_URLENCODE) != CURLUE_OK)
    return "";
  return parsed.Part(CURLUPART_URL);
}

std::string UrlEscaped(const std::string& text) {
  char* escaped = curl_easy_escape(nullptr, text.data(), static_cast<int>(text.size()));
  RUNG_CHECK(escaped != nullptr, "memory is there");
  const std::string copy = escaped;
  curl_free(escaped);
  return copy;
}

}  // namespace rung
