#include "process/descriptors.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <unordered_set>
#include <utility>

#include "process/file_locks.hpp"
#include "process/other_processes.hpp"
#include "process/proc_file.hpp"
#include "process/sockets.hpp"
#include "process/unix_peers.hpp"
#include "process/words.hpp"

namespace pyscope {
namespace {

// Bound (bytes): `fdinfo` of one descriptor
constexpr std::size_t kMostFdinfo = std::size_t{4} << 20U;  // some 60,000 watched descriptors
// Bound (bytes): `/proc/locks`
constexpr std::size_t kMostLocks = std::size_t{4} << 20U;
// Bound: unix sockets whose peer is asked for
constexpr std::size_t kMostPeers = 256;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
}

template <class Take>
void for_each_line(std::string_view text, const Take& take) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    take(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

/// The text between "socket:[" and "]"; empty for another text.
std::optional<std::string_view> in_brackets(std::string_view link, std::string_view prefix) {
  if (!link.starts_with(prefix) || !link.ends_with(']')) return std::nullopt;
  return link.substr(prefix.size(), link.size() - prefix.size() - 1);
}

/// The words for the moment when a timer goes off. fdinfo has "it_value: (12, 345678901)".
std::string describe_timer(std::string_view fdinfo) {
  std::string_view value = fdinfo_value(fdinfo, "it_value");
  if (!value.starts_with('(') || !value.ends_with(')')) return {};
  value = value.substr(1, value.size() - 2);
  const std::size_t comma = value.find(',');
  if (comma == std::string_view::npos) return {};
  const auto seconds = to_number<std::uint64_t>(value.substr(0, comma));
  const auto nanoseconds = to_number<std::uint64_t>(trimmed(value.substr(comma + 1)));
  constexpr std::uint64_t kSecond = 1'000'000'000;
  if (!seconds || !nanoseconds || *nanoseconds >= kSecond) return {};
  if (*seconds == 0 && *nanoseconds == 0) return "timer that isn't set";
  return fmt::format("timer, {}.{} s left", *seconds, *nanoseconds / (kSecond / 10));
}

std::size_t count_lines(std::string_view fdinfo, std::string_view prefix) {
  std::size_t count = 0;
  for_each_line(fdinfo, [&](std::string_view line) { count += line.starts_with(prefix) ? 1 : 0; });
  return count;
}

std::string name_signal(int number) {
  const char* name = ::sigabbrev_np(number);
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", number);
}

std::string protocol_words(std::string text) {
  for (char& c : text)
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c == '-' ? ' ' : c;
  return text;
}

/// "sort (pid 5) and 2 other processes"
std::string name_processes(const std::vector<pid_t>& pids) {
  std::string text = name_process(pids.front());
  if (pids.size() == 2) text += " and 1 other process";
  if (pids.size() > 2) text += fmt::format(" and {} other processes", pids.size() - 1);
  return text;
}

/// Names the processes at the other end; empty if none was found.
std::string name_holders(const std::vector<Holder>& holders, pid_t target,
                         bool (*fits)(const Holder&)) {
  std::vector<pid_t> others;
  bool is_itself = false;
  for (const Holder& holder : holders) {
    if (!fits(holder)) continue;
    if (holder.pid == target) {
      is_itself = true;
    } else {
      others.push_back(holder.pid);
    }
  }
  if (!others.empty()) return name_processes(others);
  return is_itself ? "this process itself" : "";
}

}  // namespace

std::string_view fdinfo_value(std::string_view fdinfo, std::string_view key) {
  std::string_view value;
  for_each_line(fdinfo, [&](std::string_view line) {
    if (value.empty() && line.starts_with(key) && line.substr(key.size()).starts_with(':')) {
      value = trimmed(line.substr(key.size() + 1));
    }
  });
  return value;
}

std::vector<int> parse_epoll_targets(std::string_view fdinfo) {
  // "tfd:        5 events:       19 data:                5  pos:0 ino:1f3 sdev:9"
  constexpr std::string_view kKey = "tfd:";
  std::vector<int> targets;
  for_each_line(fdinfo, [&](std::string_view line) {
    if (!line.starts_with(kKey)) return;
    const std::string_view rest = trimmed(line.substr(kKey.size()));
    const auto fd = to_number<int>(rest.substr(0, rest.find(' ')));
    if (fd && *fd >= 0) targets.push_back(*fd);
  });
  return targets;
}

std::string name_signals(std::uint64_t set) {
  constexpr int kSignals = 64;
  constexpr int kFew = 12;
  std::vector<std::string> in;
  std::vector<std::string> out;
  for (int number = 1; number <= kSignals; ++number) {
    const bool is_in = (set >> static_cast<unsigned>(number - 1) & 1U) != 0;
    (is_in ? in : out).push_back(name_signal(number));
  }
  if (in.empty()) return "no signal";
  if (out.empty()) return "any signal";
  if (in.size() <= kFew) return fmt::format("{}", fmt::join(in, ", "));
  if (out.size() <= kFew) return fmt::format("any signal but {}", fmt::join(out, ", "));
  return fmt::format("{} signals", in.size());
}

std::string list_descriptors(const std::vector<std::string>& named, std::size_t count) {
  std::string text = fmt::format("{}", fmt::join(named, ", "));
  if (count > named.size()) text += fmt::format(" and {} more", count - named.size());
  return text;
}

Descriptors::Descriptors(const Process& process, const Log& log)
    : process_(process), log_(log), root_(process.read_link("root").value_or("/")) {
  if (root_ == "/") root_.clear();
}

std::string Descriptors::inside_root(std::string path) const {
  if (root_.empty() || !path.starts_with(root_)) return path;
  if (path.size() == root_.size()) return "/";
  if (path[root_.size()] == '/') path.erase(0, root_.size());
  return path;
}

void Descriptors::want(int fd) {
  if (fd < 0) return;
  const auto [entry, is_new] = entries_.try_emplace(fd);
  entry->second.direct = true;
  if (!is_new) return;
  look_at(fd, entry->second);
  // An epoll instance may watch another one. The inner one is named, but its own descriptors aren't
  // listed.
  const std::vector<int> watched = entry->second.watched;  // the map may grow meanwhile
  for (std::size_t i = 0; i < std::min(watched.size(), kMostNamed); ++i) {
    const auto [other, is_other_new] = entries_.try_emplace(watched[i]);
    if (is_other_new) look_at(watched[i], other->second);
  }
}

void Descriptors::look_at(int fd, Entry& entry) {
  auto link = process_.read_link(fmt::format("fd/{}", fd).c_str());
  if (!link) return;
  entry.link = *std::move(link);
  Descriptor& descriptor = entry.descriptor;
  if (const auto socket = in_brackets(entry.link, "socket:[")) {
    descriptor.kind = "socket";
    entry.inode = to_number<std::uint64_t>(*socket).value_or(0);
  } else if (in_brackets(entry.link, "pipe:[")) {
    descriptor = {"pipe", "pipe"};
    entry.is_pipe = true;
  } else if (entry.link.starts_with("pidfd:")) {
    look_at_anonymous(fd, "pidfd", entry);
  } else if (const auto name = in_brackets(entry.link, "anon_inode:[")) {
    look_at_anonymous(fd, *name, entry);
  } else if (constexpr std::string_view kPrefix = "anon_inode:"; entry.link.starts_with(kPrefix)) {
    look_at_anonymous(fd, std::string_view(entry.link).substr(kPrefix.size()), entry);
  } else if (entry.link.starts_with('/')) {
    look_at_path(fd, entry);
  } else {
    descriptor = {"other", entry.link};
  }
  if (entry.is_pipe) {
    // The permissions of the link are the mode in which it was opened.
    struct stat info {};
    if (::fstatat(process_.directory(), fmt::format("fd/{}", fd).c_str(), &info,
                  AT_SYMLINK_NOFOLLOW) == 0) {
      entry.reads = (info.st_mode & S_IRUSR) != 0;
      entry.writes = (info.st_mode & S_IWUSR) != 0;
    }
  }
}

void Descriptors::look_at_anonymous(int fd, std::string_view name, Entry& entry) {
  Descriptor& descriptor = entry.descriptor;
  if (name == "eventpoll") {
    descriptor.kind = "epoll";
    entry.watched = parse_epoll_targets(read_fdinfo(fd));
  } else if (name == "eventfd") {
    descriptor = {"eventfd", "eventfd"};
  } else if (name == "timerfd") {
    descriptor = {"timerfd", describe_timer(read_fdinfo(fd))};
  } else if (name == "inotify") {
    const std::size_t count = count_lines(read_fdinfo(fd), "inotify wd:");
    descriptor = {"inotify", count == 1 ? std::string("inotify with 1 watch")
                                        : fmt::format("inotify with {} watches", count)};
  } else if (name == "signalfd") {
    const std::string fdinfo = read_fdinfo(fd);
    const auto set = to_number<std::uint64_t>(fdinfo_value(fdinfo, "sigmask"), 16);
    descriptor = {"signal", set ? name_signals(*set) : std::string{}};
  } else if (name == "pidfd") {
    const std::string fdinfo = read_fdinfo(fd);
    const auto pid = to_number<pid_t>(fdinfo_value(fdinfo, "Pid"));
    // Negative once it has ended and was waited for.
    descriptor = {"child", pid && *pid > 0 ? name_process(*pid) : std::string{}};
  } else if (name == "io_uring") {
    descriptor = {"io_uring", "io_uring"};
  } else {
    descriptor = {"other", std::string(name)};
  }
}

void Descriptors::look_at_path(int fd, Entry& entry) {
  Descriptor& descriptor = entry.descriptor;
  descriptor.target = inside_root(entry.link);
  descriptor.kind = "file";
  // Asks only for what the kernel knows already. A server of a network file system would have to
  // answer anything else, and the target may be waiting for that very server.
  struct statx info {};
  if (::statx(process_.directory(), fmt::format("fd/{}", fd).c_str(), AT_STATX_DONT_SYNC,
              STATX_TYPE, &info) != 0) {
    return;
  }
  if (S_ISFIFO(info.stx_mode)) {
    descriptor.kind = "pipe";
    descriptor.target = "FIFO " + descriptor.target;
    entry.is_pipe = true;
  } else if (S_ISCHR(info.stx_mode)) {
    descriptor.kind = "device";
  }
}

std::string Descriptors::read_fdinfo(int fd) const {
  return process_.read_file(fmt::format("fdinfo/{}", fd).c_str(), kMostFdinfo).value_or("");
}

void Descriptors::resolve() {
  resolve_sockets();
  resolve_other_ends();
}

/// The kernel's name for the protocol of a socket: "TCP", "UNIX-STREAM", "NETLINK"; empty where the
/// kernel doesn't say.
std::string Descriptors::protocol_of(int fd) const {
  const std::string path = fmt::format("/proc/self/fd/{}/fd/{}", process_.directory(), fd);
  std::array<char, 64> name{};
  const ssize_t n = ::getxattr(path.c_str(), "system.sockprotoname", name.data(), name.size() - 1);
  return n > 0 ? std::string(name.data()) : std::string{};
}

void Descriptors::resolve_sockets() {
  WantedSockets wanted;
  for (auto& [fd, entry] : entries_) {
    if (entry.inode == 0) continue;
    const std::string protocol = protocol_of(fd);
    // The words for a socket that is in no table: it isn't bound or connected, or is of a rare
    // kind.
    entry.descriptor.target = "socket";
    if (!protocol.empty()) entry.descriptor.target = protocol_words(protocol) + " socket";
    if (const auto table = table_of(protocol)) wanted[*table].insert(entry.inode);
  }
  if (wanted.empty()) return;
  auto sockets = find_sockets(process_, wanted, log_);
  // The kernel answers for the asker's own network namespace only.
  const bool asks_for_peers = process_.shares_namespace("net");
  std::optional<UnixPeers> peers;
  for (auto& [inode, socket] : sockets) {
    if (!asks_for_peers || !socket.protocol.starts_with("unix") || socket.state == "listen")
      continue;
    if (peers_.size() == kMostPeers) break;
    if (!peers) peers.emplace();
    if (const auto peer = peers->of(inode)) {
      socket.remote = peer->name;
      peers_.emplace(inode, peer->inode);
    }
  }
  for (auto& [fd, entry] : entries_) {
    if (entry.inode == 0) continue;
    const auto found = sockets.find(entry.inode);
    if (found != sockets.end()) entry.descriptor.target = to_text(found->second);
  }
}

void Descriptors::resolve_other_ends() {
  const auto peer_link = [&](const Entry& entry) -> std::string {
    const auto peer = peers_.find(entry.inode);
    return peer == peers_.end() ? std::string{} : fmt::format("socket:[{}]", peer->second);
  };
  std::unordered_set<std::string> links;
  for (const auto& [fd, entry] : entries_) {
    // Most event loops watch a pipe to themselves. Looking through all processes costs too much for
    // that.
    if (!entry.direct) continue;
    if (entry.is_pipe) links.insert(entry.link);
    if (std::string link = peer_link(entry); !link.empty()) links.insert(std::move(link));
  }
  if (links.empty()) return;
  const auto holders = find_holders(links, process_.pid(), log_).holders;
  for (auto& [fd, entry] : entries_) {
    const auto found = holders.find(entry.is_pipe ? entry.link : peer_link(entry));
    if (found == holders.end()) continue;
    // The other end of a socket is anybody's who has it open. The other end of a pipe that is read
    // here belongs to its writers.
    const char* preposition = "to";
    bool (*fits)(const Holder&) = [](const Holder&) { return true; };
    if (entry.is_pipe && entry.reads && entry.writes) {
      preposition = "with";
    } else if (entry.is_pipe && entry.reads) {
      preposition = "from";
      fits = [](const Holder& holder) { return holder.writes; };
    } else if (entry.is_pipe) {
      fits = [](const Holder& holder) { return holder.reads; };
    }
    const std::string who = name_holders(found->second, process_.pid(), fits);
    if (!who.empty()) entry.descriptor.target += fmt::format(" {} {}", preposition, who);
  }
}

Descriptor Descriptors::describe(int fd) const {
  const auto found = entries_.find(fd);
  if (found == entries_.end()) return {};
  const Entry& entry = found->second;
  if (entry.descriptor.kind != "epoll") return entry.descriptor;
  std::vector<std::string> named;
  for (std::size_t i = 0; i < std::min(entry.watched.size(), kMostNamed); ++i)
    named.push_back(name(entry.watched[i]));
  return {"epoll", named.empty() ? "epoll without descriptors"
                                 : list_descriptors(named, entry.watched.size())};
}

std::string Descriptors::name(int fd) const {
  const auto found = entries_.find(fd);
  if (found == entries_.end()) return fmt::format("fd {}", fd);
  const Descriptor& descriptor = found->second.descriptor;
  const std::string& words = descriptor.target.empty() ? descriptor.kind : descriptor.target;
  return words.empty() ? fmt::format("fd {}", fd) : fmt::format("fd {} ({})", fd, words);
}

std::string Descriptors::lock_holder(int fd) const {
  struct statx info {};
  if (::statx(process_.directory(), fmt::format("fd/{}", fd).c_str(), AT_STATX_DONT_SYNC, STATX_INO,
              &info) != 0) {
    return {};
  }
  const auto locks = read_file_start(AT_FDCWD, "/proc/locks", kMostLocks);
  if (!locks) return {};
  const auto holder = find_lock_holder(*locks, process_.pid(), info.stx_ino);
  if (!holder) return {};
  return *holder == process_.pid() ? "this process itself" : name_process(*holder);
}

}  // namespace pyscope
