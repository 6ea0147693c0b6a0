#include "frames/variables.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "python/objects.hpp"

namespace pyscope {
namespace {

// co_flags
constexpr std::uint32_t kOptimized = 1;
constexpr std::uint32_t kVarArgs = 4;
constexpr std::uint32_t kVarKeywords = 8;

// co_localspluskinds
constexpr unsigned kHidden = 0x10;
constexpr unsigned kCell = 0x40;
constexpr unsigned kFree = 0x80;

// Bound: variables of a frame, and its evaluation stack
constexpr std::size_t kMostSlots = 4096;

class VariablesReader {
 public:
  VariablesReader(const Reader& reader, const RawFrame& frame) : reader_(reader), frame_(frame) {}

  Result<FrameVariables> read() {
    if (auto ok = read_code(); !ok) return fail(ok.error());
    found_.is_namespace = (flags_ & kOptimized) == 0;
    found_.globals = reader_.pointer(frame_.at, Field::FrameGlobals).value_or(RemoteAddr{});
    auto ok = found_.is_namespace ? read_mapping() : read_slots();
    if (!ok) return fail(std::move(ok).error());
    return std::move(found_);
  }

 private:
  Result<void> read_code() {
    const RemoteAddr code = frame_.executable;
    const auto flags = reader_.field<std::uint32_t>(code, Field::CodeFlags);
    const auto arguments = reader_.field<std::uint32_t>(code, Field::CodeArgcount);
    const auto positional_only = reader_.field<std::uint32_t>(code, Field::CodePosonlyargcount);
    const auto keyword_only = reader_.field<std::uint32_t>(code, Field::CodeKwonlyargcount);
    const auto slots = reader_.field<std::uint32_t>(code, Field::CodeNlocalsplus);
    for (const auto* number : {&flags, &arguments, &positional_only, &keyword_only, &slots}) {
      if (!*number) return fail("code object", number->error());
    }
    if (*slots > kMostSlots || *arguments > *slots || *keyword_only > *slots) {
      return fail(ErrorKind::Malformed, fmt::format("a code object with {} variables", *slots));
    }
    flags_ = *flags;
    arguments_ = *arguments;
    positional_only_ = *positional_only;
    keyword_only_ = *keyword_only;
    slots_ = *slots;
    return {};
  }

  Result<void> read_slots() {
    const auto names = reader_.pointer(frame_.executable, Field::CodeLocalsplusnames);
    const auto kinds_at = reader_.pointer(frame_.executable, Field::CodeLocalspluskinds);
    if (!names) return fail("co_localsplusnames", names.error());
    if (!kinds_at) return fail("co_localspluskinds", kinds_at.error());
    const auto kinds = read_bytes(reader_, *kinds_at, kMostSlots);
    if (!kinds) return fail("co_localspluskinds", kinds.error());
    std::vector<std::uint64_t> slots(slots_);
    std::vector<std::uint64_t> name_objects(slots_);
    const auto name_count = reader_.field<std::uint64_t>(*names, Field::TupleObSize);
    if (!name_count || *name_count != slots_ || kinds->size() != slots_) {
      return fail(ErrorKind::Malformed, "a code object whose variables and names differ in number");
    }
    if (slots_ == 0) return {};
    if (auto ok = reader_.memory().read(*names + reader_.offsets()[Field::TupleObItem],
                                        std::as_writable_bytes(std::span{name_objects}));
        !ok) {
      return fail("co_localsplusnames", ok.error());
    }
    if (auto ok = reader_.memory().read(frame_.at + reader_.offsets()[Field::FrameLocalsplus],
                                        std::as_writable_bytes(std::span{slots}));
        !ok) {
      return fail("the frame's variables", ok.error());
    }
    for (std::uint32_t i = 0; i < slots_; ++i) {
      if (reader_.layout().is_tagged_number(slots[i])) continue;
      RemoteAddr value{reader_.layout().untagged(slots[i])};
      if (!value) continue;
      const auto kind = static_cast<unsigned>((*kinds)[i]);
      auto read_name = read_str(reader_, RemoteAddr{name_objects[i]});
      if (!read_name) found_.complete = false;
      std::string name = std::move(read_name).value_or(std::string(kUnreadableName));
      // The iterator of a comprehension, and variables of one that has no part in this frame's
      // namespace.
      if (name.starts_with('.') || (kind & kHidden) != 0) continue;
      FrameVariable variable;
      variable.parameter = parameter_of(i);
      variable.kind = (kind & kFree) != 0                     ? LocalKind::Free
                      : variable.parameter != Parameter::None ? LocalKind::Argument
                      : (kind & kCell) != 0                   ? LocalKind::Cell
                                                              : LocalKind::Local;
      if ((kind & (kCell | kFree)) != 0 && is_cell(value)) {
        const auto content = reader_.pointer(value, Field::CellObRef);
        if (content && !*content) continue;
        if (content) value = *content;
      }
      variable.name = std::move(name);
      variable.value = value;
      found_.variables.push_back(std::move(variable));
    }
    return {};
  }

