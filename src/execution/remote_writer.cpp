#include "execution/remote_writer.hpp"

#include <fmt/core.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "structures/remote_debugging.hpp"

namespace pyscope {

RemoteWriter::RemoteWriter(const Process& process, const DebugOffsets& offsets,
                           RemoteAddr thread_state)
    : process_(process),
      thread_state_{thread_state, offsets[Field::ThreadSize]},
      breaker_(offsets[Field::DebuggerEvalBreaker]),
      pending_(offsets[Field::DebuggerRemoteDebuggerSupport] + offsets[Field::DebuggerPendingCall]),
      path_(offsets[Field::DebuggerRemoteDebuggerSupport] + offsets[Field::DebuggerScriptPath]),
      path_size_(offsets[Field::DebuggerScriptPathSize]) {}

Result<RemoteWriter> RemoteWriter::create(const Process& process, const DebugOffsets& offsets,
                                          RemoteAddr thread_state) {
  if (!has_known_remote_debugging(offsets)) {
    return fail(ErrorKind::Malformed,
                fmt::format("process {} says that CPython {} keeps its requests at other places "
                            "than every CPython {}.{} does; nothing is written by such a table",
                            process.pid(), offsets.version().text(), offsets.version().major,
                            offsets.version().minor));
  }
  const auto maps = process.maps();
  if (!maps) return fail(maps.error());
  const std::uint64_t end = thread_state.raw() + offsets[Field::ThreadSize];
  constexpr std::uint64_t kAlignment = 8;
  bool writable = thread_state.raw() % kAlignment == 0 && end > thread_state.raw();
  for (std::uint64_t at = thread_state.raw(); writable && at < end;) {
    const Mapping* mapping = find_mapping(*maps, RemoteAddr{at});
    writable = mapping != nullptr && mapping->readable && mapping->writable && !mapping->executable;
    if (writable) at = mapping->range.start.raw() + mapping->range.size;
  }
  if (!writable) {
    return fail(ErrorKind::Malformed,
                fmt::format("process {} has a thread state at {:#x}, where no data can be",
                            process.pid(), thread_state.raw()));
  }
  return RemoteWriter(process, offsets, thread_state);
}

Result<void> RemoteWriter::write_path(std::string_view path) const {
  if (path.size() >= path_size_ || path.find('\0') != std::string_view::npos) {
    return fail(ErrorKind::Failed, fmt::format("the path of the script takes {} bytes, and there "
                                               "is room for {}",
                                               path.size() + 1, path_size_));
  }
  const std::string with_end = std::string(path) + '\0';
  return write(path_, std::as_bytes(std::span(with_end)));
}

Result<void> RemoteWriter::write_pending(bool wanted) const {
  const std::int32_t flag = wanted ? 1 : 0;
  return write(pending_, std::as_bytes(std::span(&flag, 1)));
}

Result<void> RemoteWriter::write_breaker(std::uint64_t word) const {
  return write(breaker_, std::as_bytes(std::span(&word, 1)));
}

Result<void> RemoteWriter::write(std::uint64_t offset, std::span<const std::byte> bytes) const {
  if (offset > thread_state_.size || bytes.size() > thread_state_.size - offset) {
    return fail(ErrorKind::Malformed, "a write would leave the thread state");
  }
  std::string copy(bytes.size(), '\0');
  std::memcpy(copy.data(), bytes.data(), bytes.size());
  const iovec from{copy.data(), copy.size()};
  // The kernel takes an address of the target as a pointer; it is never followed here.
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  const iovec to{reinterpret_cast<void*>(thread_state_.start.raw() + offset), copy.size()};
  const ssize_t written = ::process_vm_writev(process_.pid(), &from, 1, &to, 1, 0);
  if (written == static_cast<ssize_t>(copy.size())) return {};
  const int error = written < 0 ? errno : EFAULT;
  return fail(error == ESRCH   ? ErrorKind::NoSuchProcess
              : error == EPERM ? ErrorKind::NotPermitted
                               : ErrorKind::Failed,
              fmt::format("writing to process {}: process_vm_writev: {}", process_.pid(),
                          std::strerror(error)));
}

}  // namespace pyscope
