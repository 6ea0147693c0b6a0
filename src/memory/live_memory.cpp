#include "memory/live_memory.hpp"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <vector>

#include "base/kernel_call.hpp"

namespace pyscope {
namespace {

// process_vm_readv copies range by range and stops at the first byte that it can't read.
// Marks what `copied` bytes cover; returns how many requests are settled by that.
std::size_t settle(std::span<ReadRequest> batch, std::size_t copied) {
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (copied < batch[i].out.size()) {
      batch[i].status = ReadStatus::Fault;
      return i + 1;
    }
    batch[i].status = ReadStatus::Ok;
    copied -= batch[i].out.size();
  }
  return batch.size();
}

}  // namespace

void LiveMemory::read_many(std::span<ReadRequest> requests) const {
  if (!KernelCall::any_unanswered()) {
    read_at_once(requests);
    return;
  }
  // One page without an answer must not cost the others theirs.
  for (ReadRequest& request : requests)
    read_apart(request);
}

void LiveMemory::read_apart(ReadRequest& request) const {
  constexpr std::uint64_t kPage = 4096;
  request.status = ReadStatus::Pending;
  std::span<std::byte> rest = request.out;
  std::uint64_t at = request.at.raw();
  const bool by_pages = KernelCall::is_suspect(pid_, at, rest.size());
  do {
    const std::size_t size =
        by_pages ? std::min<std::size_t>(rest.size(), kPage - at % kPage) : rest.size();
    ReadRequest piece{RemoteAddr{at}, rest.first(size)};
    read_at_once({&piece, 1});
    request.status = piece.status;
    rest = rest.subspan(size);
    at += size;
  } while (request.status == ReadStatus::Ok && !rest.empty());
}

void LiveMemory::read_at_once(std::span<ReadRequest> requests) const {
  std::vector<iovec> local;
  std::vector<iovec> remote;
  while (!requests.empty() && !use_proc_mem_) {
    const auto batch = requests.first(std::min<std::size_t>(requests.size(), IOV_MAX));
    local.clear();
    remote.clear();
    std::uint64_t end_of_last = 0;
    for (const ReadRequest& request : batch) {
      local.push_back({request.out.data(), request.out.size()});
      // Each remote range costs about as much as a small copy: neighbours are one range.
      if (!remote.empty() && request.at.raw() == end_of_last) {
        remote.back().iov_len += request.out.size();
      } else {
        // The kernel takes an address of the target as a pointer; it is never followed here.
        // NOLINTNEXTLINE(performance-no-int-to-ptr)
        remote.push_back({reinterpret_cast<void*>(request.at.raw()), request.out.size()});
      }
      end_of_last = request.at.raw() + request.out.size();
    }
    const KernelCall call(pid_, remote);
    if (!call) {
      for (ReadRequest& request : batch)
        request.status = ReadStatus::Unanswered;
      requests = requests.subspan(batch.size());
      continue;
    }
    ++system_calls_;
    const ssize_t n =
        ::process_vm_readv(pid_, local.data(), local.size(), remote.data(), remote.size(), 0);
    if (n >= 0) {
      requests = requests.subspan(settle(batch, static_cast<std::size_t>(n)));
    } else if (errno == EFAULT) {
      requests = requests.subspan(settle(batch, 0));
    } else if (errno == ESRCH) {
      for (ReadRequest& request : requests)
        request.status = ReadStatus::Gone;
      return;
    } else {
      use_proc_mem();
    }
  }
  if (!requests.empty()) read_by_proc_mem(requests);
}

void LiveMemory::use_proc_mem() const {
  use_proc_mem_ = true;
  mem_ = UniqueFd{::openat(proc_directory_, "mem", O_RDONLY | O_CLOEXEC)};
}

void LiveMemory::read_by_proc_mem(std::span<ReadRequest> requests) const {
  for (ReadRequest& request : requests) {
    request.status = mem_ ? ReadStatus::Pending : ReadStatus::Denied;
    std::span<std::byte> rest = request.out;
    std::uint64_t at = request.at.raw();
    while (mem_ && !rest.empty() && request.status == ReadStatus::Pending) {
      // An address of the target, which is never followed here.
      // NOLINTNEXTLINE(performance-no-int-to-ptr)
      const iovec range{reinterpret_cast<void*>(at), rest.size()};
      const KernelCall call(pid_, {&range, 1});
      if (!call) {
        request.status = ReadStatus::Unanswered;
        break;
      }
      ++system_calls_;
      const ssize_t n = ::pread(mem_.get(), rest.data(), rest.size(), static_cast<off_t>(at));
      if (n > 0) {
        rest = rest.subspan(static_cast<std::size_t>(n));
        at += static_cast<std::uint64_t>(n);
      } else if (n == 0) {
        request.status = ReadStatus::Gone;  // the address space went away with the process
      } else if (errno == EPERM || errno == EACCES) {
        request.status = ReadStatus::Denied;
      } else if (errno != EINTR) {
        request.status = ReadStatus::Fault;
      }
    }
    if (request.status == ReadStatus::Pending) request.status = ReadStatus::Ok;
  }
}

}  // namespace pyscope
