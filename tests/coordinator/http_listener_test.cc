#include "coordinator/http_listener.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "tests/coordinator/http_client.h"

namespace rung {
namespace {

HttpAnswer Echo(const HttpRequest& request) {
  return {200, "text/plain", request.method + " " + request.path + " " + request.authorization + "\n"};
}

std::string CodeOf(const absl::Status& status) {
  const auto detail = GetErrorDetail(status);
  return detail.has_value() ? detail->code : "";
}

TEST_CASE("a request's head is read, or refused") {
  const auto read = ParseHttpRequest("GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\nAUTHORIZATION:  Bearer t ");
  REQUIRE(read.has_value());
  CHECK(read->method == "GET");
  CHECK(read->path == "/metrics");
  CHECK(read->authorization == "Bearer t");
  for (const char* head :
       {"", "GET", "GET /", "GET metrics HTTP/1.1", "GET / HTTP/2", "GET / HTTP/1.1\r\nno header",
        "GET / HTTP/1.1\r\n: empty", "GET  / HTTP/1.1", "\r\nGET / HTTP/1.1"}) {
    INFO(head);
    CHECK_FALSE(ParseHttpRequest(head).has_value());
  }
}

TEST_CASE("only addresses of this host's loopback are listened on") {
  SystemClock clock;
  for (const char* address :
       {"0.0.0.0:0", "10.1.2.3:0", "[::]:0", "[2001:db8::1]:0", "example.org:0", "128.0.0.1:0"}) {
    INFO(address);
    const auto started = HttpListener::Start(address, Echo, clock);
    CHECK(CodeOf(started.status()) == "E0678");
    CHECK(ExitCode(started.status()) == 78);
  }
  for (const char* address : {"", "x", "127.0.0.1:", "127.0.0.1:65536", ":80", "-1"}) {
    INFO(address);
    CHECK(CodeOf(HttpListener::Start(address, Echo, clock).status()) == "E0110");
  }
  const auto first = HttpListener::Start("auto", Echo, clock);
  REQUIRE(first.ok());
  CHECK((*first)->address().rfind("127.0.0.1:", 0) == 0);
  CHECK(CodeOf(HttpListener::Start((*first)->address(), Echo, clock).status()) == "E0630");
}

TEST_CASE("requests are answered, also broken ones, and none keeps the others waiting") {
  SystemClock clock;
  const auto listener = HttpListener::Start("localhost:0", Echo, clock);
  REQUIRE(listener.ok());
  const std::string& address = (*listener)->address();
  // Strangers that connect and say nothing, more than there is room for.
  std::vector<int> silent;
  for (size_t i = 0; i < HttpListener::kMaxConnections + 8; ++i) silent.push_back(Connected(address));
  const std::string answer = Ask(address, "GET /a HTTP/1.1\r\nAuthorization: Bearer t\r\n\r\n");
  CHECK(answer.rfind("HTTP/1.1 200 OK\r\n", 0) == 0);
  CHECK(answer.find("\r\nContent-Length: 16\r\n") != std::string::npos);
  CHECK(answer.substr(answer.find("\r\n\r\n") + 4) == "GET /a Bearer t\n");
  const std::string head = Ask(address, "HEAD /a HTTP/1.0\r\n\r\n");
  CHECK(head.substr(head.find("\r\n\r\n") + 4).empty());
  CHECK(Ask(address, "POST /a HTTP/1.1\r\n\r\n").rfind("HTTP/1.1 405 ", 0) == 0);
  CHECK(Ask(address, "hello\r\n\r\n").rfind("HTTP/1.1 400 ", 0) == 0);
  CHECK(Ask(address, std::string(3 * HttpListener::kMaxHeadBytes, 'x')).empty());
  for (const int descriptor : silent) close(descriptor);
}

}  // namespace
}  // namespace rung
