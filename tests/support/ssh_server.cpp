#include "support/ssh_server.hpp"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <stdexcept>

#include "support/target.hpp"

namespace pyscope::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kServer = "/usr/sbin/sshd";

sockaddr_in on_loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

/// Free a moment ago.
int free_port() {
  const UniqueFd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in address = on_loopback(0);
  socklen_t size = sizeof address;
  if (!fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw_errno("a port on the loopback");
  }
  return ntohs(address.sin_port);
}

bool greets_as_ssh(int port) {
  const UniqueFd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const sockaddr_in address = on_loopback(port);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return false;
  }
  std::array<char, 4> greeting{};
  return ::recv(fd.get(), greeting.data(), greeting.size(), MSG_WAITALL) == 4 &&
         std::string_view(greeting.data(), greeting.size()) == "SSH-";
}

std::string own_name() {
  const passwd* entry = ::getpwuid(::geteuid());
  if (entry == nullptr) throw std::runtime_error("this user has no name, which sshd asks for");
  return entry->pw_name;
}

}  // namespace

SshServer::SshServer() {
  std::string pattern = "/tmp/pyscope-ssh-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) throw_errno("mkdtemp " + pattern);
  folder_ = pattern;
  try {
    if (!fs::exists(kServer)) {
      throw std::runtime_error(
          fmt::format("{} is missing: scripts/install-dependencies.sh --test", kServer));
    }
    fs::create_directory(session_folder());
    make_keys();
    start();
  } catch (...) {
    fs::remove_all(folder_);
    throw;
  }
}

SshServer::~SshServer() {
  server_.reset();
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

void SshServer::make_keys() const {
  for (const char* name : {"host-key", "user-key"}) {
    const Outcome made = run({.command = {"/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "",
                                          "-f", folder_ + "/" + name}});
    if (made.status != 0) throw std::runtime_error("ssh-keygen: " + made.err);
  }
}

void SshServer::start() {
  // Where the package's own service makes it; sshd insists on it, as root.
  constexpr mode_t kMode = 0755;
  if (::geteuid() == 0 && ::mkdir("/run/sshd", kMode) != 0 && errno != EEXIST) {
    throw_errno("mkdir /run/sshd");
  }
  // Somebody else may take the port meanwhile.
  constexpr int kTries = 10;
  std::string said;
  for (int i = 0; i < kTries; ++i) {
    port_ = free_port();
    write_file(folder_ + "/config", fmt::format("ListenAddress 127.0.0.1:{}\n"
                                                "HostKey {}/host-key\n"
                                                "AuthorizedKeysFile {}/user-key.pub\n"
                                                "PidFile none\n"
                                                "PermitRootLogin prohibit-password\n"
                                                "PasswordAuthentication no\n"
                                                "KbdInteractiveAuthentication no\n"
                                                "UsePAM no\n"
                                                "StrictModes no\n"
                                                "PrintMotd no\n"
                                                "AcceptEnv LANG LC_*\n"
                                                "SetEnv TMPDIR={}\n",
                                                port_, folder_, folder_, session_folder()));
    const std::string log = folder_ + "/log";
    server_.emplace(Program{.command = {kServer, "-D", "-e", "-f", folder_ + "/config"},
                            .environment = {"PATH=/usr/bin:/bin"},
                            .error_file = log});
    bool ended = false;
    const bool up = eventually([&] {
      siginfo_t end{};
      ended = ::waitid(P_PID, static_cast<id_t>(server_->pid()), &end,
                       WEXITED | WNOHANG | WNOWAIT) == 0 &&
              end.si_pid != 0;
      return ended || greets_as_ssh(port_);
    });
    if (up && !ended) return;
    said = read_file(log);
    server_.reset();
  }
  throw std::runtime_error("sshd doesn't come up: " + said);
}

std::vector<std::string> SshServer::ssh(const std::vector<std::string>& more) const {
  std::vector<std::string> words{
      "/usr/bin/ssh", "-F", "none", "-i", folder_ + "/user-key", "-p", std::to_string(port_)};
  for (const char* option :
       {"IdentitiesOnly=yes", "IdentityAgent=none", "BatchMode=yes", "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null", "GlobalKnownHostsFile=/dev/null", "LogLevel=ERROR",
        "SendEnv=LANG LC_*"}) {
    words.insert(words.end(), {"-o", option});
  }
  words.insert(words.end(), more.begin(), more.end());
  words.push_back(own_name() + "@127.0.0.1");
  return words;
}

Program SshServer::program(const std::string& command, const std::vector<std::string>& more) const {
  Program program;
  program.command = ssh(more);
  program.command.push_back(command);
  program.environment = {"PATH=/usr/bin:/bin", "TERM=xterm-256color"};
  return program;
}

}  // namespace pyscope::test
