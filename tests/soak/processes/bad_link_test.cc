// A worker behind a network that breaks its connections all the time.
#include "tests/soak/processes/bad_link.h"

#include <stdio.h>

#include "tests/e2e/other_host.h"
#include "tests/soak/processes/fleet.h"

namespace rung {
namespace {

constexpr double kBreaks = 0.05;  // of the pieces: a call has two

TEST_CASE("one call in ten breaks the connection: the study is what it would have been") {
  const int studies = Count("SOAK_BAD_LINKS", 3);
  for (int i = 0; i < studies; ++i) {
    const Site site(0.01);
    const Coordinator coordinator(site, "127.0.0.1", /*exit_when_done=*/true);
    site.Ask({"study", "create", "study.json"});
    const std::string tcp = coordinator.endpoint().tcp;
    const auto port = static_cast<uint16_t>(std::stoi(tcp.substr(tcp.rfind(':') + 1)));
    const BadLink link(port, kBreaks, static_cast<uint64_t>(i + 1));
    OtherHost host(site);
    host.Look("", link.address());
    const auto worker = host.Worker("60s");
    const std::optional<int> code = worker->Wait(kStudy);
    INFO("seed " << i + 1 << "\n" << host.Output());
    REQUIRE(code == 0);
    CHECK(link.broken() > 0);
    printf("{\"bench\": \"bad link\", \"seed\": %d, \"pieces\": %d, \"broken\": %d}\n", i + 1,
           static_cast<int>(link.pieces()), static_cast<int>(link.broken()));
    CountedAttempts(site);
    CHECK(site.Results() == Undisturbed());
  }
}

}  // namespace
}  // namespace rung
