#pragma once

#include <string>

#include "base/unique_fd.hpp"

namespace pyscope {

/// Opens a regular file for reading by a path as the target sees it: below /proc/PID/root, whose
/// descriptor of /proc/PID is `proc_directory`. No symbolic link and no ".." of the target's leads
/// out of its root, and no FIFO or device is ever opened, so nothing of the target's can make this
/// block or reach a file of ours. Empty with errno set when it can't be opened.
///
/// By openat2 (Linux 5.6), or the same in steps on older kernels.
[[nodiscard]] UniqueFd open_below_root(int proc_directory, const std::string& path);

/// The same for a path relative to the target's working directory; its ".." may lead upwards within
/// the root. Absolute paths are taken as such.
[[nodiscard]] UniqueFd open_from_working_directory(int proc_directory, const std::string& path);

/// Opens for reading what was looked at by a descriptor with O_PATH, if that is a regular file;
/// else empty, with errno set. Opening anything else may have effects, or block.
[[nodiscard]] UniqueFd open_if_regular(const UniqueFd& peek);

}  // namespace pyscope
