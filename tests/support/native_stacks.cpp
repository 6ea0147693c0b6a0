#include "support/native_stacks.hpp"

#include <elf.h>
#include <fmt/core.h>

#include <array>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "support/child.hpp"
#include "support/target.hpp"

namespace pyscope::test {
namespace {

using nlohmann::json;

struct MappedPart {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint64_t offset = 0;
  std::string inode;
  std::string path;
};

/// Turns addresses of a process into places in its files, by its maps and by the headers that its
/// memory holds.
class Places {
 public:
  explicit Places(pid_t pid) : memory_(fmt::format("/proc/{}/mem", pid), std::ios::binary) {
    std::istringstream maps(read_file(fmt::format("/proc/{}/maps", pid)));
    for (std::string line; std::getline(maps, line);) {
      std::istringstream words(line);
      MappedPart part;
      char dash = 0;
      std::string permissions;
      std::string device;
      words >> std::hex >> part.begin >> dash >> part.end >> permissions >> part.offset >> device >>
          part.inode;
      part.inode = device + " " + part.inode;
      std::getline(words >> std::ws, part.path);
      parts_.push_back(std::move(part));
    }
  }

  NativePlace find(std::uint64_t at) {
    const MappedPart* first = nullptr;
    for (const MappedPart& part : parts_) {
      if (part.offset == 0 && !part.path.empty()) {
        const bool same =
            first != nullptr && first->inode == part.inode && first->path == part.path;
        if (!same) first = &part;
      }
      if (at < part.begin || at >= part.end) continue;
      if (first == nullptr || first->inode != part.inode || first->path != part.path) break;
      return {part.path, at - first->begin + first_address(first->begin)};
    }
    return {"", at};
  }

 private:
  /// The address that the first byte of the file in memory has by its program headers.
  std::uint64_t first_address(std::uint64_t begin) {
    std::array<char, 4096> head{};
    memory_.seekg(static_cast<std::streamoff>(begin));
    memory_.read(head.data(), head.size());
    Elf64_Ehdr header{};
    std::memcpy(&header, head.data(), sizeof header);
    for (std::size_t i = 0; i < header.e_phnum; ++i) {
      Elf64_Phdr segment{};
      std::memcpy(&segment, head.data() + header.e_phoff + i * sizeof segment, sizeof segment);
      if (segment.p_type == PT_LOAD) return segment.p_vaddr - segment.p_offset;
    }
    throw std::runtime_error("no program header");
  }

  std::ifstream memory_;
  std::vector<MappedPart> parts_;
};

}  // namespace

std::ostream& operator<<(std::ostream& out, const NativePlace& place) {
  return out << fmt::format("{}+{:#x} ({})", place.module, place.offset, place.function);
}

std::map<pid_t, NativeStack> gdb_stacks(pid_t pid, const std::string& root,
                                        const std::string& executable) {
  Program gdb;
  gdb.command = {"/usr/bin/gdb", "-nx", "-batch"};
  for (const std::string& command :
       {std::string("set auto-load off"), std::string("set debuginfod enabled off"),
        std::string("set libthread-db-search-path"), std::string("set backtrace past-main on"),
        std::string("set backtrace past-entry on"), "set sysroot " + root,
        fmt::format("file {}{}", root == "/" ? "" : root, executable),
        fmt::format("attach {}", pid),
        std::string("source " PYSCOPE_TEST_PROGRAMS "/gdb_stacks.py")}) {
    gdb.command.insert(gdb.command.end(), {"-ex", command});
  }
  gdb.environment = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "HOME=/nonexistent"};
  Places places(pid);
  const Outcome outcome = run(gdb);
  std::map<pid_t, NativeStack> stacks;
  std::istringstream lines(outcome.out);
  const std::string mark = "stack ";
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(mark)) continue;
    const json thread = json::parse(line.substr(mark.size()));
    NativeStack& stack = stacks[thread.at("tid").get<pid_t>()];
    for (const json& frame : thread.at("frames")) {
      const auto pc = frame.at("pc").get<std::uint64_t>();
      stack.push_back(places.find(frame.at("called").get<bool>() ? pc - 1 : pc));
      if (frame.at("function").is_string()) stack.back().function = frame.at("function");
    }
  }
  if (stacks.empty()) {
    throw std::runtime_error(
        fmt::format("gdb told no stacks of {}:\n{}\n{}", pid, outcome.out, outcome.err));
  }
  return stacks;
}

std::map<pid_t, NativeStack> eu_stacks(pid_t pid) {
  Program program;
  // All frames; by raw program counters, of which "- 1" marks those behind a call.
  program.command = {"/usr/bin/eu-stack", "-n", "0", "-a", "-p", std::to_string(pid)};
  program.environment = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "DEBUGINFOD_URLS="};
  Places places(pid);
  const Outcome outcome = run(program);
  std::map<pid_t, NativeStack> stacks;
  NativeStack* stack = nullptr;
  std::istringstream lines(outcome.out);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("TID ")) stack = &stacks[std::stoi(line.substr(4))];
    const std::size_t number = line.find("0x");
    if (!line.starts_with('#') || number == std::string::npos || stack == nullptr) continue;
    std::size_t length = 0;
    const auto pc = std::stoull(line.substr(number), &length, 16);
    const std::string rest = line.substr(number + length);
    const bool called = rest.starts_with(" - 1");
    stack->push_back(places.find(called ? pc - 1 : pc));
    stack->back().function = rest;
  }
  if (stacks.empty()) {
    throw std::runtime_error(
        fmt::format("eu-stack told nothing of {}:\n{}\n{}", pid, outcome.out, outcome.err));
  }
  return stacks;
}

NativeStack native_stack(const json& thread) {
  NativeStack stack;
  const auto append = [&](const json& frames) {
    for (const json& frame : frames) {
      if (frame.at("kind") != "native") continue;
      const auto text = [&](const char* key) {
        return frame.contains(key) && frame.at(key).is_string() ? frame.at(key).get<std::string>()
                                                                : std::string();
      };
      stack.push_back({text("module"), std::stoull(text("offset"), nullptr, 16), text("function")});
    }
  };
  append(thread.at("frames"));
  if (thread.contains("native_frames")) append(thread.at("native_frames"));
  return stack;
}

}  // namespace pyscope::test
