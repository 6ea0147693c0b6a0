// Writes JSON documents. A document is valid for any input: text is escaped to UTF-8, and numbers
// that can't be are null.
#pragma once

#include <rapidjson/prettywriter.h>
#include <rapidjson/writer.h>
#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "pyscope/render.hpp"

namespace pyscope {

/// Text that was escaped before. The type keeps raw text from being written by mistake.
struct SafeText {
  std::string text;
};

/// Hands a document on in pieces, so that it is never there as a whole. To RapidJSON it is an
/// output stream.
class JsonPieces {
 public:
  using Ch = char;

  explicit JsonPieces(TextSink take) : take_(std::move(take)) {}
  void Put(char c) {
    if (size_ == piece_.size()) hand_on();
    piece_[size_++] = c;
  }
  void Flush() {}
  /// The rest.
  void finish() {
    take_({piece_.data(), size_});
    size_ = 0;
  }

 private:
  /// All but the bytes of a character that isn't whole yet.
  void hand_on();

  TextSink take_;
  std::array<char, std::size_t{64} << 10U> piece_;
  std::size_t size_ = 0;
};

class JsonWriter {
 public:
  JsonWriter(JsonStyle style, TextSink take);

  // --- Values

  void null();
  /// Writes a word of pyscope's own, or a text that is escaped already.
  void word(std::string_view safe);
  void value(const SafeText& safe) { word(safe.text); }
  void text(std::string_view unsafe);
  /// Writes a value that is JSON already.
  void raw(std::string_view json);
  template <class WriteFields>
  void object(const WriteFields& write_fields) {
    begin_object();
    write_fields();
    end_object();
  }

  // --- Fields of an object

  void key(std::string_view name);
  void field(std::string_view name, bool value);
  void field(std::string_view name, std::int64_t value);
  void field(std::string_view name, std::uint64_t value);
  void field(std::string_view name, std::nullptr_t);
  template <class T>
  void field(std::string_view name, const std::optional<T>& value) {
    if (value) {
      field(name, *value);
    } else {
      field(name, nullptr);
    }
  }
  void word_field(std::string_view name, std::string_view word);
  void word_or_null(std::string_view name, std::optional<std::string_view> word);
  void text_field(std::string_view name, std::string_view unsafe);
  void text_or_null(std::string_view name, const std::optional<std::string>& unsafe);
  /// Writes a text, or null if the text is empty.
  void text_unless_empty(std::string_view name, std::string_view unsafe);
  /// Writes an id, or null if the id isn't known.
  void id_field(std::string_view name, pid_t id);
  /// Writes a line or column. A negative number was read from a target that makes no sense, and
  /// becomes null.
  void position_field(std::string_view name, std::optional<std::int32_t> number);
  /// Writes an address, or null for 0.
  void address_field(std::string_view name, std::uint64_t address);
  template <class WriteFields>
  void object_field(std::string_view name, const WriteFields& write_fields) {
    key(name);
    object(write_fields);
  }
  /// Writes a list. `write_item` writes one value for each item.
  template <class Items, class WriteItem>
  void list_field(std::string_view name, const Items& items, const WriteItem& write_item) {
    key(name);
    begin_array();
    for (const auto& item : items)
      write_item(item);
    end_array();
  }
  /// The same for items that are objects. `write_fields` writes the fields of one.
  template <class Items, class WriteFields>
  void objects_field(std::string_view name, const Items& items, const WriteFields& write_fields) {
    list_field(name, items, [&](const auto& item) { object([&] { write_fields(item); }); });
  }
  template <class Texts>
  void texts_field(std::string_view name, const Texts& texts) {
    list_field(name, texts, [this](const std::string& unsafe) { text(unsafe); });
  }

  /// Ends the document with a line end.
  void finish();

 private:
  void begin_object();
  void end_object();
  void begin_array();
  void end_array();
  /// RapidJSON has a class for each style.
  template <class Write>
  void emit(const Write& write) {
    if (style_ == JsonStyle::Pretty) {
      write(pretty_);
    } else {
      write(compact_);
    }
  }

  JsonStyle style_;
  JsonPieces pieces_;
  rapidjson::PrettyWriter<JsonPieces> pretty_{pieces_};
  rapidjson::Writer<JsonPieces> compact_{pieces_};
};

/// Hands on a document that is one object.
template <class WriteFields>
void write_json_document(JsonStyle style, TextSink take, const WriteFields& write_fields) {
  JsonWriter json(style, std::move(take));
  json.object([&] { write_fields(json); });
  json.finish();
}

template <class WriteFields>
[[nodiscard]] std::string json_document(JsonStyle style, const WriteFields& write_fields) {
  std::string document;
  write_json_document(
      style, [&](std::string_view piece) { document += piece; }, write_fields);
  return document;
}

}  // namespace pyscope
