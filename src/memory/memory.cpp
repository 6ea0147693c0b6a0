#include "pyscope/memory.hpp"

namespace pyscope {

Error read_error(ReadStatus status, RemoteAddr at, std::size_t size) {
  const auto what = fmt::format("{} bytes at {:#x}", size, at.raw());
  switch (status) {
    case ReadStatus::Gone:
      return {ErrorKind::NoSuchProcess, fmt::format("reading {}: the process has ended", what), ""};
    case ReadStatus::Denied:
      return {ErrorKind::NotPermitted, fmt::format("reading {}: the kernel refused", what), ""};
    case ReadStatus::OverBudget:
      return {ErrorKind::Malformed,
              fmt::format("reading {}: the limit on memory read from one process is reached", what),
              ""};
    case ReadStatus::TimedOut:
      return {ErrorKind::Malformed, fmt::format("reading {}: the time limit is reached", what),
              "give it more time with --timeout"};
    case ReadStatus::Unanswered:
      return {ErrorKind::Malformed,
              fmt::format("reading {}: nothing answers for this memory", what),
              "it may lie on a file system that is dead"};
    case ReadStatus::Pending:
    case ReadStatus::Ok:
    case ReadStatus::Fault:
      break;
  }
  return {ErrorKind::Fault, fmt::format("{} are not readable", what), ""};
}

Result<void> Memory::read(RemoteAddr at, std::span<std::byte> out) const {
  ReadRequest request{at, out};
  read_many({&request, 1});
  if (request.status == ReadStatus::Ok) return {};
  return fail(read_error(request.status, at, out.size()));
}

}  // namespace pyscope
