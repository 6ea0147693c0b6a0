#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>

#include "process/rooted_open.hpp"
#include "target_root.hpp"

using namespace pyscope;
using test::TargetRoot;
namespace fs = std::filesystem;

namespace {

const Credentials kAll{.reads_all = true};

/// The content of what was opened, or why it was not.
std::string content(const UniqueFd& fd) {
  if (!fd) return std::strerror(errno);
  std::array<char, 100> text{};
  const ssize_t n = ::read(fd.get(), text.data(), text.size());
  return {text.data(), static_cast<std::size_t>(n)};
}

std::string below_root(const TargetRoot& target, const std::string& path) {
  return content(open_below_root(target.proc_directory(), path));
}

std::string from_working_directory(const TargetRoot& target, const std::string& path) {
  return content(open_from_working_directory(target.proc_directory(), path, kAll));
}

const std::string kMissing = std::strerror(ENOENT);
const std::string kLoop = std::strerror(ELOOP);
const std::string kInvalid = std::strerror(EINVAL);

}  // namespace

TEST_CASE("a path means the file in the target's root", "[process]") {
  const TargetRoot target;
  target.write("/srv/app.py", "app");
  CHECK(below_root(target, "/srv/app.py") == "app");
  CHECK(below_root(target, "//srv/./work/../app.py") == "app");
  CHECK(from_working_directory(target, "/srv/app.py") == "app");
  CHECK(below_root(target, "/srv/missing.py") == kMissing);
  CHECK(below_root(target, "") == kMissing);
  CHECK(below_root(target, "/bin/sh") == kMissing);  // which we have and it has not
}

TEST_CASE("only what the target may read is opened", "[process]") {
  const TargetRoot target;
  const auto file = target.write("/srv/app.py", "app");
  fs::create_symlink("/srv/app.py", target.root() / "srv/link.py");
  const auto ours = ::getuid();
  const Credentials other{.uid = ours + 1, .gid = ::getgid() + 1};
  const Credentials owner{.uid = ours, .gid = ::getgid() + 1};
  const Credentials member{.uid = ours + 1, .gid = ::getgid() + 1, .groups = {::getgid()}};
  const auto open_as = [&](const Credentials& who, const std::string& path = "/srv/app.py") {
    return content(open_from_working_directory(target.proc_directory(), path, who));
  };
  const std::string denied = std::strerror(EACCES);
  const auto mode = [](const fs::path& path, unsigned bits) {
    fs::permissions(path, static_cast<fs::perms>(bits));
  };
  for (const auto& folder : {target.root(), target.root() / "srv", target.root() / "srv/work"})
    mode(folder, 0755);
  mode(file, 0600);
  CHECK(open_as(other) == denied);
  CHECK(open_as(other, "/srv/link.py") == denied);
  CHECK(open_as(other, "../app.py") == denied);
  CHECK(open_as(member) == denied);
  CHECK(open_as(owner) == "app");
  CHECK(open_as({.uid = ours + 1, .gid = 1, .reads_all = true}) == "app");
  mode(file, 0640);
  CHECK(open_as(other) == denied);
  CHECK(open_as(member) == "app");
  mode(file, 0644);
  CHECK(open_as(other) == "app");
  CHECK(open_as(other, "/srv/link.py") == "app");
  CHECK(open_as(other, "../app.py") == "app");
  // The class that a process belongs to decides alone.
  mode(file, 0604);
  CHECK(open_as(member) == denied);
  // Each folder on the way must let it through.
  mode(file, 0644);
  mode(target.root() / "srv", 0750);
  CHECK(open_as(other) == denied);
  CHECK(open_as(member) == "app");
  mode(target.root() / "srv", 0755);
  mode(target.root(), 0700);
  CHECK(open_as(other) == denied);
  CHECK(open_as(owner) == "app");
}

TEST_CASE("a relative path means the file from the target's working directory", "[process]") {
  const TargetRoot target;
  target.write("/srv/work/run.py", "run");
  target.write("/srv/app.py", "app");
  target.write("/top.py", "top");
  CHECK(from_working_directory(target, "run.py") == "run");
  CHECK(from_working_directory(target, "./run.py") == "run");
  CHECK(from_working_directory(target, "../app.py") == "app");
  CHECK(from_working_directory(target, "../../top.py") == "top");
  CHECK(from_working_directory(target, "missing.py") == kMissing);
}

TEST_CASE("a path with .. is found whatever is renamed meanwhile", "[process]") {
  const TargetRoot target;
  target.write("/srv/app.py", "app");
  const test::ScratchFolder elsewhere;
  std::atomic<bool> done = false;
  std::thread renaming([&] {
    const fs::path one = elsewhere.path() / "one";
    const fs::path other = elsewhere.path() / "other";
    fs::create_directory(one);
    while (!done) {
      fs::rename(one, other);
      fs::rename(other, one);
    }
  });
  // The kernel refuses some in a thousand, on a machine with a processor for each of the two.
  std::string wrong;
  for (int i = 0; i < 20'000 && wrong.empty(); ++i) {
    const std::string found = below_root(target, "/srv/work/../../srv/app.py");
    if (found != "app") wrong = found;
  }
  done = true;
  renaming.join();
  CHECK(wrong.empty());
}

