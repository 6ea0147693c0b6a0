// Who a process is when the kernel decides which files it may read.
#pragma once

#include <sys/types.h>

#include <optional>
#include <vector>

#include "process/process.hpp"

namespace pyscope {

struct Credentials {
  uid_t uid = 0;  // those that count for files (fsuid, fsgid)
  gid_t gid = 0;
  std::vector<gid_t> groups = {};
  bool reads_all = false;  // has a capability by which modes don't count for reading

  /// Whether the modes let such a process read the file, or look up names in the folder, behind a
  /// descriptor, which may be one of O_PATH. A list of access rights (ACL) can only be understood
  /// in part, so such a file counts as readable for its owner alone.
  [[nodiscard]] bool may_read(int fd) const;
};

/// Those of a process now; nothing if they can't be read.
[[nodiscard]] std::optional<Credentials> credentials_of(const Process& process);

}  // namespace pyscope
