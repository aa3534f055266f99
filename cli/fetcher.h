// HTTP and HTTPS requests over libcurl, one at a time. Proxies are as the environment says (HTTPS_PROXY,
// HTTP_PROXY, ALL_PROXY, NO_PROXY, in capitals or not), certificates too (SSL_CERT_FILE). Redirects are not
// followed: the caller decides who may learn what. Not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace rung {

struct FetchRequest {
  std::string url;
  bool headers_only = false;
  std::string token;  // as "Authorization: Bearer"; empty: none
  int64_t from = 0;   // the first byte that is wanted (Range)
};

struct FetchReply {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case

  std::string Header(const std::string& name) const;  // in lower case; empty: it has none
};

class Fetcher {
 public:
  // Takes the body of a 2xx, piece by piece; an error ends the transfer.
  using Sink = std::function<absl::Status(const FetchReply& head, std::string_view piece)>;

  // `patience`: for a connection, and for the next bytes.
  Fetcher(std::string user_agent, absl::Duration patience);
  ~Fetcher();
  Fetcher(const Fetcher&) = delete;
  Fetcher& operator=(const Fetcher&) = delete;

  // What was answered, whatever its status. Errors: those of `sink`; Unavailable (E0481: not reached, stalled
  // or broken off; another try may help), Internal (E0482: the certificate is not trusted).
  absl::StatusOr<FetchReply> Fetch(const FetchRequest& request, const Sink& sink);

 private:
  struct Handle;
  const std::unique_ptr<Handle> handle_;
  const std::string user_agent_;
  const absl::Duration patience_;
};

// "https://example.org:443" of an http or https URL, in lower case; empty: it is none, or holds a name and a
// password.
std::string UrlOrigin(const std::string& url);
// Where `reference`, absolute or relative, leads from `base`; empty: nowhere.
std::string UrlFrom(const std::string& base, const std::string& reference);
// As one part of a URL's path.
std::string UrlEscaped(const std::string& text);

}  // namespace rung
