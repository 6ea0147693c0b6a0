#include "support/oracle.hpp"

#include <fmt/core.h>

#include <array>
#include <map>
#include <sstream>
#include <vector>

#include "support/catch.hpp"

namespace pyscope::test {
namespace {

using nlohmann::json;

constexpr std::array kFrameFields{"function", "qualified_name", "file",      "line",
                                  "end_line", "column",         "end_column"};

// The truth holds equal frames that follow each other once, with their number.
std::vector<const json*> expanded(const json& runs) {
  std::vector<const json*> frames;
  for (const json& run : runs) {
    frames.insert(frames.end(), run.at(0).get<std::size_t>(), &run.at(1));
  }
  return frames;
}

std::string difference_in_frame(const json& shown, const json& truth) {
  if (shown.contains("error")) return shown.dump();
  for (const char* field : kFrameFields) {
    if (shown.at(field) != truth.at(field)) {
      return fmt::format("{} differs:\n  shown {}\n  truth {}", field, shown.dump(), truth.dump());
    }
  }
  return {};
}

std::string difference_in_frames(const json& shown_thread, const json& true_frames,
                                 std::size_t skipped) {
  const auto expected = expanded(true_frames);
  std::size_t count = 0;
  for (const json& frame : shown_thread.at("frames")) {
    if (frame.at("kind") != "python") continue;
    if (skipped > 0) {
      --skipped;
      continue;
    }
    if (count < expected.size()) {
      const std::string different = difference_in_frame(frame, *expected[count]);
      if (!different.empty()) return fmt::format("frame {}: {}", count, different);
    }
    ++count;
  }
  if (count != expected.size()) {
    return fmt::format("{} frames instead of {}", count, expected.size());
  }
  return {};
}

std::string difference_in_thread(const json& shown, const json& truth) {
  for (const char* field : {"tid", "ident", "name", "main", "interpreter"}) {
    if (shown.at(field) != truth.at(field)) {
      return fmt::format("{} is {} instead of {}", field, shown.at(field).dump(),
                         truth.at(field).dump());
    }
  }
  if (shown.at("consistent") != true) return "not consistent: " + shown.dump();
  if (shown.at("truncated") != false) return "truncated";
  if (shown.contains("error")) return shown.at("error").dump();
  if (!truth.at("reporter").get<bool>()) {
    if (shown.at("state") != "blocked") return "state is " + shown.at("state").dump();
    return difference_in_frames(shown, truth.at("frames"), 0);
  }
  // The reporter itself runs something else while it tells the truth; the same callers, though.
  if (python_frames(shown).front().at("qualified_name") != "serve") {
    return "the reporter isn't in serve()";
  }
  return difference_in_frames(shown, truth.at("frames"), 1);
}

void check_dump(const Dump& dump, const json& truth, pid_t pid) {
  CHECK(dump.status == 0);
  CHECK(dump.err.empty());
  CHECK(dump.json.at("pid") == pid);
  CHECK(dump.json.at("namespace_pid") == truth.at("pid"));
  CHECK(dump.json.at("capture").at("consistent") == true);
  CHECK(dump.json.at("capture").at("mode") == "running");
  CHECK(dump.json.at("python").at("version") == truth.at("version"));
  CHECK(dump.json.at("python").at("debug_build") == truth.at("debug_build"));
  CHECK(dump.json.at("python").at("free_threaded") == false);
  CHECK(dump.json.at("warnings") == json::array());
  CHECK(difference(dump.json, truth) == "");
}

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
  }
  return lines;
}

std::string stripped(const std::string& line) {
  const std::size_t begin = line.find_first_not_of(" \t");
  return begin == std::string::npos ? "" : line.substr(begin);
}

}  // namespace

std::string difference(const json& dump, const json& truth) {
  std::map<std::pair<std::int64_t, std::int64_t>, const json*> shown;  // by tid and interpreter
  for (const json& thread : dump.at("threads")) {
    if (!thread.at("tid").is_number()) return "a thread without a tid: " + thread.dump();
    if (!shown.emplace(std::pair{thread.at("tid"), thread.at("interpreter")}, &thread).second) {
      return "the same thread twice: " + thread.at("tid").dump();
    }
  }
  for (const json& thread : truth.at("threads")) {
    const auto found = shown.find({thread.at("tid"), thread.at("interpreter")});
    const std::string label =
        fmt::format("thread {} {}", thread.at("tid").dump(), thread.at("name").dump());
    if (found == shown.end()) return label + " is missing";
    std::string different = difference_in_thread(*found->second, thread);
    if (!different.empty()) return label + ": " + different;
    shown.erase(found);
  }
  if (!shown.empty()) return "a thread that isn't there: " + shown.begin()->second->dump();
  return {};
}

json check_against_truth(Target& target) {
  REQUIRE(all_sleep(target.pid()));
  // The first dump sees frames that nobody has asked Python for, the second one sees those that
  // have got a frame object.
  const Dump before = dump(target.pid());
  const json truth = target.ask();
  check_dump(before, truth, target.pid());
  REQUIRE(all_sleep(target.pid()));
  Dump after = dump(target.pid());
  const json again = target.ask();
  CHECK(truth == again);
  check_dump(after, again, target.pid());
  return std::move(after.json);
}

int check_source_lines(const json& dump, const Workspace& workspace) {
  std::map<std::string, std::vector<std::string>> files;
  int count = 0;
  for (const json& thread : dump.at("threads")) {
    for (const json& frame : python_frames(thread)) {
      const std::string file = frame.at("file");
      if (file.front() != '/' || frame.at("line").is_null()) continue;
      const auto [lines, fresh] = files.try_emplace(file);
      const std::string& root = workspace.interpreter().root;
      if (fresh) lines->second = split_lines(read_file(root == "/" ? file : root + file));
      const auto line = frame.at("line").get<std::size_t>();
      if (lines->second.empty() || line < 1) continue;
      REQUIRE(line <= lines->second.size());
      CAPTURE(file, line);
      CHECK(frame.value("source", "none") == stripped(lines->second[line - 1]));
      ++count;
    }
  }
  return count;
}

}  // namespace pyscope::test
