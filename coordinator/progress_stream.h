// The Progress streams. All writes and the end of a stream happen on the core thread, one write at a time;
// the next message is read when the last one was answered, so a stream holds at most one message and a few
// answers.
#pragma once

#include <map>
#include <memory>
#include <string>

#include <grpcpp/support/server_callback.h>

#include "coordinator/core_loop.h"
#include "proto/rung/v1/rung.pb.h"

namespace rung {

class ProgressStream;

// Streams by worker, for commands that do not answer a message. Only the core thread uses it.
class OpenStreams {
 public:
  void Send(const Push& push);

 private:
  friend class ProgressStream;
  std::map<std::string, ProgressStream*> streams_;
};

// A new stream; it deletes itself when it is done.
grpc::ServerBidiReactor<v1::ProgressRequest, v1::ProgressResponse>* NewProgressStream(CoreLoop& loop,
                                                                                      OpenStreams& open);

}  // namespace rung
