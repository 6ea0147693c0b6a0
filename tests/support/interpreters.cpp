#include "support/interpreters.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <stdexcept>

namespace pyscope::test {
namespace {

constexpr std::array kSupported{"3.13.", "3.14.", "3.15."};
constexpr int kFirstThatPublishes = 13;  // the minor version from which on offsets are published

std::string manifest_path() {
  const char* path = std::getenv("PYSCOPE_TEST_INTERPRETERS");
  if (path != nullptr && *path != '\0') return path;
  constexpr const char* kCommand = "'" PYSCOPE_INTERPRETERS_SCRIPT "'";
  const std::unique_ptr<FILE, int (*)(FILE*)> script{::popen(kCommand, "r"), ::pclose};
  std::string output;
  std::array<char, 4096> buffer;
  while (script && std::fgets(buffer.data(), buffer.size(), script.get()) != nullptr) {
    output += buffer.data();
  }
  return output.substr(0, output.find('\n'));
}

std::vector<Interpreter> read_manifest(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(fmt::format("no manifest of interpreters at '{}'", path));
  std::vector<Interpreter> found;
  for (std::string line; std::getline(file, line);) {
    std::istringstream columns(line);
    Interpreter interpreter;
    std::getline(columns, interpreter.version, '\t');
    std::getline(columns, interpreter.kind, '\t');
    std::getline(columns, interpreter.root, '\t');
    std::getline(columns, interpreter.executable, '\t');
    if (interpreter.executable.empty()) {
      throw std::runtime_error(fmt::format("{}: a line without four columns: {}", path, line));
    }
    found.push_back(std::move(interpreter));
  }
  for (const char* version : kSupported) {
    if (std::none_of(found.begin(), found.end(), [&](const Interpreter& interpreter) {
          return interpreter.version.starts_with(version);
        })) {
      throw std::runtime_error(fmt::format("{} lists no CPython {}x", path, version));
    }
  }
  return found;
}

}  // namespace

int Interpreter::minor() const {
  return std::stoi(version.substr(version.find('.') + 1));
}

std::ostream& operator<<(std::ostream& out, const Interpreter& interpreter) {
  out << interpreter.version << ' ' << interpreter.kind;
  if (interpreter.root == "/") out << " (" << interpreter.executable << ')';
  return out;
}

const std::vector<Interpreter>& all_interpreters() {
  static const std::vector<Interpreter> kAll = read_manifest(manifest_path());
  return kAll;
}

const std::vector<Interpreter>& interpreters() {
  static const std::vector<Interpreter> kPublishing = [] {
    std::vector<Interpreter> found = all_interpreters();
    std::erase_if(found, [](const Interpreter& interpreter) {
      return interpreter.minor() < kFirstThatPublishes;
    });
    return found;
  }();
  return kPublishing;
}

const Interpreter& any_interpreter() {
  const Interpreter* newest = nullptr;
  for (const Interpreter& interpreter : interpreters()) {
    if (interpreter.kind != "release") continue;
    if (newest == nullptr || interpreter.minor() > newest->minor()) newest = &interpreter;
  }
  if (newest == nullptr) throw std::runtime_error("there is no release build of any interpreter");
  return *newest;
}

}  // namespace pyscope::test
