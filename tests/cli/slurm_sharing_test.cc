#include "cli/slurm_sharing.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace rung {
namespace {

// As the kernel writes it. The automounter's /home gets its mounts later; /scratch was mounted over.
constexpr char kMounts[] =
    "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "22 21 0:5 / /proc rw,nosuid - proc proc rw\n"
    "23 21 0:20 / /tmp rw shared:2 master:3 - tmpfs tmpfs rw\n"
    "24 21 0:30 / /home rw - autofs auto.home rw\n"
    "25 24 0:31 / /home/me rw shared:4 - nfs4 server:/home/me rw,vers=4.2\n"
    "26 21 8:2 / /scratch rw - xfs /dev/sda2 rw\n"
    "27 26 0:32 / /scratch rw - lustre 10.0.0.1@o2ib:/fast rw\n"
    "28 21 0:33 / /my\\040data rw - beegfs beegfs_nodev rw\n"
    "29 21 0:34 / /run/user/1000/cloud rw - fuse.sshfs me@login: rw\n"
    "30 21 0:35 / /gpfs rw - gpfs fs1 rw\n"
    "31 21 0:36 / /ceph rw - ceph mon:/ rw\n"
    "32 21 0:37 / /weka rw - wekafs default rw\n"
    "33 21 0:38 / /tmp/mine rw - nfs server:/tmp rw\n"
    "34 21 0:39 / /containers rw - overlay overlay rw\n"
    "35 21 8:3 / /data rw - xfs /dev/sda3 rw\n"
    "36 21 0:40 / /remote rw - fuse.sshfs me@login:/data rw\n"
    "not a mount\n"
    "37 21 0:41 / /broken rw -\n";

TEST_CASE("a path lies on the last mount that holds it most closely") {
  struct Row {
    const char* path;
    const char* type;
  };
  const std::vector<Row> rows = {{"/", "ext4"},
                                 {"/opt/me/.rung", "ext4"},
                                 {"/home/other", "autofs"},
                                 {"/home/me", "nfs4"},
                                 {"/home/me/.rung", "nfs4"},
                                 {"/home/melanie/.rung", "autofs"},
                                 {"/scratch/me/.rung", "lustre"},
                                 {"/my data/.rung", "beegfs"},
                                 {"/broken/.rung", "ext4"}};
  for (const Row& row : rows) {
    INFO(row.path);
    CHECK(FileSystemType(kMounts, row.path) == row.type);
    CHECK(FileSystemType("", row.path).empty());
  }
}

TEST_CASE("a state directory on a disk of this host alone is warned of") {
  struct Row {
    const char* path;
    const char* type;
    bool shared;
  };
  const std::vector<Row> rows = {{"/opt/me/.rung", "ext4", false},
                                 {"/data/me/.rung", "xfs", false},
                                 {"/containers/.rung", "overlay", false},
                                 {"/tmp/.rung", "tmpfs", false},
                                 {"/tmp/mine/.rung", "nfs", false},  // each node has a /tmp of its own
                                 {"/run/user/1000/cloud/.rung", "fuse.sshfs", false},
                                 {"/home/me/.rung", "nfs4", true},
                                 {"/scratch/me/.rung", "lustre", true},
                                 {"/my data/.rung", "beegfs", true},
                                 {"/gpfs/me/.rung", "gpfs", true},
                                 {"/ceph/me/.rung", "ceph", true},
                                 {"/remote/me/.rung", "fuse.sshfs", true},
                                 {"/weka/me/.rung", "wekafs", true}};
  for (const Row& row : rows) {
    const Finding found = CheckSharing(row.path, kMounts);
    CHECK(found.check == "state directory");
    CHECK((found.verdict == Verdict::kOk) == row.shared);
    CHECK(found.what.rfind(std::string(row.path) + ", on " + row.type, 0) == 0);
    CHECK(found.mend.empty() == row.shared);
  }
}

TEST_CASE("where the mounts cannot be read only what each host has of its own is warned of") {
  CHECK(CheckSharing("/scratch/me/.rung", "").verdict == Verdict::kOk);
  CHECK(CheckSharing("/scratch/me/.rung", "").what == "/scratch/me/.rung");
  CHECK(CheckSharing("/var/tmp/.rung", "").verdict == Verdict::kWarn);
  CHECK(CheckSharing("/tmpfiles/.rung", "").verdict == Verdict::kOk);
}

}  // namespace
}  // namespace rung
