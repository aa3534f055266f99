#include "coordinator/http_listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/status.h"

namespace rung {
namespace {

constexpr char kHeadEnd[] = "\r\n\r\n";
constexpr int kBacklog = 16;

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

absl::Status NotLocal(const std::string& text) {
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   {"E0678", "the metrics are plain HTTP, and that address can be reached from other hosts",
                    "--metrics", text, "Use 127.0.0.1:PORT, and let a Prometheus on this host collect them"});
}

absl::StatusOr<Address> ParseAddress(const std::string& text) {
  const size_t colon = text.rfind(':');
  std::string host = colon == std::string::npos ? "127.0.0.1" : text.substr(0, colon);
  const std::string port_text = text == "auto"               ? "0"
                                : colon == std::string::npos ? text
                                                             : text.substr(colon + 1);
  int port = -1;
  if (!absl::SimpleAtoi(port_text, &port) || port < 0 || port > 65535 || host.empty()) {
    return MakeError(absl::StatusCode::kInvalidArgument, {"E0110", text + " is no address for the metrics",
                                                          "--metrics", text, "Use auto, or 127.0.0.1:9464"});
  }
  if (host == "localhost") host = "127.0.0.1";
  Address address;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(address.storage);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(static_cast<uint16_t>(port));
    address.size = sizeof(v6);
    const bool read = inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &v6.sin6_addr) == 1;
    if (!read || !IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr)) return NotLocal(text);
    return address;
  }
  auto& v4 = reinterpret_cast<sockaddr_in&>(address.storage);
  v4.sin_family = AF_INET;
  v4.sin_port = htons(static_cast<uint16_t>(port));
  address.size = sizeof(v4);
  const bool read = inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1;
  if (!read || ntohl(v4.sin_addr.s_addr) >> 24 != 127) return NotLocal(text);
  return address;
}

std::string TextOf(const sockaddr_storage& storage) {
  std::array<char, INET6_ADDRSTRLEN> host{};
  if (storage.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
    inet_ntop(AF_INET6, &v6.sin6_addr, host.data(), host.size());
    return absl::StrFormat("[%s]:%d", host.data(), ntohs(v6.sin6_port));
  }
  const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
  inet_ntop(AF_INET, &v4.sin_addr, host.data(), host.size());
  return absl::StrFormat("%s:%d", host.data(), ntohs(v4.sin_port));
}

const char* ReasonOf(int code) {
  switch (code) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    default:
      return "Service Unavailable";
  }
}

}  // namespace

std::optional<HttpRequest> ParseHttpRequest(const std::string& head) {
  const std::vector<std::string> lines = absl::StrSplit(head, "\r\n");
  const std::vector<std::string> words = absl::StrSplit(lines.front(), ' ');
  if (words.size() != 3 || words[1].empty() || words[1][0] != '/' || words[2].rfind("HTTP/1.", 0) != 0)
    return std::nullopt;
  HttpRequest request;
  request.method = words[0];
  request.path = words[1].substr(0, words[1].find('?'));
  for (size_t i = 1; i < lines.size(); ++i) {
    const size_t colon = lines[i].find(':');
    if (colon == std::string::npos || colon == 0) return std::nullopt;
    if (absl::AsciiStrToLower(lines[i].substr(0, colon)) != "authorization") continue;
    request.authorization = std::string(absl::StripAsciiWhitespace(lines[i].substr(colon + 1)));
  }
  return request;
}

