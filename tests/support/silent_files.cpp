#include "support/silent_files.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace pyscope::test {
namespace {

constexpr std::uint64_t kRoot = 1;
constexpr std::uint64_t kSource = 2;

fuse_attr attributes_of(std::uint64_t inode) {
  fuse_attr attributes{};
  attributes.ino = inode;
  attributes.nlink = 1;
  attributes.mode = inode == kRoot ? S_IFDIR | 0755U : S_IFREG | 0644U;
  attributes.size = inode == kRoot ? 0 : 4096;
  attributes.mtime = attributes.ctime = 1'000'000;
  return attributes;
}

template <class T>
T body_of(const std::vector<char>& request) {
  T body{};
  std::memcpy(&body, request.data() + sizeof(fuse_in_header),
              std::min(sizeof body, request.size() - sizeof(fuse_in_header)));
  return body;
}

void answer(int device, std::uint64_t request, int error, const void* body, std::size_t size) {
  fuse_out_header header{};
  header.len = static_cast<std::uint32_t>(sizeof header + size);
  header.error = -error;
  header.unique = request;
  std::array<iovec, 2> parts = {iovec{&header, sizeof header},
                                iovec{const_cast<void*>(body), size}};
  (void)!::writev(device, parts.data(), size == 0 ? 1 : 2);
}

template <class T>
void answer(int device, std::uint64_t request, const T& body) {
  answer(device, request, 0, &body, sizeof body);
}

}  // namespace

SilentFiles::SilentFiles(std::string folder)
    : folder_(std::move(folder)), device_(::open("/dev/fuse", O_RDWR | O_CLOEXEC)) {
  if (!device_) return;
  const std::string options =
      fmt::format("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device_.get());
  mounted_ = ::mount("silent", folder_.c_str(), "fuse", 0, options.c_str()) == 0;
  if (mounted_) server_ = std::thread([this] { serve(); });
}

SilentFiles::~SilentFiles() {
  if (!mounted_) return;
  // Whoever waits for an answer gets an error, and the server finds its device closed.
  (void)::umount2(folder_.c_str(), MNT_FORCE);
  (void)::umount2(folder_.c_str(), MNT_DETACH);
  server_.join();
}

void SilentFiles::serve() const {
  std::vector<char> request(std::size_t{1} << 20U);
  while (true) {
    request.resize(request.capacity());
    const ssize_t n = ::read(device_.get(), request.data(), request.size());
    if (n < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN)) continue;
    if (n < static_cast<ssize_t>(sizeof(fuse_in_header))) return;
    request.resize(static_cast<std::size_t>(n));
    fuse_in_header header{};
    std::memcpy(&header, request.data(), sizeof header);
    switch (header.opcode) {
      case FUSE_INIT: {
        const auto theirs = body_of<fuse_init_in>(request);
        fuse_init_out ours{};
        ours.major = FUSE_KERNEL_VERSION;
        ours.minor = std::min<std::uint32_t>(theirs.minor, FUSE_KERNEL_MINOR_VERSION);
        ours.max_write = 4096;
        answer(device_.get(), header.unique, ours);
        break;
      }
      case FUSE_LOOKUP: {
        if (std::strcmp(request.data() + sizeof header, kFile) != 0) {
          answer(device_.get(), header.unique, ENOENT, nullptr, 0);
          break;
        }
        fuse_entry_out entry{};
        entry.nodeid = kSource;
        entry.attr = attributes_of(kSource);
        answer(device_.get(), header.unique, entry);
        break;
      }
      case FUSE_GETATTR: {
        fuse_attr_out out{};
        out.attr = attributes_of(header.nodeid);
        answer(device_.get(), header.unique, out);
        break;
      }
      case FUSE_OPEN:
      case FUSE_OPENDIR:
        answer(device_.get(), header.unique, fuse_open_out{});
        break;
      case FUSE_READ:
      case FUSE_FORGET:
      case FUSE_BATCH_FORGET:
      case FUSE_INTERRUPT:
        break;
      default:
        answer(device_.get(), header.unique, ENOSYS, nullptr, 0);
    }
  }
}

}  // namespace pyscope::test
