// Passes files to a fuzz target without libFuzzer, for builds with any compiler.
//
//     fuzz_replay TARGET [--altered N] PATH...
//     fuzz_replay image --save RECORDING PATH
//
// PATH is a file, or a folder whose files are meant. With --altered, each is passed N times more
// with bytes of it changed, always the same ones. With --save, nothing is run: what an input of
// `image` means is written as a recording, for `pyscope dump --replay`.
#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/promises.hpp"
#include "fuzz/targets.hpp"

namespace {

using Input = std::vector<std::uint8_t>;
using Target = std::function<void(std::span<const std::uint8_t>)>;

[[noreturn]] void wrong(const std::string& message) {
  std::fprintf(stderr, "fuzz_replay: %s\n", message.c_str());
  std::exit(2);
}

Input read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) wrong("can't read " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> files_of(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    if (!std::filesystem::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// A few bytes changed, put in, taken out or said again.
Input alter(Input input, std::mt19937_64& random) {
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  for (std::size_t i = 1 + below(8); i > 0; --i) {
    const std::size_t at = below(input.size() + 1);
    const auto place = input.begin() + static_cast<std::ptrdiff_t>(at);
    switch (below(4)) {
      case 0:
        if (at < input.size()) *place = static_cast<std::uint8_t>(random());
        break;
      case 1:
        input.insert(place, static_cast<std::uint8_t>(random()));
        break;
      case 2:
        if (at < input.size()) input.erase(place);
        break;
      default: {
        const Input rest(place, input.end());
        input.insert(input.end(), rest.begin(),
                     rest.begin() + static_cast<std::ptrdiff_t>(below(rest.size() + 1)));
      }
    }
  }
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  const std::map<std::string_view, Target> targets = {
      {"parsers", pyscope::fuzz::parsers},     {"image", pyscope::fuzz::image},
      {"inspect", pyscope::fuzz::inspect},     {"native", pyscope::fuzz::native},
      {"recording", pyscope::fuzz::recording}, {"render", pyscope::fuzz::render}};
  std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  if (words.empty() || !targets.contains(words.front())) wrong("the first argument is a target");
  const std::string name = words.front();
  const Target target = targets.at(name);
  words.erase(words.begin());

  if (words.size() == 3 && words[0] == "--save" && name == "image") {
    pyscope::fuzz::save_image(read_file(words[2]), words[1]);
    return 0;
  }
  std::size_t altered = 0;
  if (words.size() > 2 && words[0] == "--altered") {
    const std::string& number = words[1];
    const char* end = number.data() + number.size();
    if (std::from_chars(number.data(), end, altered).ptr != end) wrong(number + " is no number");
    words.erase(words.begin(), words.begin() + 2);
  }
  const std::vector<std::string> files = files_of(words);
  if (files.empty()) wrong("there are no files to replay");
  std::size_t runs = 0;
  for (const std::string& file : files) {
    const Input input = read_file(file);
    std::mt19937_64 random(input.size());
    for (std::size_t i = 0; i <= altered; ++i) {
      const Input now = i == 0 ? input : alter(input, random);
      // Said before, as it may be the last thing that is.
      if (i == 0) std::fprintf(stderr, "%s\n", file.c_str());
      target(now);
      ++runs;
    }
  }
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  std::fprintf(stderr, "%s: %zu files, %zu runs, %ld MiB at the most\n", name.c_str(), files.size(),
               runs, usage.ru_maxrss / 1024);
#ifndef PYSCOPE_SANITIZE
  constexpr long kMostMemory = 1024 * 1024;  // KiB: the bounds of docs/bounds.md together
  if (usage.ru_maxrss > kMostMemory) pyscope::fuzz::broken("memory has a bound");
#endif
  return 0;
}
