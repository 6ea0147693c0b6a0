#include "format/frame_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/file_name.hpp"
#include "format/escape.hpp"
#include "format/underline.hpp"
#include "model/origin.hpp"

namespace pyscope {
namespace {

const Code* code_of(const Snapshot& snapshot, const Frame& frame) {
  if (!frame.code || *frame.code >= snapshot.codes.size()) return nullptr;
  return &snapshot.codes[*frame.code];
}

/// The kind of a variable in words, if its name and place don't say it already.
std::string_view words_of(const Local& local) {
  if (local.parameter == Parameter::PositionalOnly) return "positional-only";
  if (local.parameter == Parameter::KeywordOnly) return "keyword-only";
  if (local.kind == LocalKind::Free) return "from an enclosing function";
  return {};
}

std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {
  return (hash ^ value) * 0x9e3779b97f4a7c15U;
}

std::uint64_t bits_of(std::optional<std::int32_t> value) {
  return value ? static_cast<std::uint32_t>(*value) : std::uint64_t{1} << 32U;
}

}  // namespace

FrameTexts::FrameTexts(const Snapshot& snapshot, Painter painter, const FrameTextOptions& options)
    : snapshot_(snapshot), painter_(painter), options_(options) {
  const std::size_t count = snapshot.codes.size();
  own_.assign(count, true);
  if (!options.own_stand_out) return;
  std::size_t own = 0;
  for (std::size_t i = 0; i < count; ++i) {
    own_[i] = origin_of_file(snapshot.codes[i].file) == Origin::Program;
    own += own_[i] ? 1 : 0;
  }
  if (own == 0) own_.assign(count, true);
}

bool FrameTexts::is_prominent(const Frame& frame) const {
  return frame.code && *frame.code < own_.size() && own_[*frame.code];
}

std::size_t FrameTexts::KeyHash::operator()(const Key& key) const {
  std::uint64_t hash = mixed(key.code, bits_of(key.position.line));
  hash = mixed(hash, bits_of(key.position.end_line));
  hash = mixed(hash, bits_of(key.position.column));
  hash = mixed(hash, bits_of(key.position.end_column));
  hash = mixed(hash, key.source ? *key.source : ~std::uint64_t{0});
  return hash ^ hash >> 32U;
}

std::uint32_t FrameTexts::number(const Frame& frame) {
  if (frame.kind == FrameKind::Native) {
    // Calls of the same function belong to one recursion, wherever in the function the calls are.
    std::string text = make_native_text(frame);
    const std::uint64_t place = (std::uint64_t{1} << 63U) | frame.native.value_or(0);
    return number_of_text(std::move(text), place, frame);
  }
  const bool complete = frame.error.empty() && code_of(snapshot_, frame) != nullptr;
  if (!complete) return number_of_text(make_text(frame), std::nullopt, frame);
  if (frame.locals) {
    // With variables, hardly any two frames print alike.
    const auto line = static_cast<std::uint32_t>(frame.position.line.value_or(-1));
    return number_of_text(make_text(frame), std::uint64_t{*frame.code} << 32U | line, frame);
  }
  const auto [entry, is_new] =
      numbers_.try_emplace(Key{*frame.code, frame.position, frame.source}, 0);
  if (is_new) {
    // Lines that aren't known all count as the same line.
    const auto line = static_cast<std::uint32_t>(frame.position.line.value_or(-1));
    entry.value() =
        number_of_text(make_text(frame), std::uint64_t{*frame.code} << 32U | line, frame);
  }
  return entry->second;
}

std::uint32_t FrameTexts::number_of_text(std::string text, std::optional<std::uint64_t> line,
                                         const Frame& frame) {
  const auto next = static_cast<std::uint32_t>(texts_.size());
  const auto [entry, is_new] = numbers_of_texts_.try_emplace(text, next);
  if (!is_new) return entry->second;
  texts_.push_back(std::move(text));
  const Code* code = frame.error.empty() ? code_of(snapshot_, frame) : nullptr;
  machinery_.push_back(code == nullptr ? std::string_view() : machinery_of(*code));
  // A frame that couldn't be read equals no other frame. A key is the number of the first frame
  // that has it.
  line_keys_.push_back(line ? keys_of_lines_.try_emplace(*line, next).first->second : next);
  return next;
}

std::string FrameTexts::make_text(const Frame& frame) const {
  std::string out;
  const Code* code = code_of(snapshot_, frame);
  if (code == nullptr) {
    const std::string why =
        frame.error.empty() ? std::string("no code object") : escape(frame.error);
    out += "  ";
    painter_.append(out, Style::Error, fmt::format("[frame not readable: {}]", why));
    out += '\n';
    return out;
  }
  // The shape of Python's tracebacks, which editors and terminals turn into links.
  const std::string file = escape(code->file);
  const std::string line =
      frame.position.line ? std::to_string(*frame.position.line) : std::string("?");
  const std::string& known = code->qualified_name.empty() ? code->function : code->qualified_name;
  const std::string name = known.empty() ? std::string("?") : escape(known);
  if (is_prominent(frame)) {
    out += "  File \"";
    painter_.append(out, Style::File, file);
    out += "\", line ";
    painter_.append(out, Style::Line, line);
    out += ", in ";
    painter_.append(out, Style::Function, name);
    out += '\n';
    append_source(out, frame);
  } else {
    out += "  ";
    painter_.append(out, Style::Note, fmt::format("File \"{}\", line {}, in {}", file, line, name));
    out += '\n';
  }
  append_locals(out, frame);
  if (!frame.error.empty()) {
    out += "    ";
    painter_.append(out, Style::Error, fmt::format("[{}]", escape(frame.error)));
    out += '\n';
  }
  return out;
}

std::string FrameTexts::make_native_text(const Frame& frame) const {
  const NativeLocation unknown;
  const NativeLocation* known = native_location(snapshot_, frame);
  const NativeLocation& location = known != nullptr ? *known : unknown;
  std::string out = "  Native \"";
  painter_.append(out, Style::File,
                  location.module.empty() ? "[no file]" : escape(file_name(location.module)));
  out += "\", at ";
  painter_.append(out, Style::Line, fmt::format("{:#x}", location.offset));
  if (!location.function.empty()) {
    out += ", in ";
    painter_.append(out, Style::Function, escape(location.function));
  }
  if (frame.guessed) painter_.append(out, Style::Note, "  (the likely caller)");
  out += '\n';
  if (!location.file.empty()) {
    out += "    ";
    out += escape(options_.whole_paths ? std::string_view(location.file)
                                       : telling_path(location.file));
    if (location.line > 0) out += fmt::format(":{}", location.line);
    out += '\n';
  }
  return out;
}

void FrameTexts::append_locals(std::string& out, const Frame& frame) const {
  if (!frame.locals || *frame.locals >= snapshot_.locals.size()) return;
  const Locals& locals = snapshot_.locals[*frame.locals];
  const auto note = [&](Style style, const std::string& text) {
    out += "      ";
    painter_.append(out, style, text);
    out += '\n';
  };
  constexpr std::size_t kMostColumns = 24;
  std::vector<std::string> names;
  std::size_t width = 0;
  for (const Local& local : locals.variables) {
    std::string name = escape(local.name);
    if (local.parameter == Parameter::VarPositional) name.insert(0, "*");
    if (local.parameter == Parameter::VarKeyword) name.insert(0, "**");
    if (const std::size_t columns = display_width(name); columns <= kMostColumns) {
      width = std::max(width, columns);
    }
    names.push_back(std::move(name));
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    const Local& local = locals.variables[i];
    const std::size_t columns = display_width(names[i]);
    out += "      ";
    painter_.append(out, Style::Line, names[i]);
    out.append(columns < width ? width - columns : 0, ' ');
    out += " = ";
    constexpr std::size_t kBefore = 6 + 3;  // the indent, and the sign
    constexpr std::size_t kLeastValueColumns = 20;
    std::string value = escape(local.repr);
    if (options_.columns > 0) {
      const std::size_t before = kBefore + std::max(columns, width);
      const std::size_t room = options_.columns > before ? options_.columns - before : 0;
      value = clip(value, std::max(room, kLeastValueColumns));
    }
    out += value;
    for (const std::string_view words : {std::string_view(local.detail), words_of(local)}) {
      if (!words.empty()) painter_.append(out, Style::Note, fmt::format("  ({})", escape(words)));
    }
    out += '\n';
  }
  if (locals.left_out > 0) note(Style::Note, fmt::format("… {} more", locals.left_out));
  if (!locals.error.empty()) {
    note(Style::Error, fmt::format("[variables not readable: {}]", escape(locals.error)));
  } else if (!locals.consistent) {
    note(Style::Error, locals.half_done    ? "[a value may have been half changed at that moment]"
                       : locals.same_twice ? "[read twice with the same result, which is no proof]"
                                           : "[values changed while they were read]");
  } else if (!locals.complete) {
    note(Style::Error, "[not all of them could be read]");
  }
}

void FrameTexts::append_source(std::string& out, const Frame& frame) const {
  if (!frame.source || *frame.source >= snapshot_.sources.size()) return;
  const SourceLine& source = snapshot_.sources[*frame.source];
  if (source.changed) {
    out += "    ";
    painter_.append(out, Style::Note, "[source file changed since the process started]");
    out += '\n';
    return;
  }
  constexpr std::size_t kIndent = 4;
  const std::size_t columns =
      options_.columns == 0 ? kMostSourceColumns
                            : std::max(options_.columns, kIndent + kLeastSourceColumns) - kIndent;
  const UnderlinedLine line = underline(source.text, frame.position, columns);
  if (line.text.empty()) return;
  out.append(kIndent, ' ');
  out += line.text;
  out += '\n';
  if (line.marks.empty()) return;
  const std::size_t indent = line.marks.find_first_not_of(' ');
  out.append(kIndent + indent, ' ');
  painter_.append(out, Style::Underline, std::string_view(line.marks).substr(indent));
  out += '\n';
}

}  // namespace pyscope
