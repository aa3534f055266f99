// Whether other nodes see the state directory, by the file system that it lies on. Pure; thread-safe.
#pragma once

#include <string>

#include "cli/finding.h"

namespace rung {

// As the kernel calls it ("nfs4", "lustre", "ext4") in `mountinfo`, the text of /proc/self/mountinfo: of the
// mount that `path` (absolute, without symbolic links) lies on. Empty: none holds it.
std::string FileSystemType(const std::string& mountinfo, const std::string& path);

// A warning for a disk or memory of this host alone, and for what each host has of its own (/tmp); what is
// not known to be one passes.
Finding CheckSharing(const std::string& path, const std::string& mountinfo);

}  // namespace rung
