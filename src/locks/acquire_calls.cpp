#include "locks/acquire_calls.hpp"

#include <algorithm>
#include <string_view>

namespace pyscope {
namespace {

bool mentions(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

std::optional<LockUse> AcquireCalls::find_only(RemoteAddr lock, RemoteAddr object) {
  const auto [known, fresh] = only_.try_emplace(lock.raw());
  if (!fresh) return known->second;
  if (!uses_) {
    uses_.emplace();
    find_uses();
  }
  std::optional<LockUse> only;
  std::vector<RemoteAddr> names{lock};
  if (object != lock) names.push_back(object);
  for (const RemoteAddr name : names) {
    const auto uses = uses_->find(name.raw());
    if (uses == uses_->end()) continue;
    for (const LockUse& use : uses->second) {
      if (waits_there(use, lock)) continue;
      if (only && only->thread != use.thread) return std::nullopt;
      if (!only) only = use;
    }
  }
  known->second = only;
  return only;
}

/// Whether the thread waits for the lock in this call, and so can't have taken the lock there. Nor
/// can the same function have taken it where the function called itself.
bool AcquireCalls::waits_there(const LockUse& use, RemoteAddr lock) const {
  const auto& waits = waits_[use.thread];
  if (!waits || waits->lock.lock != lock) return false;
  const auto& stack = frames_.of(use.thread);
  const std::size_t caller = waits->lock.waiting_frame.value_or(use.frame);
  return use.frame <= caller || stack[use.frame].executable == stack[caller].executable;
}

void AcquireCalls::find_uses() {
  constexpr std::size_t kMostFrames = 64;  // of a thread
  std::vector<LockUse> callers;
  std::vector<RemoteRange> ranges;
  for (std::size_t t = 0; t < frames_.threads().size(); ++t) {
    const auto& stack = frames_.of(t);
    for (std::size_t f = 0; f < std::min(stack.size(), kMostFrames); ++f) {
      if (stack[f].is_entry()) continue;
      const CodeFacts* facts = frames_.facts_of(stack[f].executable);
      if (facts == nullptr || facts->wait != nullptr) continue;
      if (!mentions(names_of(stack[f].executable), "acquire")) continue;
      callers.push_back({t, f});
      ranges.push_back(frames_.slots_range(stack[f].at, *facts));
    }
  }
  reader_.memory().fetch(ranges);
  for (const LockUse& use : callers)
    add_uses(use);
}

/// Adds the variables of the function, and the attributes of `self` and the globals that its code
/// names.
void AcquireCalls::add_uses(const LockUse& use) {
  const RawFrame& frame = frames_.of(use.thread)[use.frame];
  const CodeFacts& facts = *frames_.facts_of(frame.executable);
  const auto add = [&](RemoteAddr value) {
    if (!value) return;
    constexpr std::size_t kMost = std::size_t{1} << 20U;
    if (++uses_in_all_ < kMost) (*uses_)[value.raw()].push_back(use);
  };
  constexpr std::uint32_t kMostVariables = 64;
  for (std::uint32_t i = 0; i < std::min(facts.slots, kMostVariables); ++i)
    add(frames_.variable(frame.at, i));
  if (const RemoteAddr self = frames_.variable(frame, "self")) {
    for (const auto& [key, value] : namespaces_.attributes(self)) {
      if (mentions(names_of(frame.executable), namespaces_.key_text(key))) add(value);
    }
  }
  for (const RemoteAddr value : named_globals(frame))
    add(value);
}

const std::vector<std::string>& AcquireCalls::names_of(RemoteAddr code) {
  const auto [known, fresh] = names_.try_emplace(code.raw());
  if (fresh) {
    const auto names = reader_.pointer(code, Field::CodeNames);
    if (names && *names) known->second = read_names(reader_, *names);
  }
  return known->second;
}

const std::vector<RemoteAddr>& AcquireCalls::named_globals(const RawFrame& frame) {
  const auto [known, fresh] = globals_.try_emplace(frame.executable.raw());
  if (fresh) {
    const RemoteAddr globals = frames_.globals(frame);
    for (const std::string& name : names_of(frame.executable)) {
      if (globals) {
        known->second.push_back(dict_item(reader_, globals, name).value_or(RemoteAddr{}));
      }
    }
  }
  return known->second;
}

}  // namespace pyscope
