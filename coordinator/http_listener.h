// A small HTTP/1.1 server for machines of this host that watch the coordinator: GET and HEAD, one answer a
// connection, on a loopback address. All of it runs on one thread of its own.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"

namespace rung {

struct HttpRequest {
  std::string method, path;   // path without "?..."
  std::string authorization;  // of the header of that name, or empty
};
struct HttpAnswer {
  int code = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body;
};

// The request line and the headers, without the blank line that ends them; nullopt: it is no HTTP/1 request.
std::optional<HttpRequest> ParseHttpRequest(const std::string& head);

class HttpListener {
 public:
  static constexpr size_t kMaxHeadBytes = 8192;
  static constexpr size_t kMaxConnections = 32;  // one more ends the oldest
  static constexpr absl::Duration kPatience =
      absl::Seconds(5);  // for a request, and for its answer to be read

  using Handler = std::function<HttpAnswer(const HttpRequest&)>;

  // address: PORT, HOST:PORT or auto; the host localhost, 127.x.x.x or [::1]. Errors: InvalidArgument (E0110:
  // no address), FailedPrecondition (E0678: not of this host's loopback), Internal (E0630: the port is in
  // use).
  static absl::StatusOr<std::unique_ptr<HttpListener>> Start(const std::string& address, Handler handler,
                                                             Clock& clock);
  ~HttpListener();
  HttpListener(const HttpListener&) = delete;
  HttpListener& operator=(const HttpListener&) = delete;

  const std::string& address() const { return address_; }  // HOST:PORT as it is bound

 private:
  struct Connection {
    int descriptor;
    absl::Duration until;
    std::string in, out;
  };

  HttpListener(Handler handler, Clock& clock) : handler_(std::move(handler)), clock_(clock) {}
  void Loop();
  void Accept();
  bool Serve(Connection& connection);  // false: it is over
  std::string AnswerTo(const std::string& head);

  const Handler handler_;
  Clock& clock_;
  std::string address_;
  int listening_ = -1, stop_event_ = -1;
  std::vector<Connection> connections_;  // of the thread
  std::thread thread_;
};

}  // namespace rung
