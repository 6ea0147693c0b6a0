#include "process/system_calls.hpp"

#include <fmt/format.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>

namespace pyscope {
namespace {

using enum Subject;

// In the order of their numbers on x86-64. Most calls without a subject wait for a disk, or for a
// lock of the kernel's own such as that of the address space.
constexpr auto kBlockingCalls = std::to_array<BlockingCall>({
    {SYS_read, "read", "other", Descriptor},
    {SYS_write, "write", "other", Descriptor},
    {SYS_close, "close", "other", Descriptor},
    {SYS_fstat, "fstat", "file", Descriptor},
    {SYS_mmap, "mmap", "other"},
    {SYS_mprotect, "mprotect", "other"},
    {SYS_munmap, "munmap", "other"},
    {SYS_brk, "brk", "other"},
    {SYS_ioctl, "ioctl", "other", Descriptor},
    {SYS_pread64, "pread64", "file", Descriptor},
    {SYS_pwrite64, "pwrite64", "file", Descriptor},
    {SYS_readv, "readv", "other", Descriptor},
    {SYS_writev, "writev", "other", Descriptor},
    {SYS_mremap, "mremap", "other"},
    {SYS_msync, "msync", "file"},
    {SYS_madvise, "madvise", "other"},
    {SYS_nanosleep, "nanosleep", "sleep", Clock, TimeoutForm::Timespec, 0},
    {SYS_sendfile, "sendfile", "other", Descriptor},
    {SYS_connect, "connect", "socket", Connection},
    {SYS_accept, "accept", "socket", Descriptor},
    {SYS_sendto, "sendto", "socket", Descriptor},
    {SYS_recvfrom, "recvfrom", "socket", Descriptor},
    {SYS_sendmsg, "sendmsg", "socket", Descriptor},
    {SYS_recvmsg, "recvmsg", "socket", Descriptor},
    {SYS_shutdown, "shutdown", "socket", Descriptor},
    {SYS_clone, "clone", "child", AnyChild},
    {SYS_execve, "execve", "other", Path},
    {SYS_exit, "exit", "other"},
    {SYS_wait4, "wait4", "child", Child},
    {SYS_semop, "semop", "semaphore"},
    {SYS_msgsnd, "msgsnd", "message_queue"},
    {SYS_msgrcv, "msgrcv", "message_queue"},
    {SYS_fcntl, "fcntl", "other", FileControl},
    {SYS_flock, "flock", "file_lock", FileLock},
    {SYS_fsync, "fsync", "file", Descriptor},
    {SYS_fdatasync, "fdatasync", "file", Descriptor},
    {SYS_truncate, "truncate", "file", Path},
    {SYS_ftruncate, "ftruncate", "file", Descriptor},
    {SYS_chdir, "chdir", "file", Path},
    {SYS_statfs, "statfs", "file", Path},
    {SYS_fstatfs, "fstatfs", "file", Descriptor},
    {SYS_rt_sigtimedwait, "rt_sigtimedwait", "signal", Signals, TimeoutForm::Timespec, 2},
    {SYS_rt_sigsuspend, "rt_sigsuspend", "signal"},
    {SYS_prctl, "prctl", "other"},
    {SYS_sync, "sync", "file"},
    {SYS_mount, "mount", "file"},
    {SYS_umount2, "umount2", "file", Path},
    {SYS_init_module, "init_module", "other"},
    {SYS_delete_module, "delete_module", "other"},
    {SYS_getxattr, "getxattr", "file", Path},
    {SYS_setxattr, "setxattr", "file", Path},
    {SYS_futex, "futex", "futex"},
    {SYS_io_getevents, "io_getevents", "file", None, TimeoutForm::Timespec, 4},
    {SYS_io_submit, "io_submit", "file"},
    {SYS_getdents64, "getdents64", "file", Descriptor},
    // A wait that goes on after the process was stopped or traced. Which call began it isn't known.
    {SYS_restart_syscall, "restart_syscall", "other"},
    {SYS_semtimedop, "semtimedop", "semaphore", None, TimeoutForm::Timespec, 3},
    {SYS_clock_nanosleep, "clock_nanosleep", "sleep", Clock, TimeoutForm::ClockTimespec, 2},
    {SYS_exit_group, "exit_group", "other"},
    {SYS_mq_timedsend, "mq_timedsend", "message_queue", Descriptor},
    {SYS_mq_timedreceive, "mq_timedreceive", "message_queue", Descriptor},
    {SYS_waitid, "waitid", "child", ChildById},
    {SYS_request_key, "request_key", "other"},
    {SYS_keyctl, "keyctl", "other"},
    {SYS_openat, "openat", "file", PathAt},
    {SYS_mkdirat, "mkdirat", "file", PathAt},
    {SYS_newfstatat, "newfstatat", "file", PathAt},
    {SYS_unlinkat, "unlinkat", "file", PathAt},
    {SYS_renameat, "renameat", "file", PathAt},
    {SYS_linkat, "linkat", "file", PathAt},
    {SYS_readlinkat, "readlinkat", "file", PathAt},
    {SYS_faccessat, "faccessat", "file", PathAt},
    {SYS_pselect6, "pselect6", "select", DescriptorSets, TimeoutForm::Timespec, 4},
    {SYS_ppoll, "ppoll", "poll", PollArray, TimeoutForm::Timespec, 2},
    {SYS_splice, "splice", "other", Descriptor},
    {SYS_tee, "tee", "pipe", Descriptor},
    {SYS_sync_file_range, "sync_file_range", "file", Descriptor},
    {SYS_vmsplice, "vmsplice", "pipe", Descriptor},
    {SYS_utimensat, "utimensat", "file", PathAt},
    {SYS_epoll_pwait, "epoll_pwait", "epoll", Descriptor, TimeoutForm::Milliseconds, 3},
    {SYS_fallocate, "fallocate", "file", Descriptor},
    {SYS_accept4, "accept4", "socket", Descriptor},
    {SYS_preadv, "preadv", "file", Descriptor},
    {SYS_pwritev, "pwritev", "file", Descriptor},
    {SYS_recvmmsg, "recvmmsg", "socket", Descriptor},
    {SYS_syncfs, "syncfs", "file", Descriptor},
    {SYS_sendmmsg, "sendmmsg", "socket", Descriptor},
    {SYS_process_vm_readv, "process_vm_readv", "other"},
    {SYS_finit_module, "finit_module", "other", Descriptor},
    {SYS_renameat2, "renameat2", "file", PathAt},
    {SYS_seccomp, "seccomp", "other"},
    {SYS_getrandom, "getrandom", "other"},
    {SYS_execveat, "execveat", "other", PathAt},
    {SYS_membarrier, "membarrier", "other"},
    {SYS_copy_file_range, "copy_file_range", "file", Descriptor},
    {SYS_preadv2, "preadv2", "file", Descriptor},
    {SYS_pwritev2, "pwritev2", "file", Descriptor},
    {SYS_statx, "statx", "file", PathAt},
    {SYS_io_uring_enter, "io_uring_enter", "io_uring", Descriptor},
    {SYS_clone3, "clone3", "child", AnyChild},
    {SYS_openat2, "openat2", "file", PathAt},
    {SYS_epoll_pwait2, "epoll_pwait2", "epoll", Descriptor, TimeoutForm::Timespec, 3},
    {SYS_futex_waitv, "futex_waitv", "futex"},
#ifdef SYS_open  // x86-64 has these besides the newer ones, others don't
    {SYS_open, "open", "file", Path},
    {SYS_stat, "stat", "file", Path},
    {SYS_lstat, "lstat", "file", Path},
    {SYS_poll, "poll", "poll", PollArray, TimeoutForm::Milliseconds, 2},
    {SYS_access, "access", "file", Path},
    {SYS_select, "select", "select", DescriptorSets, TimeoutForm::Timeval, 4},
    {SYS_pause, "pause", "signal"},
    {SYS_fork, "fork", "other"},
    {SYS_vfork, "vfork", "child", AnyChild},
    {SYS_getdents, "getdents", "file", Descriptor},
    {SYS_rename, "rename", "file", Path},
    {SYS_mkdir, "mkdir", "file", Path},
    {SYS_rmdir, "rmdir", "file", Path},
    {SYS_creat, "creat", "file", Path},
    {SYS_link, "link", "file", Path},
    {SYS_unlink, "unlink", "file", Path},
    {SYS_symlink, "symlink", "file", Path},
    {SYS_readlink, "readlink", "file", Path},
    {SYS_epoll_wait, "epoll_wait", "epoll", Descriptor, TimeoutForm::Milliseconds, 3},
#endif
});

}  // namespace

const BlockingCall* find_blocking_call(std::int64_t number) {
  const auto* found = std::find_if(kBlockingCalls.begin(), kBlockingCalls.end(),
                                   [&](const BlockingCall& call) { return call.number == number; });
  return found == kBlockingCalls.end() ? nullptr : found;
}

const BlockingCall* find_blocking_call(std::string_view name) {
  const auto* found = std::find_if(kBlockingCalls.begin(), kBlockingCalls.end(),
                                   [&](const BlockingCall& call) { return call.name == name; });
  return found == kBlockingCalls.end() ? nullptr : found;
}

std::string system_call_name(std::int64_t number) {
  const BlockingCall* call = find_blocking_call(number);
  return call == nullptr ? fmt::format("syscall {}", number) : std::string(call->name);
}

}  // namespace pyscope
