#include "tasks/await_chain.hpp"

#include <array>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "frames/generator.hpp"
#include "locks/namespaces.hpp"

namespace pyscope {
namespace {

// Bound: frames of one task
constexpr std::size_t kMostDepth = 10'000;
// Bound: frames of the stacks of all tasks
constexpr std::size_t kMostFramesInAll = 500'000;

bool is_generator(std::string_view type) {
  return type == "coroutine" || type == "generator" || type == "async_generator";
}

/// Objects of C code that stand between a coroutine and what it awaits.
bool stands_for_another(std::string_view type) {
  static constexpr std::array<std::string_view, 4> kTypes = {
      "coroutine_wrapper", "async_generator_asend", "async_generator_athrow", "anext_awaitable"};
  for (const std::string_view known : kTypes) {
    if (type == known) return true;
  }
  return false;
}

}  // namespace

std::vector<AwaitChain> follow_awaits(const Reader& reader,
                                      const std::vector<RemoteAddr>& coroutines) {
  // Of the object, and of the frame within it.
  constexpr std::uint64_t kTypical = 256;
  struct Place {
    std::size_t chain;
    RemoteAddr object;
  };
  std::vector<AwaitChain> chains(coroutines.size());
  std::vector<std::unordered_set<std::uint64_t>> seen(coroutines.size());
  std::vector<Place> places;
  for (std::size_t i = 0; i < coroutines.size(); ++i)
    places.push_back({i, coroutines[i]});
  std::size_t frames = 0;
  for (std::size_t depth = 0; !places.empty(); ++depth) {
    std::vector<RemoteAddr> objects;
    objects.reserve(places.size());
    for (const Place& place : places)
      objects.push_back(place.object);
    reader.prefetch(objects, kTypical);
    std::vector<Place> next;
    for (const auto& [index, object] : places) {
      AwaitChain& chain = chains[index];
      const std::string type = c_type_name_of(reader, object);
      if (!is_generator(type) && !stands_for_another(type)) continue;  // a future, or foreign
      if (!seen[index].insert(object.raw()).second) {
        chain.error = "its coroutines await each other in a circle";
        continue;
      }
      if (depth == kMostDepth || frames == kMostFramesInAll) {
        chain.error = "its stack is too deep to be followed to its end";
        continue;
      }
      if (stands_for_another(type)) {
        const auto inner = reader.pointer(object, Field::AwaitableAwaited);
        if (!inner) {
          chain.error = inner.error().message;
        } else if (*inner) {
          next.push_back({index, *inner});
        }
        continue;
      }
      const auto generator = read_generator(reader, object);
      if (!generator) {
        chain.error = generator.error().message;
        continue;
      }
      if (generator->state == GeneratorState::Finished) continue;
      const auto frame =
          read_frame(reader.memory(), reader.offsets(), generator->stack.current_frame);
      if (!frame) {
        chain.error = frame.error().message;
        continue;
      }
      chain.frames.push_back(*frame);
      ++frames;
      chain.runs = generator->state == GeneratorState::Running;
      chain.not_started =
          chain.frames.size() == 1 && generator->state == GeneratorState::NotStarted;
      if (!generator->delegates) continue;
      const auto awaited = read_awaited(reader, *generator);
      if (!awaited) {
        chain.error = awaited.error().message;
      } else if (*awaited) {
        next.push_back({index, *awaited});
      }
    }
    places = std::move(next);
  }
  return chains;
}

}  // namespace pyscope
