#include "base/shortage.hpp"

#include <unistd.h>

#include <string>

namespace pyscope {

Error Shortages::error() {
  const int error = latest;
  if (error == EMFILE) {
    return {ErrorKind::Failed,
            "pyscope may open no more than " + std::to_string(::sysconf(_SC_OPEN_MAX)) +
                " files at once, which is too few",
            "allow it more: ulimit -n 1024"};
  }
  if (error == ENFILE) {
    return {ErrorKind::Failed, "this machine has as many files open as it can have", ""};
  }
  return {ErrorKind::Failed, "the kernel has no memory for what pyscope asks of it", ""};
}

}  // namespace pyscope