TEST_CASE("no path leads out of the root", "[process]") {
  const TargetRoot target;
  { std::ofstream(target.outside() / "secret") << "secret"; }
  target.write("/secret", "its own");
  CHECK(below_root(target, "/../secret") == "its own");
  CHECK(below_root(target, "/../../../../../../secret") == "its own");
  CHECK(from_working_directory(target, "../../../secret") == "its own");
  fs::remove(target.root() / "secret");
  CHECK(below_root(target, "/../secret") == kMissing);
  CHECK(from_working_directory(target, "../../../secret") == kMissing);
}

TEST_CASE("symbolic links are followed within the root", "[process]") {
  const TargetRoot target;
  { std::ofstream(target.outside() / "secret") << "secret"; }
  target.write("/srv/releases/7/app.py", "seven");
  fs::create_symlink("releases/7", target.root() / "srv/current");
  fs::create_symlink("/srv/current/app.py", target.root() / "app");
  CHECK(below_root(target, "/srv/current/app.py") == "seven");
  CHECK(below_root(target, "/app") == "seven");

  fs::create_symlink(target.outside() / "secret", target.root() / "absolute");
  fs::create_symlink("../../secret", target.root() / "srv/relative");
  CHECK(below_root(target, "/absolute") == kMissing);
  CHECK(below_root(target, "/srv/relative") == kMissing);
}

TEST_CASE("loops of symbolic links are refused", "[process]") {
  const TargetRoot target;
  fs::create_symlink("self", target.root() / "self");
  fs::create_symlink("b", target.root() / "a");
  fs::create_symlink("a", target.root() / "b");
  CHECK(below_root(target, "/self") == kLoop);
  CHECK(below_root(target, "/a") == kLoop);
  CHECK(below_root(target, "/a/app.py") == kLoop);
}

TEST_CASE("what is no regular file is refused and never waited for", "[process]") {
  const TargetRoot target;
  const std::string fifo = target.root() / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(below_root(target, "/fifo") == kInvalid);

  const std::string socket = target.root() / "socket";
  const UniqueFd server{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  REQUIRE(socket.size() < sizeof address.sun_path);
  socket.copy(address.sun_path, socket.size());
  REQUIRE(::bind(server.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  CHECK(below_root(target, "/socket") == kInvalid);

  CHECK(below_root(target, "/srv") == kInvalid);
  CHECK(below_root(target, "/") == kInvalid);
  fs::create_symlink("/fifo", target.root() / "link");
  CHECK(below_root(target, "/link") == kInvalid);
}

TEST_CASE("devices and magic links of this process are refused", "[process]") {
  const UniqueFd self{::open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  CHECK(content(open_below_root(self.get(), "/dev/null")) == kInvalid);
  CHECK(content(open_below_root(self.get(), "/dev/tty")) == kInvalid);
  CHECK(content(open_below_root(self.get(), "/proc/self/exe")) == kLoop);
  CHECK(content(open_below_root(self.get(), "/proc/self/root/etc/passwd")) == kLoop);
}

TEST_CASE("this process finds its own files from where it works", "[process]") {
  const test::ScratchFolder folder;
  folder.write("here.py", "here");
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  const UniqueFd self{::open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  const std::string relative = content(open_from_working_directory(self.get(), "here.py", kAll));
  const std::string absolute =
      content(open_from_working_directory(self.get(), folder.path() / "here.py", kAll));
  fs::current_path(before);
  CHECK(relative == "here");
  CHECK(absolute == "here");
}

TEST_CASE("a working directory that is not within the root is not used", "[process]") {
  const TargetRoot target;
  SECTION("elsewhere") {
    fs::create_directory(target.outside() / "elsewhere");
    std::ofstream(target.outside() / "elsewhere/run.py") << "elsewhere";
    target.set_working_directory(target.outside() / "elsewhere");
  }
  SECTION("beside the root with a name that begins like it") {
    fs::create_directory(target.outside() / "rootless");
    std::ofstream(target.outside() / "rootless/run.py") << "elsewhere";
    target.write("/less/run.py", "another folder");
    target.set_working_directory(target.outside() / "rootless");
  }
  SECTION("deleted") {
    fs::remove(target.root() / "srv/work");
  }
  CHECK(from_working_directory(target, "run.py") == kMissing);
  target.write("/srv/app.py", "app");
  CHECK(from_working_directory(target, "/srv/app.py") == "app");
}

TEST_CASE("a process that is gone has no files", "[process]") {
  CHECK_FALSE(open_below_root(-1, "srv/app.py"));
  CHECK_FALSE(open_from_working_directory(-1, "app.py", kAll));
}
