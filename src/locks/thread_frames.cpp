#include "locks/thread_frames.hpp"

#include <algorithm>

#include "locks/namespaces.hpp"

namespace pyscope {
namespace {

constexpr std::uint64_t kPointerSize = 8;
constexpr std::uint64_t kUnitSize = 2;

}  // namespace

std::vector<std::string> read_names(const Reader& reader, RemoteAddr tuple) {
  constexpr std::size_t kMostNames = 4096;
  std::vector<std::string> names;
  const auto count = reader.field<std::uint64_t>(tuple, Field::TupleObSize);
  if (!count || *count > kMostNames) return names;
  for (std::uint64_t i = 0; i < *count; ++i) {
    const auto name =
        reader.pointer(tuple, reader.offsets()[Field::TupleObItem] + kPointerSize * i);
    names.push_back(name && *name ? read_str(reader, *name).value_or("") : std::string{});
  }
  return names;
}

ThreadFrames::ThreadFrames(const Reader& reader, const CodeTable& codes,
                           std::span<const LockThread> threads)
    : reader_(reader), codes_(codes), threads_(threads) {
  for (std::size_t i = 0; i < threads_.size(); ++i)
    by_ident_.emplace(std::pair{threads_[i].interpreter, threads_[i].ident}, i);
  complete_ = std::all_of(threads_.begin(), threads_.end(), [](const LockThread& thread) {
    return thread.walk->complete && thread.verified;
  });
}

std::optional<std::size_t> ThreadFrames::find_ident(std::size_t user, std::uint64_t ident) const {
  const auto found = by_ident_.find({threads_[user].interpreter, ident});
  if (found == by_ident_.end()) return std::nullopt;
  return found->second;
}

void ThreadFrames::read_ahead() {
  constexpr std::size_t kInnermost = 6;
  std::vector<RemoteAddr> codes;
  std::vector<const RawFrame*> inner;
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    if (!threads_[i].futex) continue;
    std::size_t n = 0;
    for (const RawFrame& frame : of(i)) {
      if (frame.is_entry()) continue;
      if (++n > kInnermost) break;
      inner.push_back(&frame);
      codes.push_back(frame.executable);
    }
  }
  std::sort(codes.begin(), codes.end());
  codes.erase(std::unique(codes.begin(), codes.end()), codes.end());
  reader_.prefetch(codes, reader_.offsets()[Field::CodeCoCodeAdaptive]);
  std::vector<RemoteRange> ranges;
  for (const RawFrame* frame : inner) {
    if (const CodeFacts* facts = facts_of(frame->executable)) {
      ranges.push_back(slots_range(frame->at, *facts));
    }
  }
  reader_.memory().fetch(ranges);
  std::vector<RemoteAddr> first_arguments;
  for (const RawFrame* frame : inner) {
    if (facts_of(frame->executable) != nullptr) first_arguments.push_back(slot(frame->at, 0));
  }
  prefetch_instances(reader_, first_arguments);
}

RemoteRange ThreadFrames::slots_range(RemoteAddr frame, const CodeFacts& facts) const {
  return {frame, reader_.offsets()[Field::FrameLocalsplus] +
                     kPointerSize * (std::uint64_t{facts.slots} + facts.stack_size)};
}

const CodeFacts* ThreadFrames::facts_of(RemoteAddr code) {
  if (!code.is_plausible_pointer()) return nullptr;
  const auto [known, fresh] = facts_.try_emplace(code.raw());
  if (fresh) known->second = read_facts(code);
  return known->second ? &*known->second : nullptr;
}

std::optional<CodeFacts> ThreadFrames::read_facts(RemoteAddr code) const {
  constexpr std::uint32_t kMostSlots = 4096;
  constexpr std::uint64_t kMostUnits = std::uint64_t{1} << 28U;
  if (type_name_of(reader_, code) != "code") return std::nullopt;
  CodeFacts facts;
  if (codes_.knows(code)) {
    facts.wait = find_standard_wait(codes_.at(code).code);
    if (facts.wait != nullptr && facts.wait->object.role == WaitedObject::Role::Unknown)
      facts.wait = nullptr;
  }
  const auto slots = reader_.field<std::uint32_t>(code, Field::CodeNlocalsplus);
  const auto stack_size = reader_.field<std::uint32_t>(code, Field::CodeStacksize);
  const auto units = reader_.field<std::uint64_t>(code, Field::CodeObSize);
  if (!slots || !stack_size || !units || *slots > kMostSlots || *stack_size > kMostSlots ||
      *units > kMostUnits) {
    return std::nullopt;
  }
  facts.slots = *slots;
  facts.stack_size = *stack_size;
  facts.units = *units;
  if (const auto names = reader_.pointer(code, Field::CodeLocalsplusnames); names && *names) {
    facts.slot_names = read_names(reader_, *names);
  }
  read_handlers(code, facts);
  return facts;
}

void ThreadFrames::read_handlers(RemoteAddr code, CodeFacts& facts) const {
  // Bound (bytes): exception table
  constexpr std::size_t kMostBytes = std::size_t{1} << 20U;
  const auto at = reader_.pointer(code, Field::CodeExceptiontable);
  if (!at || !*at) return;
  const auto table = read_bytes(reader_, *at, kMostBytes);
  if (!table) return;
  auto entries = decode_exception_table(*table, facts.units);
  if (!entries) return;
  facts.exception_table = *std::move(entries);
  // The clean-up of a `with` statement is PUSH_EXC_INFO, WITH_EXCEPT_START. Tracing may have put
  // another opcode in the place of the first.
  for (const ExceptionEntry& entry : facts.exception_table) {
    const std::uint64_t second = entry.handler + 1;
    const auto opcode = reader_.value<std::uint8_t>(
        code, reader_.offsets()[Field::CodeCoCodeAdaptive] + kUnitSize * second);
    const bool ends_with =
        opcode && second < facts.units && *opcode == reader_.layout().with_except_start;
    facts.ends_with.push_back(ends_with);
    facts.has_with = facts.has_with || ends_with;
  }
}

RemoteAddr ThreadFrames::slot(RemoteAddr frame, std::uint64_t index) const {
  const auto raw = reader_.value<std::uint64_t>(
      frame, reader_.offsets()[Field::FrameLocalsplus] + kPointerSize * index);
  if (!raw || reader_.layout().is_tagged_number(*raw)) return {};
  const RemoteAddr object{reader_.layout().untagged(*raw)};
  return object.is_plausible_pointer() ? object : RemoteAddr{};
}

RemoteAddr ThreadFrames::variable(RemoteAddr frame, std::uint64_t index) const {
  const RemoteAddr value = slot(frame, index);
  if (!value || type_name_of(reader_, value) != "cell") return value;
  return reader_.pointer(value, Field::CellObRef).value_or(RemoteAddr{});
}

RemoteAddr ThreadFrames::variable(const RawFrame& frame, std::string_view name) {
  const CodeFacts* facts = facts_of(frame.executable);
  if (facts == nullptr) return {};
  const auto found = std::find(facts->slot_names.begin(), facts->slot_names.end(), name);
  const auto index = static_cast<std::uint64_t>(found - facts->slot_names.begin());
  return index < std::min<std::uint64_t>(facts->slots, facts->slot_names.size())
             ? variable(frame.at, index)
             : RemoteAddr{};
}

RemoteAddr ThreadFrames::globals(const RawFrame& frame) const {
  return reader_.pointer(frame.at, Field::FrameGlobals).value_or(RemoteAddr{});
}

}  // namespace pyscope
