#include "tests/storage/lossy_disk.h"

#include <sqlite3.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace rung {
namespace {

constexpr char kName[] = "lossy";
constexpr int kSector = 512;
constexpr int kMaxPath = 512;

struct OpenFile {
  sqlite3_file base;
  LossyDisk* disk;
  LossyDisk::File* file;
};

OpenFile& Of(sqlite3_file* file) {
  return *reinterpret_cast<OpenFile*>(file);
}
LossyDisk& Of(sqlite3_vfs* vfs) {
  return *static_cast<LossyDisk*>(vfs->pAppData);
}

void Apply(const LossyDisk::Change& change, std::string& bytes) {
  const auto offset = static_cast<size_t>(change.offset);
  if (change.truncates) {
    bytes.resize(std::min(bytes.size(), offset));
    return;
  }
  bytes.resize(std::max(bytes.size(), offset + change.bytes.size()));
  bytes.replace(offset, change.bytes.size(), change.bytes);
}

int Change(sqlite3_file* file, LossyDisk::Change change) {
  OpenFile& open = Of(file);
  const int code = open.disk->Spend(SQLITE_IOERR);
  if (code != SQLITE_OK) {
    if (open.disk->dead() || change.truncates) return code;
    change.bytes.resize(change.bytes.size() / 2);
  }
  Apply(change, open.file->now);
  open.file->changes.push_back(std::move(change));
  return code;
}

int Close(sqlite3_file*) {
  return SQLITE_OK;
}
int Read(sqlite3_file* file, void* out, int size, sqlite3_int64 offset) {
  const std::string& bytes = Of(file).file->now;
  if (Of(file).disk->dead()) return SQLITE_IOERR;
  const auto begin = std::min(bytes.size(), static_cast<size_t>(offset));
  const size_t got = std::min(bytes.size() - begin, static_cast<size_t>(size));
  std::memcpy(out, bytes.data() + begin, got);
  std::memset(static_cast<char*>(out) + got, 0, static_cast<size_t>(size) - got);
  return got == static_cast<size_t>(size) ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}
int Write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 offset) {
  return Change(file,
                {offset, std::string(static_cast<const char*>(bytes), static_cast<size_t>(size)), false});
}
int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  return Change(file, {size, "", true});
}
int Sync(sqlite3_file* file, int) {
  OpenFile& open = Of(file);
  if (const int code = open.disk->Spend(SQLITE_IOERR_FSYNC); code != SQLITE_OK) return code;
  open.file->synced = open.file->now;
  open.file->changes.clear();
  return SQLITE_OK;
}
int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  *size = static_cast<sqlite3_int64>(Of(file).file->now.size());
  return SQLITE_OK;
}
int Lock(sqlite3_file*, int) {
  return SQLITE_OK;
}
int CheckReservedLock(sqlite3_file*, int* reserved) {
  *reserved = 0;
  return SQLITE_OK;
}
// SQLite shows the file system each PRAGMA before it carries it out: name and value as it has read them.
int FileControl(sqlite3_file* file, int operation, void* argument) {
  if (operation != SQLITE_FCNTL_PRAGMA || !Of(file).disk->weakens_syncs()) return SQLITE_NOTFOUND;
  char** const words = static_cast<char**>(argument);
  if (std::strcmp(words[1], "synchronous") == 0 && words[2] != nullptr) std::strcpy(words[2], "1");  // NORMAL
  return SQLITE_NOTFOUND;
}
int SectorSize(sqlite3_file*) {
  return kSector;
}
int DeviceCharacteristics(sqlite3_file*) {
  return 0;  // nothing is promised
}

constexpr sqlite3_io_methods kMethods = {1,
                                         Close,
                                         Read,
                                         Write,
                                         Truncate,
                                         Sync,
                                         FileSize,
                                         Lock,
                                         Lock,
                                         CheckReservedLock,
                                         FileControl,
                                         SectorSize,
                                         DeviceCharacteristics,
                                         nullptr,
                                         nullptr,
                                         nullptr,
                                         nullptr,
                                         nullptr,
                                         nullptr};

