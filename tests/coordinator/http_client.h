// Plain sockets to a listener on loopback.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

#include "base/check.h"
#include "base/file.h"

namespace rung {

inline int Connected(const std::string& address) {
  sockaddr_in target{};
  target.sin_family = AF_INET;
  target.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
  target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  RUNG_CHECK(connect(descriptor, reinterpret_cast<sockaddr*>(&target), sizeof(target)) == 0,
             "somebody listens there");
  return descriptor;
}

inline std::string ReadAll(int descriptor) {
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = recv(descriptor, buffer, sizeof(buffer), 0)) > 0;)
    text.append(buffer, static_cast<size_t>(n));
  return text;
}

// What is answered to `request`, until the other side ends.
inline std::string Ask(const std::string& address, const std::string& request) {
  const Descriptor connection(Connected(address));
  send(connection.get(), request.data(), request.size(), MSG_NOSIGNAL);
  return ReadAll(connection.get());
}

}  // namespace rung