  [[nodiscard]] bool is_cell(RemoteAddr object) const {
    const auto type = reader_.type_of(object);
    return type && *type && reader_.type_name(*type).value_or("") == "cell";
  }

  // The arguments come first: positional ones, those by keyword, *args, **kwargs.
  [[nodiscard]] Parameter parameter_of(std::uint32_t slot) const {
    if (slot < std::min(positional_only_, arguments_)) return Parameter::PositionalOnly;
    if (slot < arguments_) return Parameter::PositionalOrKeyword;
    std::uint32_t next = arguments_ + keyword_only_;
    if (slot < next) return Parameter::KeywordOnly;
    if ((flags_ & kVarArgs) != 0 && slot == next++) return Parameter::VarPositional;
    if ((flags_ & kVarKeywords) != 0 && slot == next) return Parameter::VarKeyword;
    return Parameter::None;
  }

  Result<void> read_mapping() {
    const auto mapping = reader_.pointer(frame_.at, Field::FrameLocals);
    if (!mapping) return fail("the frame's namespace", mapping.error());
    if (!*mapping) return {};
    const auto type = reader_.type_of(*mapping);
    const auto flags = type && *type ? reader_.type_flags(*type) : Result<std::uint64_t>(0U);
    constexpr std::uint64_t kDictSubclass = 1U << 29U;
    if (!flags || (*flags & kDictSubclass) == 0) {
      return fail(ErrorKind::Malformed, "the frame's namespace is no dict");
    }
    const auto items = read_dict_prefix(reader_, *mapping, kMostSlots);
    if (!items) return fail("the frame's namespace", items.error());
    for (const auto& [key, value] : items->items) {
      auto name = read_str(reader_, key);
      if (!name) {
        // A namespace may have keys that are no strings; but those have no names to be read by.
        found_.complete = found_.complete && name.error().kind != ErrorKind::Fault;
        continue;
      }
      if (name->starts_with("__") && name->ends_with("__")) continue;
      FrameVariable variable;
      variable.name = *std::move(name);
      variable.value = value;
      found_.variables.push_back(std::move(variable));
    }
    return {};
  }

  const Reader& reader_;
  const RawFrame& frame_;
  std::uint32_t flags_ = 0;
  std::uint32_t arguments_ = 0;
  std::uint32_t positional_only_ = 0;
  std::uint32_t keyword_only_ = 0;
  std::uint32_t slots_ = 0;
  FrameVariables found_;
};

}  // namespace

Result<FrameVariables> read_variables(const Reader& reader, const RawFrame& frame) {
  return VariablesReader(reader, frame).read();
}

std::vector<RemoteAddr> objects_being_changed(const Reader& reader, const RawFrame& frame) {
  std::vector<RemoteAddr> objects;
  const auto opcode = read_as<std::uint8_t>(reader.memory(), frame.instruction);
  const auto& changing = reader.layout().changing_instructions;
  if (opcode && std::none_of(changing.begin(), changing.end(), [&](const OpcodeRange& range) {
        return *opcode >= range.first && *opcode <= range.last;
      })) {
    return objects;
  }
  const auto variables = reader.field<std::uint32_t>(frame.executable, Field::CodeNlocalsplus);
  const auto depth = reader.field<std::uint32_t>(frame.executable, Field::CodeStacksize);
  if (!variables || !depth || *variables > kMostSlots || *depth > kMostSlots) return objects;
  const RemoteAddr first =
      frame.at + (reader.offsets()[Field::FrameLocalsplus] + *variables * sizeof(std::uint64_t));
  std::uint64_t in_use = *depth;
  if (reader.offsets().has(Field::FrameStackpointer)) {
    // While the instruction calls C code, the frame knows how deep its stack is.
    const auto top = reader.pointer(frame.at, Field::FrameStackpointer);
    if (top && *top >= first)
      in_use = std::min(in_use, (top->raw() - first.raw()) / sizeof(std::uint64_t));
  }
  std::vector<std::uint64_t> slots(in_use);
  if (slots.empty() || !reader.memory().read(first, std::as_writable_bytes(std::span{slots}))) {
    return objects;
  }
  for (const std::uint64_t slot : slots) {
    if (reader.layout().is_tagged_number(slot)) continue;
    const RemoteAddr object{reader.layout().untagged(slot)};
    if (object.is_plausible_pointer()) objects.push_back(object);
  }
  return objects;
}

}  // namespace pyscope