int OpenOne(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  RUNG_CHECK(name != nullptr, "temporary files are kept in memory");
  OpenFile& open = Of(file);
  open.disk = &Of(vfs);
  open.base.pMethods = nullptr;
  if (open.disk->dead()) return SQLITE_CANTOPEN;
  if ((flags & SQLITE_OPEN_CREATE) == 0 && !open.disk->Exists(name)) return SQLITE_CANTOPEN;
  open.file = &open.disk->Open(name);
  open.base.pMethods = &kMethods;
  if (out_flags != nullptr) *out_flags = flags;
  return SQLITE_OK;
}
int Delete(sqlite3_vfs* vfs, const char* name, int) {
  if (const int code = Of(vfs).Spend(SQLITE_IOERR_DELETE); code != SQLITE_OK) return code;
  Of(vfs).Delete(name);
  return SQLITE_OK;
}
int Access(sqlite3_vfs* vfs, const char* name, int, int* result) {
  *result = Of(vfs).Exists(name) ? 1 : 0;
  return SQLITE_OK;
}
int FullPathname(sqlite3_vfs*, const char* name, int size, char* out) {
  sqlite3_snprintf(size, out, "%s", name);
  return SQLITE_OK;
}
int Randomness(sqlite3_vfs*, int size, char* out) {
  // The salt of a write-ahead log: the system's would do, this one replays.
  static uint64_t drawn = 0;
  Rng rng(7, ++drawn);
  for (int i = 0; i < size; ++i) out[i] = static_cast<char>(rng.Below(256));
  return size;
}
int Sleep(sqlite3_vfs*, int microseconds) {
  return microseconds;
}
int CurrentTime(sqlite3_vfs*, double* days) {
  *days = 2460000;
  return SQLITE_OK;
}
int LastError(sqlite3_vfs*, int, char*) {
  return 0;
}

sqlite3_vfs& FileSystem() {
  static sqlite3_vfs vfs = {1,       sizeof(OpenFile), kMaxPath,   nullptr,      kName,       nullptr,
                            OpenOne, Delete,           Access,     FullPathname, nullptr,     nullptr,
                            nullptr, nullptr,          Randomness, Sleep,        CurrentTime, LastError,
                            nullptr, nullptr,          nullptr,    nullptr};
  return vfs;
}

}  // namespace

LossyDisk::LossyDisk(uint64_t seed) : rng_(seed, 0x6469736b) {
  FileSystem().pAppData = this;
  RUNG_CHECK(sqlite3_vfs_register(&FileSystem(), /*makeDflt=*/1) == SQLITE_OK, "SQLite takes a file system");
}

LossyDisk::~LossyDisk() {
  sqlite3_vfs_unregister(&FileSystem());
}

int LossyDisk::Spend(int error) {
  const int64_t number = ++asked_;
  if (left_ > 0) --left_;
  if (dead()) return error;
  if (number != fails_at_) return SQLITE_OK;
  return fault_ == Fault::kFull ? SQLITE_FULL : error;
}

void LossyDisk::Copy(const std::string& from, const std::string& to) {
  files_.erase(to);
  const auto found = files_.find(from);
  if (found != files_.end()) files_[to] = {found->second.now, found->second.now, {}};
}

void LossyDisk::Restore() {
  for (auto& [name, file] : files_) {
    for (const Change& change : file.changes) {
      if (change.truncates) {
        if (rng_.Below(2) == 0) Apply(change, file.synced);
        continue;
      }
      // A write is as many sectors, each of which has reached the disk or not.
      for (size_t at = 0; at < change.bytes.size(); at += kSector) {
        if (rng_.Below(2) == 0) continue;
        Apply({change.offset + static_cast<int64_t>(at), change.bytes.substr(at, kSector), false},
              file.synced);
      }
    }
    file.changes.clear();
    file.now = file.synced;
  }
  left_ = INT64_MAX;
}

}  // namespace rung
