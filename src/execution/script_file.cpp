#include "execution/script_file.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/fsuid.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "process/rooted_open.hpp"

namespace pyscope {
namespace {

/// While this lives, files are made, found and removed as the target's user would: with that user's
/// rights, and owned by that user.
class ActAs {
 public:
  explicit ActAs(const Credentials& user)
      : uid_(static_cast<uid_t>(::setfsuid(kAsk))), gid_(static_cast<gid_t>(::setfsgid(kAsk))) {
    ::setfsgid(user.gid);
    ::setfsuid(user.uid);
    succeeded_ = static_cast<uid_t>(::setfsuid(kAsk)) == user.uid;
  }
  ActAs(const ActAs&) = delete;
  ActAs& operator=(const ActAs&) = delete;
  ~ActAs() {
    ::setfsuid(uid_);
    ::setfsgid(gid_);
  }
  [[nodiscard]] bool succeeded() const { return succeeded_; }

 private:
  static constexpr auto kAsk = static_cast<uid_t>(-1);  // no such user: nothing is changed
  uid_t uid_;
  gid_t gid_;
  bool succeeded_ = false;
};

/// TMPDIR of the target's environment; empty if there is none.
std::string temporary_folder(const Process& process) {
  constexpr std::string_view kName = "TMPDIR=";
  const auto environment = process.read_file("environ");
  std::string_view rest = environment ? std::string_view(*environment) : std::string_view();
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\0'), rest.size());
    const std::string_view word = rest.substr(0, end);
    if (word.starts_with(kName) && word.substr(kName.size()).starts_with('/')) {
      return std::string(word.substr(kName.size()));
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return {};
}

}  // namespace

Result<ScriptPlace> ScriptPlace::find(const Process& process, const Log& log) {
  ScriptPlace place;
  const auto owner = credentials_of(process);
  if (!owner) {
    return fail(ErrorKind::Failed,
                fmt::format("the user of process {} can't be found out", process.pid()));
  }
  place.owner_ = *owner;
  std::uint64_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != sizeof random) {
    return fail(ErrorKind::Failed, fmt::format("getrandom: {}", std::strerror(errno)));
  }
  place.name_ = fmt::format(".pyscope-exec-{}-{:016x}.py", process.pid(), random);
  const ActAs user(place.owner_);
  if (!user.succeeded()) {
    return fail(ErrorKind::NotPermitted,
                fmt::format("process {} ({}) runs as user {}, and pyscope can't make a file that "
                            "only this user can read",
                            process.pid(), process.name(), place.owner_.uid),
                "run pyscope exec as that user, or as root");
  }
  std::vector<std::string> paths{temporary_folder(process), "/tmp", "/var/tmp", "/dev/shm",
                                 fmt::format("/run/user/{}", place.owner_.uid)};
  for (std::string& path : paths) {
    while (path.ends_with('/'))
      path.pop_back();
    // A path longer than this leaves no room for the name (debugger_script_path).
    constexpr std::size_t kLongest = 400;
    if (path.empty() || path.size() > kLongest) continue;
    UniqueFd folder = open_folder_below_root(process.directory(), path);
    if (folder) {
      place.folders_.push_back({std::move(folder), std::move(path)});
    } else {
      log("no script in {}: {}", path, std::strerror(errno));
    }
  }
  if (place.folders_.empty()) {
    return fail(ErrorKind::Failed,
                fmt::format("process {} ({}) has no folder for temporary files that its user can "
                            "use",
                            process.pid(), process.name()));
  }
  return place;
}

bool ScriptPlace::remove() const {
  const ActAs user(owner_);
  bool removed = false;
  for (const Folder& folder : folders_) {
    removed = ::unlinkat(folder.descriptor.get(), name_.c_str(), 0) == 0 || removed;
  }
  return removed;
}

Result<ScriptFile> ScriptFile::create_in(const ScriptPlace& place, std::size_t folder,
                                         const std::string& path, std::string_view text) {
  const ActAs user(place.owner_);
  const int in = place.folders_[folder].descriptor.get();
  const auto failed = [&](const char* what) {
    const int error = errno;
    return fail(ErrorKind::Failed,
                fmt::format("the script can't be put into the process's {}: {}: {}",
                            place.folders_[folder].path, what, std::strerror(error)),
                "the process needs a folder that its user can write to: /tmp, /var/tmp, /dev/shm "
                "or its TMPDIR");
  };
  UniqueFd file{::openat(in, place.name_.c_str(),
                         O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR)};
  if (!file) return failed("open");
  ScriptFile made(place, std::move(file), path);  // is removed again if something fails
  while (!text.empty()) {
    const ssize_t n = ::write(made.file_.get(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failed("write");
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return made;
}

ScriptFile::~ScriptFile() {
  if (file_) place_->remove();
}

std::size_t ScriptFile::size() const {
  struct stat info {};
  return ::fstat(file_.get(), &info) == 0 && info.st_size > 0
             ? static_cast<std::size_t>(info.st_size)
             : 0;
}

std::string ScriptFile::read(std::size_t limit) const {
  constexpr std::size_t kPiece = std::size_t{64} << 10U;
  std::string text;
  while (text.size() < limit) {
    const std::size_t had = text.size();
    text.resize(std::min(had + kPiece, limit));
    const ssize_t n =
        ::pread(file_.get(), text.data() + had, text.size() - had, static_cast<off_t>(had));
    if (n < 0 && errno == EINTR) {
      text.resize(had);
      continue;
    }
    text.resize(had + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    if (n <= 0) break;
  }
  return text;
}

}  // namespace pyscope