absl::StatusOr<std::unique_ptr<HttpListener>> HttpListener::Start(const std::string& text, Handler handler,
                                                                  Clock& clock) {
  RUNG_ASSIGN_OR_RETURN(Address address, ParseAddress(text));
  std::unique_ptr<HttpListener> listener(new HttpListener(std::move(handler), clock));
  listener->listening_ = socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  listener->stop_event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  const int yes = 1;
  setsockopt(listener->listening_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  auto* bound = reinterpret_cast<sockaddr*>(&address.storage);
  if (listener->stop_event_ < 0 || bind(listener->listening_, bound, address.size) != 0 ||
      listen(listener->listening_, kBacklog) != 0 ||
      getsockname(listener->listening_, bound, &address.size) != 0) {
    return MakeError(absl::StatusCode::kInternal,
                     {"E0630", absl::StrFormat("cannot listen on %s: %s", text, strerror(errno)), "--metrics",
                      text, "Use --metrics auto, or another port"});
  }
  listener->address_ = TextOf(address.storage);
  listener->thread_ = std::thread([raw = listener.get()] { raw->Loop(); });
  return listener;
}

HttpListener::~HttpListener() {
  const uint64_t one = 1;
  if (thread_.joinable()) {
    [[maybe_unused]] const ssize_t n = write(stop_event_, &one, sizeof(one));
    thread_.join();
  }
  for (const Connection& connection : connections_) close(connection.descriptor);
  if (listening_ >= 0) close(listening_);
  if (stop_event_ >= 0) close(stop_event_);
}

void HttpListener::Loop() {
  while (true) {
    std::vector<pollfd> polled = {{stop_event_, POLLIN, 0}, {listening_, POLLIN, 0}};
    for (const Connection& connection : connections_) {
      const short wanted = connection.out.empty() ? POLLIN : POLLOUT;
      polled.push_back({connection.descriptor, wanted, 0});
    }
    const int patience = connections_.empty() ? -1 : static_cast<int>(absl::ToInt64Milliseconds(kPatience));
    if (poll(polled.data(), polled.size(), patience) < 0 && errno != EINTR) return;
    if (polled[0].revents != 0) return;
    const absl::Duration now = clock_.Steady();
    std::vector<Connection> still;
    for (size_t i = 0; i < connections_.size(); ++i) {
      Connection& connection = connections_[i];
      const bool goes_on = now < connection.until && (polled[i + 2].revents == 0 || Serve(connection));
      if (goes_on) {
        still.push_back(std::move(connection));
      } else {
        close(connection.descriptor);
      }
    }
    connections_ = std::move(still);
    if (polled[1].revents != 0) Accept();
  }
}

void HttpListener::Accept() {
  const int descriptor = accept4(listening_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (descriptor < 0) return;
  if (connections_.size() >= kMaxConnections) {
    close(connections_.front().descriptor);
    connections_.erase(connections_.begin());
  }
  connections_.push_back({descriptor, clock_.Steady() + kPatience, "", ""});
}

bool HttpListener::Serve(Connection& connection) {
  if (!connection.out.empty()) {
    const ssize_t n = send(connection.descriptor, connection.out.data(), connection.out.size(), MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    connection.out.erase(0, static_cast<size_t>(n));
    return !connection.out.empty();
  }
  std::array<char, 4096> buffer;
  const ssize_t n = recv(connection.descriptor, buffer.data(), buffer.size(), 0);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (n == 0) return false;
  connection.in.append(buffer.data(), static_cast<size_t>(n));
  const size_t end = connection.in.find(kHeadEnd);
  if (end == std::string::npos) return connection.in.size() <= kMaxHeadBytes;
  connection.out = AnswerTo(connection.in.substr(0, end));
  connection.until = clock_.Steady() + kPatience;
  return true;
}

std::string HttpListener::AnswerTo(const std::string& head) {
  const std::optional<HttpRequest> request = ParseHttpRequest(head);
  const bool is_get = request.has_value() && (request->method == "GET" || request->method == "HEAD");
  HttpAnswer answer;
  if (!request.has_value()) {
    answer = {400, answer.type, "no HTTP request\n"};
  } else if (!is_get) {
    answer = {405, answer.type, "only GET\n"};
  } else {
    answer = handler_(*request);
  }
  std::string text = absl::StrFormat(
      "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n"
      "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
      answer.code, ReasonOf(answer.code), answer.type, answer.body.size());
  if (answer.code == 401) text += "WWW-Authenticate: Bearer\r\n";
  text += "\r\n";
  return request.has_value() && request->method == "HEAD" ? text : text + answer.body;
}

}  // namespace rung
