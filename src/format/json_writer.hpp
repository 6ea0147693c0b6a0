// Writes JSON documents. A document is valid for any input: text is escaped to UTF-8, and numbers
// that can't be are null.
#pragma once

#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "pyscope/render.hpp"

namespace pyscope {

/// Text that was escaped before. The type keeps raw text from being written by mistake.
struct SafeText {
  std::string text;
};

class JsonWriter {
 public:
  explicit JsonWriter(JsonStyle style);

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

  /// The document, with a line end.
  [[nodiscard]] std::string take() const;

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
  rapidjson::StringBuffer buffer_;
  rapidjson::PrettyWriter<rapidjson::StringBuffer> pretty_{buffer_};
  rapidjson::Writer<rapidjson::StringBuffer> compact_{buffer_};
};

/// A document that is one object.
template <class WriteFields>
[[nodiscard]] std::string json_document(JsonStyle style, const WriteFields& write_fields) {
  JsonWriter json(style);
  json.object([&] { write_fields(json); });
  return json.take();
}

}  // namespace pyscope
