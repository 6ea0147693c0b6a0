#include "format/json_writer.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "format/escape.hpp"

namespace pyscope {
namespace {

rapidjson::SizeType size_of(std::string_view text) {
  return static_cast<rapidjson::SizeType>(text.size());
}

}  // namespace

void JsonPieces::hand_on() {
  std::size_t whole = size_;
  // The bytes that follow the first one of a character are 10xxxxxx, three of them at the most.
  const auto is_inside = [&](std::size_t at) {
    return (static_cast<unsigned char>(piece_.at(at)) & 0xC0U) == 0x80;
  };
  constexpr std::size_t kLongest = 4;
  while (whole > 1 && size_ - whole + 1 < kLongest && is_inside(whole - 1))
    --whole;
  if (static_cast<unsigned char>(piece_.at(whole - 1)) >= 0xC0U) --whole;
  if (whole == 0) whole = size_;
  take_({piece_.data(), whole});
  std::copy(piece_.data() + whole, piece_.data() + size_, piece_.data());
  size_ -= whole;
}

JsonWriter::JsonWriter(JsonStyle style, TextSink take) : style_(style), pieces_(std::move(take)) {
  pretty_.SetIndent(' ', 2);
}

void JsonWriter::null() {
  emit([](auto& writer) { writer.Null(); });
}

void JsonWriter::word(std::string_view safe) {
  emit([&](auto& writer) { writer.String(safe.data(), size_of(safe)); });
}

void JsonWriter::text(std::string_view unsafe) {
  word(escape(unsafe));
}

void JsonWriter::raw(std::string_view json) {
  emit([&](auto& writer) { writer.RawValue(json.data(), json.size(), rapidjson::kObjectType); });
}

void JsonWriter::key(std::string_view name) {
  emit([&](auto& writer) { writer.Key(name.data(), size_of(name)); });
}

void JsonWriter::field(std::string_view name, bool value) {
  key(name);
  emit([&](auto& writer) { writer.Bool(value); });
}

void JsonWriter::field(std::string_view name, std::int64_t value) {
  key(name);
  emit([&](auto& writer) { writer.Int64(value); });
}

void JsonWriter::field(std::string_view name, std::uint64_t value) {
  key(name);
  emit([&](auto& writer) { writer.Uint64(value); });
}

void JsonWriter::field(std::string_view name, std::nullptr_t) {
  key(name);
  null();
}

void JsonWriter::word_field(std::string_view name, std::string_view word) {
  key(name);
  this->word(word);
}

void JsonWriter::word_or_null(std::string_view name, std::optional<std::string_view> word) {
  if (word) {
    word_field(name, *word);
  } else {
    field(name, nullptr);
  }
}

void JsonWriter::text_field(std::string_view name, std::string_view unsafe) {
  key(name);
  text(unsafe);
}

void JsonWriter::text_or_null(std::string_view name, const std::optional<std::string>& unsafe) {
  if (unsafe) {
    text_field(name, *unsafe);
  } else {
    field(name, nullptr);
  }
}

void JsonWriter::text_unless_empty(std::string_view name, std::string_view unsafe) {
  if (unsafe.empty()) {
    field(name, nullptr);
  } else {
    text_field(name, unsafe);
  }
}

void JsonWriter::id_field(std::string_view name, pid_t id) {
  if (id > 0) {
    field(name, std::int64_t{id});
  } else {
    field(name, nullptr);
  }
}

void JsonWriter::position_field(std::string_view name, std::optional<std::int32_t> number) {
  if (number && *number >= 0) {
    field(name, std::int64_t{*number});
  } else {
    field(name, nullptr);
  }
}

void JsonWriter::address_field(std::string_view name, std::uint64_t address) {
  if (address != 0) {
    word_field(name, fmt::format("{:#x}", address));
  } else {
    field(name, nullptr);
  }
}

void JsonWriter::finish() {
  pieces_.Put('\n');
  pieces_.finish();
}

void JsonWriter::begin_object() {
  emit([](auto& writer) { writer.StartObject(); });
}

void JsonWriter::end_object() {
  emit([](auto& writer) { writer.EndObject(); });
}

void JsonWriter::begin_array() {
  emit([](auto& writer) { writer.StartArray(); });
}

void JsonWriter::end_array() {
  emit([](auto& writer) { writer.EndArray(); });
}

}  // namespace pyscope
