// The ways in which files of a target are opened by openat2(2), as data that never changes: a
// filter of system calls can't look into memory, but it can insist on these very addresses.
#pragma once

#include <fcntl.h>
#include <linux/openat2.h>

namespace pyscope {

/// What the path leads to stays below the root that it is opened from, whatever links say.
struct RootedOpening {
  /// To look at it only: nothing is opened yet that could do anything by being opened.
  static const open_how kPath;
  static const open_how kFolder;
};

}  // namespace pyscope
